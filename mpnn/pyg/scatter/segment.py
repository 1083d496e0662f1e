"""`torch_scatter`'s reductions of entries in order: by a sorted index ("coo") or by pointers ("csr")."""

from __future__ import annotations

from torch import Tensor

from mpnn.pyg.scatter.places import segments
from mpnn.pyg.scatter.scatter import scatter, scatter_extreme

__all__ = [
    "gather_coo",
    "gather_csr",
    "segment_add_coo",
    "segment_add_csr",
    "segment_coo",
    "segment_csr",
    "segment_max_coo",
    "segment_max_csr",
    "segment_mean_coo",
    "segment_mean_csr",
    "segment_min_coo",
    "segment_min_csr",
    "segment_sum_coo",
    "segment_sum_csr",
]

# By a sorted index ---------------------------------------------------------------------------------------


def segment_coo(
    src: Tensor, index: Tensor, out: Tensor | None = None, dim_size: int | None = None, reduce: str = "sum"
) -> Tensor:
    """Reduce the entries of `src`, in the last dimension of `index`, that have the same sorted index.

    Args:
        src: `[b_1, ..., b_m, num_entries, ...]`.
        index: integers `[b_1, ..., b_m, num_entries]`, ascending in the last dimension; a b may be 1.
        out: to which the reduction is added in place, or with which it is compared.
        dim_size: how many rows the result has, if there is no `out`.
        reduce: "sum" or "add", "mean", "min" or "max".

    >>> segment_coo(torch.tensor([1.0, 2.0, 5.0]), torch.tensor([0, 0, 2]))
    tensor([3., 0., 5.])
    """
    if reduce not in ("sum", "add", "mean", "min", "max"):
        raise ValueError(f"reduce is {reduce!r}, but should be 'sum', 'add', 'mean', 'min' or 'max'.")
    index, dim = _leading(src, index)
    return scatter(src, index, dim, out, dim_size, reduce)


def segment_sum_coo(
    src: Tensor, index: Tensor, out: Tensor | None = None, dim_size: int | None = None
) -> Tensor:
    """`segment_coo` with a sum."""
    return segment_coo(src, index, out, dim_size, "sum")


segment_add_coo = segment_sum_coo


def segment_mean_coo(
    src: Tensor, index: Tensor, out: Tensor | None = None, dim_size: int | None = None
) -> Tensor:
    """`segment_coo` with a mean."""
    return segment_coo(src, index, out, dim_size, "mean")


def segment_min_coo(
    src: Tensor, index: Tensor, out: Tensor | None = None, dim_size: int | None = None
) -> tuple[Tensor, Tensor]:
    """The smallest entry of each segment, and which entry that is."""
    index, dim = _leading(src, index)
    return scatter_extreme(src, index, dim, out, dim_size, "min")


def segment_max_coo(
    src: Tensor, index: Tensor, out: Tensor | None = None, dim_size: int | None = None
) -> tuple[Tensor, Tensor]:
    """The largest entry of each segment, and which entry that is."""
    index, dim = _leading(src, index)
    return scatter_extreme(src, index, dim, out, dim_size, "max")


def gather_coo(src: Tensor, index: Tensor, out: Tensor | None = None) -> Tensor:
    """The row of `src` that each index names, in the last dimension of `index`.

    >>> gather_coo(torch.tensor([3.0, 0.0, 5.0]), torch.tensor([0, 0, 2]))
    tensor([3., 3., 5.])
    """
    index, dim = _leading(src, index, entries=index.size(-1))
    return _gather(src, index.long(), dim, out)


def _leading(src: Tensor, index: Tensor, entries: int | None = None) -> tuple[Tensor, int]:
    """An index with the leading dimensions of `src`, and the dimension of its entries."""
    dim = index.dim() - 1
    if not 0 <= dim < src.dim():
        raise ValueError(
            f"index of shape {list(index.shape)} does not fit src of shape {list(src.shape)}: it should have "
            "at least one dimension, and no more than src."
        )
    last = src.size(dim) if entries is None else entries
    try:
        return index.expand(*src.shape[:dim], last), dim
    except RuntimeError:
        raise ValueError(
            f"index of shape {list(index.shape)} does not fit the leading dimensions of src of shape "
            f"{list(src.shape)}."
        ) from None


# By pointers ---------------------------------------------------------------------------------------------


