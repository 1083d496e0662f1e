"""The layer with a matrix for every edge, from the message-passing paper on quantum chemistry."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from mpnn.graph.adjacency import Topology
from mpnn.graph.graph import Size
from mpnn.models.conv.layer import Features, Layer, Widths, pair
from mpnn.models.parts.checks import check_count
from mpnn.models.parts.linear import Projection, reset, zeros_


class NNConv(Layer):
    """h_i' = W h_i + Σ_{j→i} f(e_ij) h_j + b, where f(e_ij) is a matrix   (Gilmer et al., 2017, section 5.1).

    Args:
        in_channels: width of the input, or a pair for sources and destinations; -1 takes that of the
            destinations from the first input.
        out_channels: width of the output.
        nn: f, a network from `[num_edges, edge_dim]` to `[num_edges, in_channels * out_channels]`.
        aggr: what takes the place of Σ.
        root_weight: whether there is W.
        bias: whether there is b.
        **kwargs: `flow` of `MessagePassing`.

    Shapes: x `[num_nodes, in_channels]`, or a pair `([num_src, in_channels], [num_dst, in_channels])`,
    edge_attr `[num_edges, edge_dim]` -> `[num_dst, out_channels]`.

    >>> layer = NNConv(3, 2, torch.nn.Linear(5, 3 * 2))
    >>> layer(torch.ones(4, 3), torch.tensor([[0, 1, 2], [1, 2, 3]]), torch.ones(3, 5)).shape
    torch.Size([4, 2])
    """

    several_sets = False

    def __init__(
        self,
        in_channels: Widths,
        out_channels: int,
        nn: nn.Module,
        aggr: str = "add",
        root_weight: bool = True,
        bias: bool = True,
        **kwargs: Any,
    ) -> None:
        for width in pair(in_channels):
            check_count("in_channels", width, 1, may_be_open=True)
        check_count("out_channels", out_channels, 0)
        super().__init__(aggr, **kwargs)
        self.in_channels, self.out_channels = in_channels, out_channels
        self.nn = nn
        self.root_weight = root_weight
        if root_weight:
            self.lin = Projection(pair(in_channels)[1], out_channels, bias=False)
        self.bias = torch.nn.Parameter(torch.zeros(out_channels)) if bias else None
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw the parameters anew, those of `nn` too."""
        super().reset_parameters()
        reset(self.nn)
        if self.root_weight:
            self.lin.reset_parameters()
        zeros_(self.bias)

    def forward(
        self, x: Features, graph: Topology, edge_attr: Tensor | None = None, size: Size | None = None
    ) -> Tensor:
        x_src, x_dst, graph = self.read(x, graph, size)
        edge_attr = self.need_edge_attr(self.read_edge_attr(edge_attr, graph, edge_dim=-1))
        out: Tensor = self.propagate(graph, x=(x_src, x_dst), edge_attr=edge_attr)
        if self.root_weight and x_dst is not None:
            out = out + self.lin(x_dst)
        return out if self.bias is None else out + self.bias

    def message(self, x_j: Tensor, edge_attr: Tensor) -> Tensor:  # type: ignore[override]
        """h_j f(e_ij), as `[1, in] @ [in, out]` on every edge."""
        return (x_j.unsqueeze(1) @ self._matrices(edge_attr, x_j.size(-1))).squeeze(1)

    def _matrices(self, edge_attr: Tensor, in_channels: int) -> Tensor:
        matrix: Tensor = self.nn(edge_attr)
        if matrix.size(-1) != in_channels * self.out_channels:
            raise ValueError(
                f"NNConv needs an nn that gives {in_channels} * {self.out_channels} numbers per edge, "
                f"got {matrix.size(-1)}."
            )
        return matrix.view(-1, in_channels, self.out_channels)
