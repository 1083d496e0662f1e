"""The general layer: messages, node updates and edge updates by any networks."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import Tensor, nn

from mpnn.aggregate.aggregators import Aggr
from mpnn.graph.adjacency import Topology
from mpnn.models.conv.layer import Layer
from mpnn.models.parts.checks import at_least, check_count, ranges
from mpnn.models.parts.linear import reset
from mpnn.models.parts.mlp import Joint, mlp

Function = Callable[..., Tensor]


@ranges(edge_dim=at_least(0), edge_out_channels=at_least(1))
class MPNNConv(Layer):
    """Message passing as such, with every function free.

        m_i    = Σ_{j→i} f_message(h_i, h_j, h_e)          for every edge e from j to i
        h_i'   = f_node(h_i, m_i)
        h_e'   = f_edge(h_i, m_i, h_j, m_j, h_e)

    (Gilmer et al., 2017, eq. 1 and 2; edge updates as in Battaglia et al., 2018, section 3.2.) A function is
    by default a perceptron of one hidden layer on the concatenation of its arguments. Where edges have no
    features, there is no h_e among them.

    Args:
        in_channels: width of h_i.
        out_channels: width of m_i and of h_i'.
        edge_dim: width of h_e; None if edges have no features.
        edge_out_channels: width of h_e'; None for a layer that leaves the edges as they are.
        aggr: what takes the place of Σ.
        message: f_message, a network `(h_i, h_j, h_e) -> [num_edges, *]`.
        node: f_node, a network `(h_i, m_i) -> [num_nodes, out_channels]`.
        edge: f_edge, a network `(h_i, m_i, h_j, m_j, h_e) -> [num_edges, edge_out_channels]`.
        **kwargs: `flow` of `MessagePassing`.

    Shapes: x `[num_nodes, in_channels]`, edge_attr `[num_edges, edge_dim]` -> `[num_nodes, out_channels]`;
    with edge updates the pair of that and `[num_edges, edge_out_channels]`.

    >>> layer = MPNNConv(3, 8, edge_dim=2, edge_out_channels=4)
    >>> ring = torch.tensor([[0, 1, 2], [1, 2, 0]])
    >>> [out.shape for out in layer(torch.ones(3, 3), ring, torch.ones(3, 2))]
    [torch.Size([3, 8]), torch.Size([3, 4])]
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        edge_dim: int | None = None,
        edge_out_channels: int | None = None,
        aggr: Aggr = "sum",
        message: Function | None = None,
        node: Function | None = None,
        edge: Function | None = None,
        **kwargs: Any,
    ) -> None:
        check_count("in_channels", in_channels, 1)
        check_count("out_channels", out_channels, 1)
        super().__init__(aggr, **kwargs)
        self.in_channels, self.out_channels, self.edge_dim = in_channels, out_channels, edge_dim
        edge_width = edge_dim or 0

        def joint(in_channels: int, out_channels: int) -> Joint:
            return Joint(mlp(in_channels, out_channels, out_channels))

        self.f_message = message or joint(2 * in_channels + edge_width, out_channels)
        self.f_node = node or joint(in_channels + out_channels, out_channels)
        self.f_edge = edge
        if edge is None and edge_out_channels is not None:
            self.f_edge = joint(2 * (in_channels + out_channels) + edge_width, edge_out_channels)

    def reset_parameters(self) -> None:
        """Draw the parameters anew."""
        super().reset_parameters()
        for function in (self.f_message, self.f_node, self.f_edge):
            if isinstance(function, nn.Module):
                reset(function)

    def forward(
        self, x: Tensor, graph: Topology, edge_attr: Tensor | None = None
    ) -> Tensor | tuple[Tensor, Tensor]:
        x, graph = self.read_nodes(x, graph)
        if self.edge_dim is not None:
            edge_attr = self.need_edge_attr(edge_attr)
        edge_attr = self.read_edge_attr(edge_attr, graph, self.edge_dim)
        received = self.propagate(graph, h=x, edge=edge_attr)
        out = self.f_node(x, received)
        if self.f_edge is None:
            return out
        return out, self.edge_updater(graph, h=x, m=received, edge=edge_attr)

    def message(  # type: ignore[override]
        self, h_i: Tensor, h_j: Tensor, edge: Tensor | None
    ) -> Tensor:
        """f_message(h_i, h_j, h_e)."""
        return self.f_message(h_i, h_j, *(() if edge is None else (edge,)))

    def edge_update(  # type: ignore[override]
        self, h_i: Tensor, m_i: Tensor, h_j: Tensor, m_j: Tensor, edge: Tensor | None
    ) -> Tensor:
        """f_edge(h_i, m_i, h_j, m_j, h_e)."""
        assert self.f_edge is not None
        return self.f_edge(h_i, m_i, h_j, m_j, *(() if edge is None else (edge,)))