def segment_csr(src: Tensor, indptr: Tensor, out: Tensor | None = None, reduce: str = "sum") -> Tensor:
    """Reduce the entries indptr[i] .. indptr[i + 1] - 1 of `src`, in the last dimension of `indptr`.

    Args:
        src: `[b_1, ..., b_m, num_entries, ...]`.
        indptr: integers `[b_1, ..., b_m, num_segments + 1]`, ascending in the last dimension; a b may be 1.
        out: `[b_1, ..., b_m, num_segments, ...]`, which the result is written to.
        reduce: "sum" or "add", "mean", "min" or "max".

    >>> segment_csr(torch.tensor([1.0, 2.0, 5.0]), torch.tensor([0, 2, 2, 3]))
    tensor([3., 0., 5.])
    """
    if reduce not in ("sum", "add", "mean", "min", "max"):
        raise ValueError(f"reduce is {reduce!r}, but should be 'sum', 'add', 'mean', 'min' or 'max'.")
    segment, dim, rows, whole = _segments(src, indptr)
    made = scatter(src, segment, dim, None, rows if whole else rows + 1, reduce).narrow(dim, 0, rows)
    return made if out is None else out.copy_(made)


def segment_sum_csr(src: Tensor, indptr: Tensor, out: Tensor | None = None) -> Tensor:
    """`segment_csr` with a sum."""
    return segment_csr(src, indptr, out, "sum")


segment_add_csr = segment_sum_csr


def segment_mean_csr(src: Tensor, indptr: Tensor, out: Tensor | None = None) -> Tensor:
    """`segment_csr` with a mean."""
    return segment_csr(src, indptr, out, "mean")


def segment_min_csr(src: Tensor, indptr: Tensor, out: Tensor | None = None) -> tuple[Tensor, Tensor]:
    """The smallest entry of each segment, and which entry that is."""
    return _extreme_csr(src, indptr, out, "min")


def segment_max_csr(src: Tensor, indptr: Tensor, out: Tensor | None = None) -> tuple[Tensor, Tensor]:
    """The largest entry of each segment, and which entry that is."""
    return _extreme_csr(src, indptr, out, "max")


def gather_csr(src: Tensor, indptr: Tensor, out: Tensor | None = None) -> Tensor:
    """Row i of `src` for each of the entries indptr[i] .. indptr[i + 1] - 1.

    >>> gather_csr(torch.tensor([3.0, 0.0, 5.0]), torch.tensor([0, 2, 2, 3]))
    tensor([3., 3., 5.])
    """
    dim = indptr.dim() - 1
    if 0 <= dim < src.dim() and indptr.size(-1) == 0 == src.size(dim):
        return src.clone() if out is None else out
    if not 0 <= dim < src.dim() or indptr.size(-1) != src.size(dim) + 1:
        raise ValueError(
            f"indptr of shape {list(indptr.shape)} does not fit src of shape {list(src.shape)}: it should "
            "have one pointer more than src has rows."
        )
    number = int(indptr[..., -1].max()) if out is None else out.size(dim)
    segment, whole = segments(indptr, number)
    if not whole:
        raise ValueError("indptr must begin with 0 and end with the number of entries.")
    return _gather(src, segment.expand(*src.shape[:dim], number), dim, out)


def _gather(src: Tensor, index: Tensor, dim: int, out: Tensor | None) -> Tensor:
    trailing = src.shape[dim + 1 :]
    full = index.reshape(*index.shape, *[1] * len(trailing)).expand(*index.shape, *trailing)
    made = src.gather(dim, full)
    return made if out is None else out.copy_(made)


def _segments(src: Tensor, indptr: Tensor) -> tuple[Tensor, int, int, bool]:
    dim = indptr.dim() - 1
    if not 0 <= dim < src.dim():
        raise ValueError(
            f"indptr of shape {list(indptr.shape)} has more dimensions than src {list(src.shape)}."
        )
    rows = max(indptr.size(-1) - 1, 0)
    if indptr.size(-1) == 0:
        indptr = indptr.new_zeros(*indptr.shape[:-1], 1)
    segment, whole = segments(indptr, src.size(dim))
    segment, dim = _leading(src, segment)
    return segment, dim, rows, whole


def _extreme_csr(src: Tensor, indptr: Tensor, out: Tensor | None, which: str) -> tuple[Tensor, Tensor]:
    segment, dim, rows, whole = _segments(src, indptr)
    made, arg = scatter_extreme(src, segment, dim, None, rows if whole else rows + 1, which)
    made, arg = made.narrow(dim, 0, rows), arg.narrow(dim, 0, rows)
    return (made if out is None else out.copy_(made)), arg
