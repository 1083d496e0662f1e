"""Topology-adaptive graph convolution: a polynomial of the adjacency matrix."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from mpnn.graph.adjacency import Topology
from mpnn.models.conv.weighted import Normalized
from mpnn.models.parts.checks import check_count
from mpnn.models.parts.linear import Projection, reset, zeros_


class TAGConv(Normalized):
    """h' = Σ_{k≤K} (D^{-1/2} A D^{-1/2})^k h W_k + b   (Du et al., 2017, eq. 7).

    Args:
        in_channels: width of the input, or -1 to take it from the first input.
        out_channels: width of the output.
        K: how many hops.
        bias: whether to add b.
        normalize: without it, A takes the place of the normalised matrix.
        **kwargs: `aggr`, `flow`, `node_dim` of `MessagePassing`.

    Shapes: x `[num_nodes, in_channels]`, edge_weight `[num_edges]` -> `[num_nodes, out_channels]`.

    >>> layer = TAGConv(3, 2, K=2)
    >>> layer(torch.ones(4, 3), torch.tensor([[0, 1, 2], [1, 2, 3]])).shape
    torch.Size([4, 2])
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        K: int = 3,
        bias: bool = True,
        normalize: bool = True,
        **kwargs: Any,
    ) -> None:
        check_count("K", K, 0)
        super().__init__(normalize=normalize, add_self_loops=False, **kwargs)
        self.in_channels, self.out_channels, self.K = in_channels, out_channels, K
        self.lins = nn.ModuleList(Projection(in_channels, out_channels, bias=False) for _ in range(K + 1))
        self.bias = nn.Parameter(torch.zeros(out_channels)) if bias else None
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw the parameters anew."""
        super().reset_parameters()
        for linear in self.lins:
            reset(linear)
        zeros_(self.bias)

    def forward(self, x: Tensor, graph: Topology, edge_weight: Tensor | None = None) -> Tensor:
        x, graph = self.read_nodes(x, graph)
        graph, weight = self.normalized(graph, edge_weight, x.dtype)
        first, *others = self.lins
        out: Tensor = first(x)
        for linear in others:
            x = self.propagate(graph, x=x, edge_weight=weight)
            out = out + linear(x)
        return out if self.bias is None else out + self.bias
