"""How many messages each node gets."""

from __future__ import annotations

import torch
from torch import Tensor

from mpnn.graph.graph import Graph


def counts_of(graph: Graph, dtype: torch.dtype, rank: int) -> Tensor:
    """The numbers of messages, at least 1, in the type and the rank of a reduction: `[num_dst, 1, ...]`."""
    counts = graph.memo(("message counts", dtype), lambda: graph.in_degree.clamp(min=1).to(dtype))
    return counts.view(-1, *[1] * (rank - 1))


def reciprocal_counts(graph: Graph, dtype: torch.dtype) -> Tensor:
    """One over the numbers of messages, `[num_dst]`."""
    return graph.memo(("reciprocal counts", dtype), lambda: 1 / graph.in_degree.clamp(min=1).to(dtype))
