"""The graph isomorphism network's layer, and its form with edge features."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from mpnn.graph.adjacency import Topology
from mpnn.graph.graph import Size
from mpnn.models.conv.layer import Features, Layer
from mpnn.models.parts.checks import at_least, check_number, ranges
from mpnn.models.parts.linear import Projection, reset, through


@ranges(eps=check_number)
class GINConv(Layer):
    """h_i' = f((1 + ε) h_i + Σ_{j→i} h_j)   (Xu et al., 2019, eq. 4.1).

    Args:
        nn: f, a network from `[*, in_channels]` to `[*, out_channels]`.
        eps: ε at the beginning.
        train_eps: whether ε is learned.
        **kwargs: `aggr`, `flow`, `node_dim` of `MessagePassing`.

    Shapes: x `[num_nodes, in_channels]`, or a pair of equal widths ->`[num_dst, out_channels]`.

    >>> layer = GINConv(torch.nn.Linear(3, 2))
    >>> layer(torch.ones(4, 3), torch.tensor([[0, 1, 2], [1, 2, 3]])).shape
    torch.Size([4, 2])
    """

    eps: Tensor

    def __init__(self, nn: nn.Module, eps: float = 0.0, train_eps: bool = False, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self._hold(nn, eps, train_eps)
        self.reset_parameters()

    def _hold(self, nn: nn.Module, eps: float, train_eps: bool) -> None:
        self.nn = nn
        self.initial_eps = eps
        value = torch.full((1,), eps)
        if train_eps:
            self.eps = torch.nn.Parameter(value)
        else:
            self.register_buffer("eps", value)

    def reset_parameters(self) -> None:
        """Draw the parameters anew, those of `nn` too."""
        super().reset_parameters()
        reset(self.nn)
        with torch.no_grad():
            self.eps.fill_(self.initial_eps)

    def forward(self, x: Features, graph: Topology, size: Size | None = None) -> Tensor:
        x_src, x_dst, graph = self.read(x, graph, size)
        return through(self.nn, self.propagate(graph, x=(x_src, x_dst), root=x_dst))

    def update(self, inputs: Tensor, root: Tensor | None) -> Tensor:  # type: ignore[override]
        """(1 + ε) h_i + a_i."""
        return inputs if root is None else torch.addcmul(inputs, root, 1 + self.eps)


@ranges(eps=check_number, edge_dim=at_least(1))
class GINEConv(GINConv):
    """h_i' = f((1 + ε) h_i + Σ_{j→i} relu(h_j + W e_ij))   (Hu et al., 2020, eq. A.1).

    Args:
        nn: f, a network from `[*, in_channels]` to `[*, out_channels]`.
        eps: ε at the beginning.
        train_eps: whether ε is learned.
        edge_dim: width of the edge features; None if it is that of the nodes, then there is no W. The width
            of W's output is read off the first layer of `nn`.
        **kwargs: `aggr`, `flow`, `node_dim` of `MessagePassing`.

    Shapes: x `[num_nodes, in_channels]`, or a pair of equal widths, edge_attr `[num_edges, edge_dim]` ->
    `[num_dst, out_channels]`.

    >>> layer = GINEConv(torch.nn.Linear(3, 2), edge_dim=5)
    >>> layer(torch.ones(4, 3), torch.tensor([[0, 1, 2], [1, 2, 3]]), torch.ones(3, 5)).shape
    torch.Size([4, 2])
    """

    def __init__(
        self,
        nn: nn.Module,
        eps: float = 0.0,
        train_eps: bool = False,
        edge_dim: int | None = None,
        **kwargs: Any,
    ) -> None:
        Layer.__init__(self, **kwargs)
        self._hold(nn, eps, train_eps)
        self.edge_dim = edge_dim
        self.lin = None if edge_dim is None else Projection(edge_dim, _in_channels(nn))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw the parameters anew, those of `nn` too."""
        super().reset_parameters()
        if self.lin is not None:
            self.lin.reset_parameters()

    def forward(  # type: ignore[override]  # edge features come third, as in PyG
        self, x: Features, graph: Topology, edge_attr: Tensor | None = None, size: Size | None = None
    ) -> Tensor:
        x_src, x_dst, graph = self.read(x, graph, size)
        edge_attr = self.need_edge_attr(edge_attr)
        width = x_src.size(-1) if self.edge_dim is None else self.edge_dim
        edge_attr = self.read_edge_attr(edge_attr, graph, width)
        return through(self.nn, self.propagate(graph, x=(x_src, x_dst), edge_attr=edge_attr, root=x_dst))

    def message(self, x_j: Tensor, edge_attr: Tensor) -> Tensor:  # type: ignore[override]
        """relu(h_j + W e_ij)."""
        return (x_j + (edge_attr if self.lin is None else self.lin(edge_attr))).relu()


def _in_channels(network: nn.Module) -> int:
    first = network[0] if isinstance(network, nn.Sequential) else network
    for name in ("in_features", "in_channels"):
        if isinstance(width := getattr(first, name, None), int):
            return width
    raise ValueError(
        f"GINEConv with edge_dim needs an nn whose first layer has in_features or in_channels, got {first}."
    )
