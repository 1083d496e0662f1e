"""What the attention layers share: a score for every edge, a softmax over the edges into a node."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mpnn import Graph, softmax
from mpnn.borrowed import modules_in
from mpnn.graph.adjacency import Topology
from mpnn.models.conv.layer import Layer, Widths, pair
from mpnn.models.conv.self_loops import FILL_VALUES, FillValue, with_new_self_loops
from mpnn.models.parts.checks import check_count, check_number, check_probability
from mpnn.models.parts.linear import Projection, see, zeros_
from mpnn.step.fields import Mapped
from mpnn.step.maps import mapped

Weights = tuple[Topology, Tensor]


class Attention(Layer):
    """h_i' = Σ_{j→i} softmax_j(score_ij) value_ij, for several heads at once.

    A subclass defines `edge_update`, which gives the scores `[num_edges, heads]`, and `message`, which gives
    the pair of these scores and the values `[num_edges, heads, out_channels]`.
    """

    several_sets = False

    def __init__(
        self,
        in_channels: Widths,
        out_channels: int,
        heads: int,
        concat: bool,
        dropout: float,
        edge_dim: int | None,
        **kwargs: Any,
    ) -> None:
        if kwargs.pop("aggr", "sum") not in ("sum", "add"):
            raise ValueError(f"{self._name} sums by its attention weights: leave out aggr.")
        for width in pair(in_channels):
            check_count("in_channels", width, 1, may_be_open=True)
        check_count("out_channels", out_channels, 1)
        check_count("heads", heads, 1)
        if edge_dim is not None:
            check_count("edge_dim", edge_dim, 1, may_be_open=True)
        check_probability("dropout", dropout)
        super().__init__("softmax", **kwargs)
        self.in_channels, self.out_channels, self.heads = in_channels, out_channels, heads
        self.concat, self.dropout, self.edge_dim = concat, dropout, edge_dim

    @property
    def total_channels(self) -> int:
        """The width of the output: heads side by side, or their mean."""
        return self.out_channels * (self.heads if self.concat else 1)

    def split(self, x: Tensor) -> Tensor:
        """`[*, heads * out_channels]` -> `[*, heads, out_channels]`."""
        return x.view(-1, self.heads, self.out_channels)

    def mapped(self, linear: nn.Module, x: Tensor, graph: Graph) -> Tensor | Mapped:
        """A linear map of node features as a field, `[num_nodes, heads, out_channels]`."""
        return mapped(linear, x, graph, (self.heads, self.out_channels))

    def join(self, out: Tensor) -> Tensor:
        """`[num_dst, heads, out_channels]` -> `[num_dst, total_channels]`."""
        return out.flatten(1) if self.concat else out.mean(dim=1)

    def drop(self, value: Tensor) -> Tensor:
        """Forget whole (edge, head) pairs of `[num_edges, heads, out_channels]`.

        Σ_j dropout(α_ij) value_ij is Σ_j α_ij dropout(value_ij) if all channels of a head fall together.
        """
        return F.dropout1d(value, self.dropout, self.training)

    def weights(self, graph: Graph, **fields: Any) -> Tensor:
        """`[num_edges, heads]`, the attention weights α before dropout."""
        receiver = graph.dst if self.flow == "source_to_target" else graph.src
        num_receivers = graph.num_dst if self.flow == "source_to_target" else graph.num_src
        return softmax(self.edge_updater(graph, **fields), receiver, num_receivers)

    def extra_repr(self) -> str:
        return f"{self.in_channels}, {self.out_channels}, heads={self.heads}"


class LoopedAttention(Attention):
    """What GAT and GATv2 share beyond that: a node attends to itself, a skip connection, a bias."""

    def __init__(
        self,
        in_channels: Widths,
        out_channels: int,
        heads: int,
        concat: bool,
        negative_slope: float,
        dropout: float,
        add_self_loops: bool,
        edge_dim: int | None,
        fill_value: FillValue,
        **kwargs: Any,
    ) -> None:
        super().__init__(in_channels, out_channels, heads, concat, dropout, edge_dim, **kwargs)
        self.negative_slope, self.add_self_loops, self.fill_value = negative_slope, add_self_loops, fill_value
        check_number("negative_slope", negative_slope)
        if not isinstance(fill_value, str | Tensor):
            check_number("fill_value", fill_value)
        if isinstance(fill_value, str) and fill_value not in FILL_VALUES:
            raise ValueError(
                f"fill_value is {fill_value!r}, but must be a number, a tensor or one of "
                f"{', '.join(FILL_VALUES)}."
            )

    def complete(self, residual: bool, bias: bool) -> None:
        """What comes behind a layer's own parameters, an order that optimisers keep their state by."""
        self.residual = residual
        width, edge_dim = self.heads * self.out_channels, self.edge_dim
        self.lin_edge = None if edge_dim is None else Projection(edge_dim, width, bias=False, init="glorot")
        dst_channels = pair(self.in_channels)[1]
        self.res = (
            Projection(dst_channels, self.total_channels, bias=False, init="glorot") if residual else None
        )
        self.bias = nn.Parameter(torch.empty(self.total_channels)) if bias else None
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw the parameters anew; a map that has two names is drawn twice, as PyG does it."""
        super().reset_parameters()
        for module in modules_in(self).values():
            if isinstance(module, Projection):
                module.reset_parameters()
        zeros_(self.bias)

    def read_edges(self, graph: Graph, edge_attr: Tensor | None) -> tuple[Graph, Tensor | None]:
        """The graph with its loops, and the features of its edges `[num_edges, edge_dim]`, or None."""
        edge_attr = self.read_edge_attr(edge_attr, graph, self.edge_dim)
        if self.add_self_loops:
            graph, edge_attr = with_new_self_loops(graph, edge_attr, self.fill_value)
        if edge_attr is not None and self.lin_edge is not None:
            see(self.lin_edge, edge_attr)
        return graph, edge_attr

    def finish(self, out: Tensor, x_dst: Tensor | None) -> Tensor:
        """Join the heads, add the skip connection and the bias."""
        out = self.join(out)
        if self.res is not None and x_dst is not None:
            out = out + self.res(x_dst)
        return out if self.bias is None else out + self.bias

    def score(self, summed: Tensor) -> Tensor:
        """LeakyReLU."""
        return F.leaky_relu(summed, self.negative_slope)


def like(given: Topology, graph: Graph) -> Topology:
    """A graph in the form in which the caller gave theirs."""
    return graph if isinstance(given, Graph) else graph.edge_index
