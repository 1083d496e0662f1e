"""Personalised PageRank in place of layers."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from mpnn.graph.adjacency import Topology
from mpnn.models.conv.weighted import Normalized
from mpnn.models.parts.checks import check_count, check_probability


class APPNP(Normalized):
    """h^{k+1} = (1 - α) D^{-1/2} (A + I) D^{-1/2} h^k + α h^0, K times   (Gasteiger et al., 2019, eq. 4).

    Args:
        K: how many steps.
        alpha: α, the probability of jumping back to the start.
        dropout: probability of dropping an edge in a step, in training.
        cached: keep the normalised edge weights while the same ones come in. Without edge weights the graph
            keeps them anyway.
        add_self_loops: whether to add I.
        normalize: without it, A takes the place of the normalised matrix.
        **kwargs: `aggr`, `flow`, `node_dim` of `MessagePassing`.

    Shapes: x `[num_nodes, channels]`, edge_weight `[num_edges]` -> `[num_nodes, channels]`.

    >>> layer = APPNP(K=10, alpha=0.1)
    >>> layer(torch.ones(4, 3), torch.tensor([[0, 1, 2], [1, 2, 3]])).shape
    torch.Size([4, 3])
    """

    def __init__(
        self,
        K: int,
        alpha: float,
        dropout: float = 0.0,
        cached: bool = False,
        add_self_loops: bool = True,
        normalize: bool = True,
        **kwargs: Any,
    ) -> None:
        check_count("K", K, 0)
        check_probability("alpha", alpha)
        check_probability("dropout", dropout)
        super().__init__(cached=cached, add_self_loops=add_self_loops, normalize=normalize, **kwargs)
        self.K, self.alpha, self.dropout = K, alpha, dropout

    def forward(self, x: Tensor, graph: Topology, edge_weight: Tensor | None = None) -> Tensor:
        x, graph = self.read_nodes(x, graph)
        graph, weight = self.normalized(graph, edge_weight, x.dtype)
        h = x
        for _ in range(self.K):
            if self.training and self.dropout > 0:
                # Each step drops edges of what the step before has left, and scales up the rest.
                ones = torch.ones(graph.num_edges, dtype=x.dtype, device=x.device)
                weight = F.dropout(ones if weight is None else weight, self.dropout)
            h = self.propagate(graph, x=h, edge_weight=weight) * (1 - self.alpha) + self.alpha * x
        return h

    def extra_repr(self) -> str:
        return f"K={self.K}, alpha={self.alpha}"
