"""The layer of dynamic graph CNNs, for point clouds."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from mpnn.graph.adjacency import Topology
from mpnn.models.conv.layer import Features, Layer
from mpnn.models.parts.linear import reset


class EdgeConv(Layer):
    """h_i' = max_{j→i} f(h_i ‖ h_j - h_i)   (Wang et al., 2019, eq. 7 and 8).

    Args:
        nn: f, a network from `[*, 2 * in_channels]` to `[*, out_channels]`.
        aggr: what takes the place of the maximum.
        **kwargs: `flow`, `node_dim` of `MessagePassing`.

    Shapes: x `[num_nodes, in_channels]`, or a pair of equal widths -> `[num_dst, out_channels]`.

    >>> layer = EdgeConv(torch.nn.Linear(6, 2))
    >>> layer(torch.ones(4, 3), torch.tensor([[0, 1, 2], [1, 2, 3]])).shape
    torch.Size([4, 2])
    """

    def __init__(self, nn: nn.Module, aggr: str = "max", **kwargs: Any) -> None:
        super().__init__(aggr, **kwargs)
        self.nn = nn
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw the parameters of `nn` anew."""
        super().reset_parameters()
        reset(self.nn)

    def forward(self, x: Features, graph: Topology) -> Tensor:
        x_src, x_dst, graph = self.read(x, graph)
        if x_dst is None:
            raise ValueError("EdgeConv needs x[1], the features of the destinations, but got none.")
        out: Tensor = self.propagate(graph, x=(x_src, x_dst))
        return out

    def message(self, x_i: Tensor, x_j: Tensor) -> Tensor:  # type: ignore[override]
        """f(h_i ‖ h_j - h_i)."""
        out: Tensor = self.nn(torch.cat([x_i, x_j - x_i], dim=-1))
        return out
