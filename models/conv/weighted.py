"""Layers that spread features over weighted edges: m_ij = w_ij x_j."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from mpnn import Graph
from mpnn.models.conv.layer import Layer
from mpnn.models.conv.normalize import gcn_norm
from mpnn.models.parts.cache import Cache


class Weighted(Layer):
    """a_i = Σ_{j→i} w_ij x_j, with w_ij = 1 where no edge weights are given."""

    def message(self, x_j: Tensor, edge_weight: Tensor | None = None) -> Tensor:
        """w_ij x_j."""
        return x_j if edge_weight is None else edge_weight.unsqueeze(-1) * x_j


class Normalized(Weighted):
    """a = D^{-1/2} (A + I) D^{-1/2} x: spreading as in the GCN, and in all that followed it.

    Args:
        improved: add 2 I instead of I.
        cached: keep the normalised weights for as long as the same edge weights come in.
        add_self_loops: whether to add I.
        normalize: without it, a = A x.
    """

    def __init__(
        self,
        *,
        improved: bool = False,
        cached: bool = False,
        add_self_loops: bool = True,
        normalize: bool = True,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.improved, self.cached = improved, cached
        self.add_self_loops, self.normalize = add_self_loops, normalize
        self._cache = Cache()

    def reset_parameters(self) -> None:
        """Draw the parameters anew and forget what was cached."""
        super().reset_parameters()
        self._cache.clear()

    def normalized(
        self, graph: Graph, edge_weight: Tensor | None, dtype: torch.dtype
    ) -> tuple[Graph, Tensor | None]:
        """The graph to spread over, and the weights of its edges.

        Without edge weights they follow from the graph alone, which keeps them; see `gcn_norm`.
        """
        edge_weight = self.read_edge_weight(edge_weight, graph, dtype)
        if not self.normalize:
            return graph, edge_weight

        def compute() -> tuple[Graph, Tensor]:
            return gcn_norm(graph, edge_weight, self.improved, self.add_self_loops, self.flow, dtype)

        return self._cache(compute, graph, edge_weight, dtype) if self.cached else compute()
