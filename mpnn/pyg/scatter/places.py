"""Where the entries of a tensor go: indices and pointers turned into one index for each number."""

from __future__ import annotations

import torch
from torch import Tensor


def broadcast(src: Tensor, other: Tensor, dim: int) -> Tensor:
    """`src` with the shape of `other`: a vector lies along `dim`, other dimensions follow at the end.

    >>> broadcast(torch.tensor([0, 1]), torch.zeros(2, 3), 0).tolist()
    [[0, 0, 0], [1, 1, 1]]
    """
    dim = other.dim() + dim if dim < 0 else dim
    if src.dim() == 1:
        src = src.view([1] * dim + [-1])
    return src.view([*src.shape, *[1] * (other.dim() - src.dim())]).expand(other.shape)


def checked_dim(src: Tensor, dim: int) -> int:
    """`dim` counted from the front."""
    if not -src.dim() <= dim < src.dim():
        raise IndexError(f"dim is {dim}, but src has the shape {list(src.shape)}.")
    return dim % src.dim()


def places(
    src: Tensor, index: Tensor, dim: int, out: Tensor | None, dim_size: int | None
) -> tuple[Tensor, int]:
    """An int64 index for each number of `src`, and how many rows the result has in `dim`.

    Raises:
        ValueError: an index that has no integers, or does not fit `src`.
        IndexError: an index out of range.
    """
    if index.is_floating_point() or index.dtype == torch.bool:
        raise ValueError(f"index must hold integers, got {index.dtype}.")
    try:
        full = broadcast(index, src, dim)
    except RuntimeError:
        raise ValueError(
            f"index of shape {list(index.shape)} does not fit src of shape {list(src.shape)} in dimension "
            f"{dim}."
        ) from None
    num_rows = out.size(dim) if out is not None else dim_size
    if num_rows is None or not torch.compiler.is_compiling():
        lowest, highest = _range(index)
        if num_rows is None:
            num_rows = highest + 1
        if lowest < 0 or highest >= num_rows:
            raise IndexError(
                f"index holds {lowest if lowest < 0 else highest}, but there are {num_rows} rows "
                f"(0..{num_rows - 1})."
            )
    return full.long(), num_rows


def _range(index: Tensor) -> tuple[int, int]:
    if not index.numel() or index.is_meta:
        return 0, -1
    lowest, highest = torch.stack(torch.aminmax(index)).tolist()
    return int(lowest), int(highest)


def segments(indptr: Tensor, num_entries: int) -> tuple[Tensor, bool]:
    """The segment of each entry, int64 `[..., num_entries]`; entries outside of all get segment number R.

    Args:
        indptr: `[..., R + 1]`, ascending.
        num_entries: of the dimension that the pointers cut.

    Returns:
        The segments, and whether every entry is in one of them.
    """
    if indptr.is_floating_point() or indptr.dim() == 0 or indptr.size(-1) == 0:
        raise ValueError(f"indptr must hold integers [..., R + 1], got {indptr.dtype} {list(indptr.shape)}.")
    indptr = indptr.long()
    if not torch.compiler.is_compiling() and not indptr.is_meta and bool((indptr.diff(dim=-1) < 0).any()):
        raise ValueError("indptr must be ascending.")
    rows = indptr.size(-1) - 1
    entries = torch.arange(num_entries, device=indptr.device).expand(*indptr.shape[:-1], num_entries)
    segment = torch.searchsorted(indptr.contiguous(), entries.contiguous(), right=True) - 1
    outside = segment < 0
    whole = not bool((outside | (segment == rows)).any())
    return segment.masked_fill(outside, rows), whole
