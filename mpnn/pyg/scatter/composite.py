"""Functions of all entries of a row, with `torch_scatter`'s numbers: its small terms `eps` stand here too."""

from __future__ import annotations

import torch
from torch import Tensor

from mpnn.pyg.scatter.places import broadcast, checked_dim, places
from mpnn.pyg.scatter.scatter import scatter_max, scatter_sum

__all__ = [
    "scatter_log_softmax",
    "scatter_logsumexp",
    "scatter_softmax",
    "scatter_std",
]


def scatter_softmax(src: Tensor, index: Tensor, dim: int = -1, dim_size: int | None = None) -> Tensor:
    """exp(src_e) / Σ exp(src_e') over the entries e' with the index of e."""
    _require_floating("scatter_softmax", src)
    dim = checked_dim(src, dim)
    full, num_rows = places(src, index, dim, None, dim_size)
    weight = _recentred(src, full, dim, num_rows).exp()
    return weight / scatter_sum(weight, full, dim, None, num_rows).gather(dim, full)


def scatter_log_softmax(
    src: Tensor, index: Tensor, dim: int = -1, eps: float = 1e-12, dim_size: int | None = None
) -> Tensor:
    """The logarithm of `scatter_softmax`."""
    _require_floating("scatter_log_softmax", src)
    dim = checked_dim(src, dim)
    full, num_rows = places(src, index, dim, None, dim_size)
    shifted = _recentred(src, full, dim, num_rows)
    total = scatter_sum(shifted.exp(), full, dim, None, num_rows)
    return shifted - (total + eps).log().gather(dim, full)


def scatter_logsumexp(
    src: Tensor,
    index: Tensor,
    dim: int = -1,
    out: Tensor | None = None,
    dim_size: int | None = None,
    eps: float = 1e-12,
) -> Tensor:
    """The logarithm of Σ exp(src_e) over the entries of a row, and of what `out` holds; 0 of none."""
    _require_floating("scatter_logsumexp", src)
    dim = checked_dim(src, dim)
    full, num_rows = places(src, index, dim, out, dim_size)
    lowest = src.new_full([*src.shape[:dim], num_rows, *src.shape[dim + 1 :]], -torch.inf)
    highest = lowest.scatter_reduce(dim, full, src.detach(), "amax")
    shifted = src - highest.gather(dim, full)
    shifted = shifted.masked_fill(shifted.isnan() & ~src.isnan(), -torch.inf)
    total = scatter_sum(shifted.exp(), full, dim, None, num_rows)
    if out is None:
        made = (total + eps).log() + highest
        return made.nan_to_num(nan=torch.nan, posinf=torch.inf, neginf=0.0)
    made = (total + (out - highest).exp() + eps).log() + highest
    return out.copy_(torch.where(made.isfinite(), made, out))


def scatter_std(
    src: Tensor,
    index: Tensor,
    dim: int = -1,
    out: Tensor | None = None,
    dim_size: int | None = None,
    unbiased: bool = True,
) -> Tensor:
    """The standard deviation of the entries of a row: √(Σ (src_e - mean)² / (n - 1 + 1e-6)).

    Squares are added to what `out` holds; without `unbiased` their sum is divided by n + 1e-6.
    """
    _require_floating("scatter_std", src)
    dim = checked_dim(src, dim)
    full, num_rows = places(src, index, dim, out, dim_size)
    ones = torch.ones_like(index, dtype=src.dtype)
    count = scatter_sum(ones, index, min(dim, index.dim() - 1), None, num_rows)
    total = scatter_sum(src, index, dim, None, num_rows)
    count = broadcast(count, total, dim).clamp(1)
    deviation = src - (total / count).gather(dim, full)
    squares = scatter_sum(deviation * deviation, full, dim, out, num_rows)
    if unbiased:
        count = count.sub(1).clamp(1)
    return squares.div(count + 1e-6).sqrt()


def _recentred(src: Tensor, full: Tensor, dim: int, num_rows: int) -> Tensor:
    """The entries less the largest of their row, which changes no softmax and so needs no gradient."""
    return src - scatter_max(src.detach(), full, dim, None, num_rows)[0].gather(dim, full)


def _require_floating(name: str, src: Tensor) -> None:
    if not src.is_floating_point():
        raise ValueError(f"{name}() needs floating-point numbers, but src has the dtype {src.dtype}.")
