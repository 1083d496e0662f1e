"""GraphSAGE's layer."""

from __future__ import annotations

from typing import Any, cast

import torch.nn.functional as F
from torch import Tensor

from mpnn.aggregate.aggregators import Aggr
from mpnn.graph.adjacency import Topology
from mpnn.graph.graph import Size
from mpnn.models.conv.layer import Features, Layer, Widths, pair
from mpnn.models.parts.linear import Projection


class SAGEConv(Layer):
    """h_i' = W_1 h_i + W_2 mean_{j→i} h_j   (Hamilton, Ying and Leskovec, 2017, algorithm 1).

    Args:
        in_channels: width of the input, or a pair for sources and destinations; -1 takes it from the first
            input.
        out_channels: width of the output.
        aggr: what takes the place of the mean: "max", "lstm", a list (whose parts are concatenated), ...
        normalize: divide h_i' by its length.
        root_weight: whether there is W_1.
        project: neighbours send relu(W_3 h_j + b) (eq. 3).
        bias: whether W_2 comes with a bias.
        **kwargs: `aggr_kwargs`, `flow`, `node_dim` of `MessagePassing`.

    Shapes: x `[num_nodes, in_channels]`, or a pair `([num_src, in_channels], [num_dst, in_channels])` ->
    `[num_dst, out_channels]`.

    >>> layer = SAGEConv(3, 2, aggr=["mean", "max"])
    >>> layer(torch.ones(4, 3), torch.tensor([[0, 1, 2], [1, 2, 3]])).shape
    torch.Size([4, 2])
    """

    def __init__(
        self,
        in_channels: Widths,
        out_channels: int,
        aggr: Aggr = "mean",
        normalize: bool = False,
        root_weight: bool = True,
        project: bool = False,
        bias: bool = True,
        **kwargs: Any,
    ) -> None:
        src_channels, dst_channels = pair(in_channels)
        if aggr == "lstm":
            widths = {"in_channels": src_channels, "out_channels": src_channels}
            kwargs["aggr_kwargs"] = widths | kwargs.get("aggr_kwargs", {})
        super().__init__(aggr, **kwargs)
        self.in_channels, self.out_channels = in_channels, out_channels
        self.normalize, self.root_weight, self.project = normalize, root_weight, project
        if project:
            if src_channels < 1:
                raise ValueError("SAGEConv with project=True needs to know in_channels, got -1.")
            self.lin = Projection(src_channels, src_channels)
        self.lin_l = Projection(self._aggregated_channels(src_channels), out_channels, bias)
        if root_weight:
            self.lin_r = Projection(dst_channels, out_channels, bias=False)
        self.reset_parameters()

    def _aggregated_channels(self, channels: int) -> int:
        """How wide a neighbourhood is after aggregation."""
        if channels == -1:
            return -1
        count: Any = getattr(self.aggr_module, "get_out_channels", None)
        if count is not None:  # PyG's MultiAggregation
            return int(count(channels))
        return channels * len(getattr(self.aggr_module, "aggrs", [None]))

    def reset_parameters(self) -> None:
        """Draw the parameters anew."""
        super().reset_parameters()
        for linear in (module for module in self.children() if isinstance(module, Projection)):
            linear.reset_parameters()

    def forward(self, x: Features, graph: Topology, size: Size | None = None) -> Tensor:
        x_src, x_dst, graph = self.read(x, graph, size)
        sent = self.lin(x_src).relu() if self.project else x_src
        root = x_dst if self.root_weight else None
        out: Tensor = self.propagate(graph, x=(sent, x_dst), root=root)
        return F.normalize(out, dim=-1) if self.normalize else out

    def update(self, inputs: Tensor, root: Tensor | None) -> Tensor:  # type: ignore[override]
        """W_1 h_i + W_2 a_i."""
        received: Tensor = self.lin_l(inputs)
        return received if root is None else cast(Tensor, self.lin_r(root)) + received
