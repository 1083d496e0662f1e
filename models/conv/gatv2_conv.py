"""GATv2: graph attention whose ranking of neighbours depends on who asks."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from mpnn.graph.adjacency import Topology
from mpnn.models.conv.attention_conv import LoopedAttention, Weights, like
from mpnn.models.conv.layer import Features, Widths, pair
from mpnn.models.conv.self_loops import FillValue
from mpnn.models.parts.linear import Projection, glorot_


class GATv2Conv(LoopedAttention):
    """h_i' = Σ_j α_ij W_l h_j, α_ij = softmax_j a·LeakyReLU(W_r h_i + W_l h_j + W_e e_ij).

    (Brody, Alon and Yahav, 2022, eq. 7.)

    Args:
        in_channels: width of the input, or a pair for sources and destinations; -1 takes it from the first
            input.
        out_channels: width of each head's output.
        heads: how many heads attend.
        concat: put heads side by side, or average them.
        negative_slope: of the LeakyReLU.
        dropout: probability of dropping an attention weight in training.
        add_self_loops: let a node attend to itself; loops that are there are replaced.
        edge_dim: width of the edge features, if there are any.
        fill_value: the edge features of the new loops; see `GATConv`.
        bias: whether to add biases.
        share_weights: W_r = W_l.
        residual: whether to add W_res h_i.
        **kwargs: `flow` of `MessagePassing`.

    Shapes: as `GATConv`.

    >>> layer = GATv2Conv(3, 2, heads=4)
    >>> layer(torch.ones(4, 3), torch.tensor([[0, 1, 2], [1, 2, 3]])).shape
    torch.Size([4, 8])
    """

    def __init__(
        self,
        in_channels: Widths,
        out_channels: int,
        heads: int = 1,
        concat: bool = True,
        negative_slope: float = 0.2,
        dropout: float = 0.0,
        add_self_loops: bool = True,
        edge_dim: int | None = None,
        fill_value: FillValue = "mean",
        bias: bool = True,
        share_weights: bool = False,
        residual: bool = False,
        **kwargs: Any,
    ) -> None:
        super().__init__(
            in_channels, out_channels, heads, concat, negative_slope, dropout, add_self_loops, edge_dim,
            fill_value, **kwargs,
        )  # fmt: skip
        self.share_weights = share_weights
        src_channels, dst_channels = pair(in_channels)
        self.lin_l = Projection(src_channels, heads * out_channels, bias, init="glorot")
        self.lin_r = (
            self.lin_l
            if share_weights
            else Projection(dst_channels, heads * out_channels, bias, init="glorot")
        )
        self.att = nn.Parameter(torch.empty(1, heads, out_channels))
        self.complete(residual, bias)

    def reset_parameters(self) -> None:
        """Draw the parameters anew."""
        super().reset_parameters()
        glorot_(self.att)

    def forward(
        self,
        x: Features,
        graph: Topology,
        edge_attr: Tensor | None = None,
        return_attention_weights: bool | None = None,
    ) -> Tensor | tuple[Tensor, Weights]:
        given = graph
        x_src, x_dst, graph = self.read(x, graph)
        if x_dst is None:
            raise ValueError("GATv2Conv needs x[1], the features of the destinations, but got none.")
        graph, edge = self.read_edges(graph, edge_attr)
        h_src = self.mapped(self.lin_l, x_src, graph)
        h_dst = h_src if self.share_weights and x_dst is x_src else self.mapped(self.lin_r, x_dst, graph)
        fields: dict[str, Any] = {"x": (h_src, h_dst), "edge": edge}
        out = self.finish(self.propagate(graph, **fields), x_dst)
        return (out, (like(given, graph), self.weights(graph, **fields))) if return_attention_weights else out

    def edge_update(self, x_i: Tensor, x_j: Tensor, edge: Tensor | None) -> Tensor:  # type: ignore[override]
        """a·LeakyReLU(W_r h_i + W_l h_j + W_e e_ij)."""
        summed = x_i + x_j
        if edge is not None and self.lin_edge is not None:
            summed = summed + self.split(self.lin_edge(edge))
        return (self.score(summed) * self.att).sum(-1)

    def message(  # type: ignore[override]
        self, x_i: Tensor, x_j: Tensor, edge: Tensor | None
    ) -> tuple[Tensor, Tensor]:
        """Score and value."""
        return self.edge_update(x_i, x_j, edge), self.drop(x_j)
