"""The graph attention network's layer."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from mpnn.graph.adjacency import Topology
from mpnn.graph.graph import Size
from mpnn.models.conv.attention_conv import LoopedAttention, Weights, like
from mpnn.models.conv.layer import Features, Pair, Widths
from mpnn.models.conv.self_loops import FillValue
from mpnn.models.parts.linear import Projection, glorot_, see
from mpnn.step.maps import dot_of_map, map_and_dot


class GATConv(LoopedAttention):
    """h_i' = Σ_j α_ij W h_j, α_ij = softmax_j LeakyReLU(a_dst·W h_i + a_src·W h_j + a_edge·W_e e_ij).

    (Veličković et al., 2018, eq. 3 and 4; the concatenation under their `a` is the sum of two products.)

    Args:
        in_channels: width of the input; a pair gives sources and destinations a matrix each; -1 takes
            it from the first input.
        out_channels: width of each head's output.
        heads: how many heads attend.
        concat: put heads side by side, or average them.
        negative_slope: of the LeakyReLU.
        dropout: probability of dropping an attention weight in training.
        add_self_loops: let a node attend to itself; loops that are there are replaced.
        edge_dim: width of the edge features, if there are any.
        fill_value: the edge features of the new loops: a number, a tensor `[edge_dim]`, or "mean", "add",
            "max", "min", "mul" of the features of the other edges into the node.
        bias: whether to add a bias.
        residual: whether to add W_res h_i.
        **kwargs: `flow` of `MessagePassing`.

    Shapes: x `[num_nodes, in_channels]`, or a pair `([num_src, in_channels], [num_dst, in_channels])`,
    edge_attr `[num_edges, edge_dim]` -> `[num_dst, heads * out_channels]`, without concat
    `[num_dst, out_channels]`. With `return_attention_weights=True` also `(graph, α)`: the graph with its
    loops, in the form in which it was given, and α `[num_edges, heads]` before dropout.

    >>> layer = GATConv(3, 2, heads=4)
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
        residual: bool = False,
        **kwargs: Any,
    ) -> None:
        super().__init__(
            in_channels, out_channels, heads, concat, negative_slope, dropout, add_self_loops, edge_dim,
            fill_value, **kwargs,
        )  # fmt: skip
        if not isinstance(in_channels, tuple | list):
            self.lin = Projection(in_channels, heads * out_channels, bias=False, init="glorot")
        else:
            self.lin_src = Projection(in_channels[0], heads * out_channels, bias=False, init="glorot")
            self.lin_dst = Projection(in_channels[1], heads * out_channels, bias=False, init="glorot")
        self.att_src = nn.Parameter(torch.empty(1, heads, out_channels))
        self.att_dst = nn.Parameter(torch.empty(1, heads, out_channels))
        self.att_edge = None if edge_dim is None else nn.Parameter(torch.empty(1, heads, out_channels))
        self.complete(residual, bias)

    def reset_parameters(self) -> None:
        """Draw the parameters anew."""
        super().reset_parameters()
        for attention in (self.att_src, self.att_dst, self.att_edge):
            glorot_(attention)

    def forward(
        self,
        x: Features,
        graph: Topology,
        edge_attr: Tensor | None = None,
        size: Size | None = None,
        return_attention_weights: bool | None = None,
    ) -> Tensor | tuple[Tensor, Weights]:
        given = graph
        x_src, x_dst, graph = self.read(x, graph, size)
        graph, edge = self.read_edges(graph, edge_attr)
        # What depends on one node, or on one edge, is computed there: a score is then a sum of three numbers.
        h_src, h_dst, score = self._transform(x_src, x_dst)
        scores: dict[str, Any] = {"score": score, "edge_score": self._edge_score(edge)}
        out = self.finish(self.propagate(graph, x=(h_src, h_dst), **scores), x_dst)
        return (out, (like(given, graph), self.weights(graph, **scores))) if return_attention_weights else out

    def _edge_score(self, edge: Tensor | None) -> Tensor | None:
        """a_edge·W_e e_ij for each head."""
        if edge is None or self.lin_edge is None:
            return None
        assert self.att_edge is not None
        return dot_of_map(self.lin_edge, edge, self.att_edge)

    def _transform(self, x_src: Tensor, x_dst: Tensor | None) -> tuple[Tensor, Tensor | None, Pair]:
        """W h at the sources and the destinations, and the parts that both have in a score."""
        lin_src, lin_dst = self.maps()
        see(lin_src, x_src)
        if x_dst is not None:
            see(lin_dst, x_dst)
        if lin_src is lin_dst and x_dst is x_src:
            h_src, (score_src, score_dst) = map_and_dot(lin_src, x_src, self.att_src, self.att_dst)
            return h_src, h_src, (score_src, score_dst)
        h_src, (score_src,) = map_and_dot(lin_src, x_src, self.att_src)
        if x_dst is None:
            return h_src, None, (score_src, None)
        h_dst, (score_dst,) = map_and_dot(lin_dst, x_dst, self.att_dst)
        return h_src, h_dst, (score_src, score_dst)

    def maps(self) -> tuple[Projection, Projection]:
        """W of the sources and of the destinations, which may be one."""
        one = not isinstance(self.in_channels, tuple | list)
        return (self.lin, self.lin) if one else (self.lin_src, self.lin_dst)

    def edge_update(  # type: ignore[override]
        self, score_j: Tensor, score_i: Tensor | None, edge_score: Tensor | None
    ) -> Tensor:
        """LeakyReLU(a_dst·W h_i + a_src·W h_j + a_edge·W_e e_ij)."""
        return self.score(sum((s for s in (score_i, edge_score) if s is not None), start=score_j))

    def message(  # type: ignore[override]
        self, x_j: Tensor, score_j: Tensor, score_i: Tensor | None, edge_score: Tensor | None
    ) -> tuple[Tensor, Tensor]:
        """Score and value."""
        return self.edge_update(score_j, score_i, edge_score), self.drop(x_j)
