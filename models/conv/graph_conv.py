"""The layer of k-GNNs, at k = 1."""

from __future__ import annotations

from typing import Any, cast

from torch import Tensor

from mpnn.graph.adjacency import Topology
from mpnn.graph.graph import Size
from mpnn.models.conv.layer import Features, Widths, pair
from mpnn.models.conv.weighted import Weighted
from mpnn.models.parts.linear import Projection


class GraphConv(Weighted):
    """h_i' = W_1 h_i + W_2 Σ_{j→i} e_ij h_j   (Morris et al., 2019, eq. 5).

    Args:
        in_channels: width of the input, or a pair for sources and destinations; -1 takes it from the first
            input.
        out_channels: width of the output.
        aggr: what takes the place of Σ.
        bias: whether W_2 comes with a bias.
        **kwargs: `flow`, `node_dim` of `MessagePassing`.

    Shapes: x `[num_nodes, in_channels]`, or a pair `([num_src, in_channels], [num_dst, in_channels])`,
    edge_weight `[num_edges]` -> `[num_dst, out_channels]`.

    >>> layer = GraphConv(3, 2)
    >>> layer(torch.ones(4, 3), torch.tensor([[0, 1, 2], [1, 2, 3]])).shape
    torch.Size([4, 2])
    """

    def __init__(
        self, in_channels: Widths, out_channels: int, aggr: str = "add", bias: bool = True, **kwargs: Any
    ) -> None:
        super().__init__(aggr, **kwargs)
        self.in_channels, self.out_channels = in_channels, out_channels
        src_channels, dst_channels = pair(in_channels)
        self.lin_rel = Projection(src_channels, out_channels, bias)
        self.lin_root = Projection(dst_channels, out_channels, bias=False)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw the parameters anew."""
        super().reset_parameters()
        self.lin_rel.reset_parameters()
        self.lin_root.reset_parameters()

    def forward(
        self, x: Features, graph: Topology, edge_weight: Tensor | None = None, size: Size | None = None
    ) -> Tensor:
        x_src, x_dst, graph = self.read(x, graph, size)
        edge_weight = self.read_edge_weight(edge_weight, graph)
        out: Tensor = self.propagate(graph, x=(x_src, x_dst), edge_weight=edge_weight, root=x_dst)
        return out

    def update(self, inputs: Tensor, root: Tensor | None) -> Tensor:  # type: ignore[override]
        """W_1 h_i + W_2 a_i."""
        received: Tensor = self.lin_rel(inputs)
        return received if root is None else cast(Tensor, self.lin_root(root)) + received
