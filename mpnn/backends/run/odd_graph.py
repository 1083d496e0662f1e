"""The small odd graph on which kernels are tried, and when two tensors on it count as the same.

It has repeated edges, self loops, nodes without edges, and a row longer than the block of edges that a kernel
takes at once. The features are rows of the caller's, each of another size, so that they are numbers that the
message can take; two of them may be the same, so that messages tie.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import isfinite
from typing import NamedTuple

import torch
from torch import Tensor

from mpnn.graph.graph import Graph

# Row 1 has more edges than a kernel takes at once; two edges are there twice; nodes 3 and 6 send nothing, 2,
# 6 and 7 receive nothing; 4 sends to itself.
_SRC = [0, 1, 2, 4, 5, 0, 0, 1, 4, 5, 2, 0, 4, 5, 5, 2, 4, 4, 1, 0, 5, 2, 1]
_DST = [1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 0, 0, 0, 0, 4, 4, 4, 5, 5, 5, 3, 3]
_NUM_SRC, _NUM_DST = 7, 8
_TWINS = (0, 5)  # rows that are the same
_TOLERANCE = {torch.float64: 1e-6, torch.float32: 1e-3}
_IN_HALF = 0.15  # of sums that PyTorch rounds at every message


def odd_graph(like: Graph, ties: bool) -> Graph:
    """The graph, on the device of another; without `ties` no edge is there twice."""
    pairs = list(zip(_SRC, _DST, strict=True))
    edges = torch.tensor(pairs if ties else sorted(set(pairs)), device=like.device).T
    return Graph(edges, num_nodes=(_NUM_SRC, _NUM_DST) if like.is_bipartite else _NUM_DST)


def rows_like(value: Tensor, num_rows: int, ties: bool, generator: torch.Generator) -> Tensor:
    """As many rows, each one of those of a tensor in another size."""
    if not value.size(0):
        value = value.new_zeros(1, *value.shape[1:])
    picked = value.detach()[torch.arange(num_rows, device=value.device) % value.size(0)]
    if value.is_floating_point():
        drawn = torch.rand(picked.shape, generator=generator, device="cpu").to(picked)
        picked = torch.where(picked == 0, 0.5 * drawn, picked * (0.75 + 0.5 * drawn))
    if ties:
        picked[_TWINS[1]] = picked[_TWINS[0]]
    return picked.requires_grad_(value.requires_grad)


class Scale(NamedTuple):
    """The largest difference allowed: of the numbers, and of what is 0 but for rounding."""

    relative: float
    absolute: float


def scale_of(tensors: Sequence[Tensor], autocast: torch.dtype | None) -> Scale:
    """By the coarsest type in which a step computes, and its largest number.

    A variance of equal numbers is 0 but for the rounding of their squares.
    """
    floating = [t.detach() for t in tensors if t.is_floating_point()]
    types = {t.dtype for t in floating} | ({autocast} if autocast is not None else set())
    coarsest = max(types, key=lambda dtype: torch.finfo(dtype).eps, default=torch.float64)
    sizes = [abs(float(end)) for t in floating if t.numel() for end in t.aminmax()]
    largest = max([1.0, *filter(isfinite, sizes)])
    return Scale(_TOLERANCE.get(coarsest, _IN_HALF), 64 * torch.finfo(coarsest).eps * largest**2)


def difference(name: str, found: Tensor, wanted: Tensor, scale: Scale) -> str:
    """In words, or ""."""
    if found.shape != wanted.shape or found.dtype != wanted.dtype:
        form = f"{found.dtype} {list(found.shape)}, not {wanted.dtype} {list(wanted.shape)}"
        return f"{name} is {form}"
    a, b = (t.float() if t.itemsize < 4 else t for t in (found, wanted))
    finite = a.isfinite() & b.isfinite()
    same = torch.where(finite, True, (a == b) | (a.isnan() & b.isnan()))
    if not same.all():
        return f"{name} is not finite elsewhere"
    off, size = ((torch.where(finite, t, 0.0)).abs().amax() if t.numel() else 0.0 for t in (a - b, b))
    return f"{name} is off by {float(off):.3g}" if off > scale.relative * size + scale.absolute else ""
