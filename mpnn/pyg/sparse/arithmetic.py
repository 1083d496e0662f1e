"""Sums, products and diagonals of sparse matrices."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from mpnn.pyg.scatter.scatter import scatter
from mpnn.pyg.scatter.segment import segment_csr
from mpnn.pyg.sparse.tensor import SparseTensor

__all__ = [
    "add",
    "add_",
    "add_nnz",
    "add_nnz_",
    "fill_diag",
    "get_diag",
    "matmul",
    "max",
    "mean",
    "min",
    "mul",
    "mul_",
    "mul_nnz",
    "mul_nnz_",
    "remove_diag",
    "set_diag",
    "sum",
]

# Each entry with a number of its row or column -----------------------------------------------------------


def _of_entries(src: SparseTensor, other: Tensor) -> Tensor:
    """A column `[num_rows, 1, ...]` or a row `[1, num_columns, ...]` as a number for each entry."""
    if other.dim() > 1 and other.size(0) == src.size(0) and other.size(1) == 1:
        return other.squeeze(1)[src.storage.row()]
    if other.dim() > 1 and other.size(0) == 1 and other.size(1) == src.size(1):
        return other.squeeze(0)[src.storage.col()]
    raise ValueError(
        f"other must be [{src.size(0)}, 1, ...] or [1, {src.size(1)}, ...], got {list(other.shape)}."
    )


def add(src: SparseTensor, other: Tensor | SparseTensor) -> SparseTensor:
    """A matrix plus another, or each entry plus a number of its row or column."""
    if isinstance(other, Tensor):
        return add_nnz(src, _of_entries(src, other), "coo")
    row, col, value, sizes = _both(src, other)
    return SparseTensor(row, None, col, value, sizes).coalesce("sum")


def mul(src: SparseTensor, other: Tensor | SparseTensor) -> SparseTensor:
    """Entry times entry of another matrix, or each entry times a number of its row or column."""
    if isinstance(other, Tensor):
        return mul_nnz(src, _of_entries(src, other), "coo")
    for name, one in (("src", src), ("other", other)):
        if not one.is_coalesced():
            raise ValueError(f"{name} has several entries in one place: coalesce it first.")
    row, col, value, sizes = _both(src, other)
    if value is None:
        raise ValueError("src and other must both have values.")
    key, order = torch.sort(row * sizes[1] + col, stable=True)
    second = torch.cat([torch.zeros_like(key[:1], dtype=torch.bool), key[1:] == key[:-1]]).nonzero().flatten()
    value = value[order]
    row, col = row[order][second], col[order][second]
    return SparseTensor(row, None, col, value[second - 1] * value[second], sizes, True, True)


def _both(a: SparseTensor, b: SparseTensor) -> tuple[Tensor, Tensor, Tensor | None, tuple[int, int]]:
    (row_a, col_a, value_a), (row_b, col_b, value_b) = a.coo(), b.coo()
    value = None if value_a is None or value_b is None else torch.cat([value_a, value_b])
    larger = [x if x > y else y for x, y in zip(a.sparse_sizes(), b.sparse_sizes(), strict=True)]
    return torch.cat([row_a, row_b]), torch.cat([col_a, col_b]), value, (larger[0], larger[1])


def add_(src: SparseTensor, other: Tensor) -> SparseTensor:
    """`add` of a row or column, in place."""
    return add_nnz_(src, _of_entries(src, other), "coo")


def mul_(src: SparseTensor, other: Tensor) -> SparseTensor:
    """`mul` by a row or column, in place."""
    return mul_nnz_(src, _of_entries(src, other), "coo")


def add_nnz(src: SparseTensor, other: Tensor, layout: str | None = None) -> SparseTensor:
    """Each entry plus a number; entries without values are 1."""
    value = src.storage.value()
    return src.set_value(other + 1 if value is None else value + other.to(value.dtype), layout)


def add_nnz_(src: SparseTensor, other: Tensor, layout: str | None = None) -> SparseTensor:
    """The same in place."""
    value = src.storage.value()
    return src.set_value_(other + 1 if value is None else value.add_(other.to(value.dtype)), layout)


def mul_nnz(src: SparseTensor, other: Tensor, layout: str | None = None) -> SparseTensor:
    """Each entry times a number; entries without values are 1."""
    value = src.storage.value()
    return src.set_value(other if value is None else value * other.to(value.dtype), layout)


def mul_nnz_(src: SparseTensor, other: Tensor, layout: str | None = None) -> SparseTensor:
    """The same in place."""
    value = src.storage.value()
    return src.set_value_(other if value is None else value.mul_(other.to(value.dtype)), layout)


# Reductions ----------------------------------------------------------------------------------------------


def reduction(src: SparseTensor, dim: int | None = None, reduce: str = "sum") -> Tensor:
    """The values, or ones, reduced over rows (0), columns (1), a further dimension, or all (None)."""
    value = src.storage.value()
    if dim is None:
        if value is None:
            return torch.tensor(
                src.nnz() if reduce in ("sum", "add") else 1, dtype=src.dtype(), device=src.device()
            )
        return _WHOLE[reduce](value)
    dim = src.dim() + dim if dim < 0 else dim
    if value is None:
        if dim > 1:
            raise IndexError(f"dim is {dim}, but the matrix has sizes {src.sizes()}.")
        count = src.storage.colcount() if dim == 0 else src.storage.rowcount()
        return (
            count.to(src.dtype()) if reduce in ("sum", "add") else torch.ones_like(count, dtype=src.dtype())
        )
    if dim == 0:
        return scatter(value, src.storage.col(), 0, None, src.size(1), reduce)
    if dim == 1:
        return segment_csr(value, src.storage.rowptr(), None, reduce)
    return _ALONG[reduce](value, dim - 1)


_WHOLE: dict[str, Callable[[Tensor], Tensor]] = {
    "sum": torch.sum, "add": torch.sum, "mean": torch.mean, "min": torch.min, "max": torch.max,
}  # fmt: skip
_ALONG: dict[str, Callable[[Tensor, int], Tensor]] = {
    "sum": torch.sum, "add": torch.sum, "mean": torch.mean, "min": torch.amin, "max": torch.amax,
}  # fmt: skip


def sum(src: SparseTensor, dim: int | None = None) -> Tensor:
    """See `reduction`."""
    return reduction(src, dim, "sum")


def mean(src: SparseTensor, dim: int | None = None) -> Tensor:
    """See `reduction`."""
    return reduction(src, dim, "mean")


def min(src: SparseTensor, dim: int | None = None) -> Tensor:
    """See `reduction`."""
    return reduction(src, dim, "min")


def max(src: SparseTensor, dim: int | None = None) -> Tensor:
    """See `reduction`."""
    return reduction(src, dim, "max")


# Diagonals -----------------------------------------------------------------------------------------------


def remove_diag(src: SparseTensor, k: int = 0) -> SparseTensor:
    """The matrix without the entries k places to the right of the diagonal."""
    row, col, value = src.coo()
    kept = row != col - k
    value = None if value is None else value[kept]
    made = SparseTensor(row[kept], None, col[kept], value, src.sparse_sizes(), True, True)
    for known, view in ((src.storage.has_rowcount(), "rowcount"), (src.storage.has_colcount(), "colcount")):
        if known:  # what was counted stays counted
            getattr(made.storage, view)()
    return made


def set_diag(src: SparseTensor, values: Tensor | None = None, k: int = 0) -> SparseTensor:
    """The matrix with these values, or ones, k places to the right of the diagonal."""
    src = remove_diag(src, k)
    row, col, value = src.coo()
    first = -k if k < 0 else 0
    place = torch.arange(first, first + _length(src, k), device=row.device)
    if value is not None:
        ones = value.new_ones(place.numel(), *value.shape[1:])
        value = torch.cat([value, ones if values is None else values.to(value.dtype).expand_as(ones)])
    return SparseTensor(torch.cat([row, place]), None, torch.cat([col, place + k]), value, src.sparse_sizes())


def fill_diag(src: SparseTensor, fill_value: float, k: int = 0) -> SparseTensor:
    """The matrix with one value k places to the right of the diagonal."""
    value = src.storage.value()
    if value is None:
        return set_diag(src, None, k)
    return set_diag(src, value.new_full((_length(src, k), *value.shape[1:]), fill_value), k)


def get_diag(src: SparseTensor) -> Tensor:
    """The values on the diagonal, 0 where there is no entry."""
    row, col, value = src.coo()
    value = torch.ones(row.numel(), device=row.device) if value is None else value
    kept = row == col
    return value.new_zeros(_length(src, 0), *value.shape[1:]).index_put((row[kept],), value[kept])


def _length(src: SparseTensor, k: int) -> int:
    rows, cols = src.sparse_sizes()
    bounds = [cols - k, rows] if k > 0 else [cols, rows + k]
    return int(torch.tensor([*bounds]).min().clamp(min=0))


# Products ------------------------------------------------------------------------------------------------


def matmul(src: SparseTensor, other: Tensor | SparseTensor, reduce: str = "sum") -> Tensor | SparseTensor:
    """A sparse matrix times a dense one, with any reduction over a row's entries, or times a sparse one.

    Args:
        src: `[num_rows, num_columns]`.
        other: `[..., num_columns, num_features]`, or a sparse matrix.
        reduce: "sum" or "add", "mean", "min" or "max"; "sum" of two sparse matrices.
    """
    return spmm(src, other, reduce) if isinstance(other, Tensor) else spspmm(src, other, reduce)


def spmm(src: SparseTensor, other: Tensor, reduce: str = "sum") -> Tensor:
    """`matmul` with a dense matrix."""
    if other.dim() < 2 or other.size(-2) != src.sparse_size(1):
        raise ValueError(f"other must be [..., {src.sparse_size(1)}, num_features], got {list(other.shape)}.")
    rowptr, col, value = src.csr()
    terms = other.index_select(-2, col)
    if value is not None:
        terms = terms * value.to(other.dtype)[:, None]
    moved = segment_csr(terms.movedim(-2, 0), rowptr, None, reduce)
    return moved.movedim(0, -2)


def spspmm(src: SparseTensor, other: SparseTensor, reduce: str = "sum") -> SparseTensor:
    """`matmul` of two sparse matrices, with gradients of both values."""
    if reduce not in ("sum", "add"):
        raise ValueError(f"reduce is {reduce!r}, but should be 'sum' for two sparse matrices.")
    if src.sparse_size(1) != other.sparse_size(0):
        raise ValueError(f"src has {src.sparse_size(1)} columns, but other has {other.sparse_size(0)} rows.")
    row, col, value = src.coo()
    rowptr, other_col, other_value = other.csr()
    count = rowptr.diff()[col]
    entry = torch.repeat_interleave(count)  # of src, once for each entry of other's row
    before = count.cumsum(0) - count
    place = (rowptr[:-1][col] - before)[entry] + torch.arange(entry.numel(), device=row.device)
    product = None
    if value is not None or other_value is not None:
        left = 1 if value is None else value[entry]
        right = 1 if other_value is None else other_value[place]
        product = torch.as_tensor(left * right)
    sizes = src.sparse_size(0), other.sparse_size(1)
    return SparseTensor(row[entry], None, other_col[place], product, sizes, trust_data=True).coalesce("sum")
