"""`torch_scatter`'s reductions by an index: the numbers, the gradients and the arguments of its functions.

A result without entries is 0, and its arg is one past the last entry. A maximum's gradient goes to the first
entry that has it. Indices may be int32; they have the shape of `src`, or lie along `dim`, or have its leading
dimensions.
"""

from __future__ import annotations

import torch
from torch import Tensor

from mpnn.aggregate.reduce import is_half
from mpnn.pyg.scatter.places import broadcast, checked_dim, places

__all__ = [
    "scatter",
    "scatter_add",
    "scatter_max",
    "scatter_mean",
    "scatter_min",
    "scatter_mul",
    "scatter_sum",
]


def scatter(
    src: Tensor,
    index: Tensor,
    dim: int = -1,
    out: Tensor | None = None,
    dim_size: int | None = None,
    reduce: str = "sum",
) -> Tensor:
    """Reduce the entries of `src` that have the same index.

    Args:
        src: `[..., num_entries, ...]` with the entries in dimension `dim`.
        index: integers, the row of each entry.
        dim: the dimension of the entries.
        out: `[..., num_rows, ...]`, to which the reduction is added in place, or with which it is compared.
        dim_size: how many rows the result has, if there is no `out`; one more than the largest index if None.
        reduce: "sum" or "add", "mul", "mean", "min" or "max".

    Raises:
        ValueError: an index that does not fit, another name in `reduce`.
        IndexError: an index or a dimension out of range.

    >>> scatter(torch.tensor([1.0, 2.0, 5.0]), torch.tensor([0, 0, 2]), reduce="max")
    tensor([2., 0., 5.])
    """
    if reduce in ("sum", "add"):
        return scatter_sum(src, index, dim, out, dim_size)
    if reduce == "mul":
        return scatter_mul(src, index, dim, out, dim_size)
    if reduce == "mean":
        return scatter_mean(src, index, dim, out, dim_size)
    if reduce in ("min", "max"):
        return scatter_extreme(src, index, dim, out, dim_size, reduce)[0]
    raise ValueError(f"reduce is {reduce!r}, but should be 'sum', 'add', 'mul', 'mean', 'min' or 'max'.")


def scatter_sum(
    src: Tensor, index: Tensor, dim: int = -1, out: Tensor | None = None, dim_size: int | None = None
) -> Tensor:
    """Σ over the entries of a row, and what `out` holds."""
    dim = checked_dim(src, dim)
    full, num_rows = places(src, index, dim, out, dim_size)
    if out is not None:
        return out.scatter_add_(dim, full, src)
    wide = src.float() if is_half(src) else src
    if index.dim() == 1:
        total = _zeros(wide, num_rows, dim).index_add(dim, index, wide)
    else:
        total = _zeros(wide, num_rows, dim).scatter_add(dim, full, wide)
    return total.to(src.dtype)


scatter_add = scatter_sum


def scatter_mul(
    src: Tensor, index: Tensor, dim: int = -1, out: Tensor | None = None, dim_size: int | None = None
) -> Tensor:
    """Π over the entries of a row, and what `out` holds; 1 of none."""
    dim = checked_dim(src, dim)
    full, num_rows = places(src, index, dim, out, dim_size)
    if out is not None:
        return out.scatter_reduce_(dim, full, src, "prod")
    return (_zeros(src, num_rows, dim) + 1).scatter_reduce(dim, full, src, "prod")


def scatter_mean(
    src: Tensor, index: Tensor, dim: int = -1, out: Tensor | None = None, dim_size: int | None = None
) -> Tensor:
    """Σ over the entries of a row, over how many there are; of integers rounded down."""
    dim = checked_dim(src, dim)
    total = scatter_sum(src, index, dim, out, dim_size)
    along = min(dim, index.dim() - 1)
    count = scatter_sum(torch.ones_like(index, dtype=torch.int64), index, along, None, total.size(dim))
    count = broadcast(count.clamp(min=1), total, dim).to(total.dtype)
    rounding = None if total.is_floating_point() else "floor"
    return (
        total.div(count, rounding_mode=rounding) if out is None else out.div_(count, rounding_mode=rounding)
    )


def scatter_min(
    src: Tensor, index: Tensor, dim: int = -1, out: Tensor | None = None, dim_size: int | None = None
) -> tuple[Tensor, Tensor]:
    """The smallest entry of each row, and which entry that is."""
    return scatter_extreme(src, index, dim, out, dim_size, "min")


def scatter_max(
    src: Tensor, index: Tensor, dim: int = -1, out: Tensor | None = None, dim_size: int | None = None
) -> tuple[Tensor, Tensor]:
    """The largest entry of each row, and which entry that is."""
    return scatter_extreme(src, index, dim, out, dim_size, "max")


def scatter_extreme(
    src: Tensor, index: Tensor, dim: int, out: Tensor | None, dim_size: int | None, which: str
) -> tuple[Tensor, Tensor]:
    """The "min" or "max" of each row, and which entry that is: the first of equal ones."""
    dim = checked_dim(src, dim)
    full, num_rows = places(src, index, dim, out, dim_size)
    number, values = src.size(dim), src.detach()
    start = _zeros(values, num_rows, dim) if out is None else out.detach()
    best = start.scatter_reduce(dim, full, values, f"a{which}", include_self=out is not None)
    reached = best.gather(dim, full)
    ties = (values == reached) | (values.isnan() & reached.isnan())
    if out is not None:  # an entry that is no better than what was there has not been chosen
        before = start.gather(dim, full)
        ties &= (values < before if which == "min" else values > before) | (values.isnan() & ~before.isnan())
    entry = torch.arange(number, device=src.device).view([-1 if k == dim else 1 for k in range(src.dim())])
    candidate = torch.where(ties, entry, number)
    arg = torch.full_like(best, number, dtype=torch.int64).scatter_reduce(dim, full, candidate, "amin")
    if out is None and not src.requires_grad:
        return best, arg
    if number == 0:  # none to choose, of which PyTorch still knows that it comes from src
        return (best if out is None else out) + src.sum(dim, keepdim=True), arg
    chosen = src.gather(dim, arg.clamp(max=number - 1))  # the way of the gradient
    chosen = torch.where(arg < number, chosen, start if out is None else out)
    return (chosen if out is None else out.copy_(chosen)), arg


def _zeros(src: Tensor, num_rows: int, dim: int) -> Tensor:
    return src.new_zeros([*src.shape[:dim], num_rows, *src.shape[dim + 1 :]])
