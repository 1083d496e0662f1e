"""Parts of sparse matrices, and matrices put together."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from mpnn.pyg.sparse.storage import CACHES, get_layout
from mpnn.pyg.sparse.tensor import SparseTensor

__all__ = [
    "cat",
    "index_select",
    "index_select_nnz",
    "masked_select",
    "masked_select_nnz",
    "narrow",
    "permute",
    "select",
    "t",
]


def t(src: SparseTensor) -> SparseTensor:
    """The transposed matrix, with the views that are known."""
    own, order = src.storage, src.storage.csr2csc()
    value = own.value()
    return SparseTensor.from_storage(
        own.changed(
            row=own.col()[order],
            col=own.row()[order],
            value=None if value is None else value[order],
            sparse_sizes=own.sparse_sizes()[::-1],
            rowptr=own.colptr() if own.has_colptr() else None,
            colptr=own.rowptr() if own.has_rowptr() else None,
            rowcount=own.colcount() if own.has_colcount() else None,
            colcount=own.rowcount() if own.has_rowcount() else None,
            csr2csc=own.csc2csr(),
            csc2csr=order,
        )
    )


def narrow(src: SparseTensor, dim: int, start: int, length: int) -> SparseTensor:
    """Rows (0), columns (1) or further dimensions start .. start + length - 1."""
    dim = src.dim() + dim if dim < 0 else dim
    start = src.size(dim) + start if start < 0 else start
    if not 0 <= start <= start + length <= src.size(dim):
        raise IndexError(f"{start} .. {start + length - 1} is not within dimension {dim} of {src.sizes()}.")
    if dim > 1:
        return _of_values(src, dim, lambda value: value.narrow(dim - 1, start, length))
    row, col, value = src.coo()
    sizes = list(src.sparse_sizes())
    sizes[dim] = length
    chosen: Any
    if dim == 0:
        rowptr = src.storage.rowptr()[start : start + length + 1]
        chosen = slice(*rowptr[[0, -1]].tolist())
        row = row - start
    else:
        chosen = (col >= start) & (col < start + length)
        col = col - start
    value = None if value is None else value[chosen]
    return SparseTensor(row[chosen], None, col[chosen], value, (sizes[0], sizes[1]), True, True)


def narrow_diag(src: SparseTensor, start: tuple[int, int], length: tuple[int, int]) -> SparseTensor:
    """One of the matrices that `cat` has put on the diagonal."""
    return narrow(narrow(src, 0, start[0], length[0]), 1, start[1], length[1])


def select(src: SparseTensor, dim: int, idx: int) -> SparseTensor:
    """One row, column or further index, which stays as a dimension of size 1."""
    return narrow(src, dim, idx, 1)


def index_select(src: SparseTensor, dim: int, idx: Tensor) -> SparseTensor:
    """Rows (0), columns (1) or further dimensions in the order of `idx`, which may repeat."""
    dim = src.dim() + dim if dim < 0 else dim
    if dim > 1:
        return _of_values(src, dim, lambda value: value.index_select(dim - 1, idx))
    ptr, other, value = src.csr() if dim == 0 else src.csc()
    count = ptr.diff()[idx]
    line = torch.repeat_interleave(count)
    before = count.cumsum(0) - count
    place = (ptr[:-1][idx] - before)[line] + torch.arange(line.numel(), device=line.device)
    other, value = other[place], None if value is None else value[place]
    number = idx.numel()
    if dim == 0:
        return SparseTensor(line, None, other, value, (number, src.sparse_size(1)), True, True)
    return SparseTensor(other, None, line, value, (src.sparse_size(0), number), trust_data=True)


def masked_select(src: SparseTensor, dim: int, mask: Tensor) -> SparseTensor:
    """Rows (0), columns (1) or further dimensions at which the mask is true."""
    return index_select(src, dim, mask.nonzero().flatten())


def index_select_nnz(src: SparseTensor, idx: Tensor, layout: str | None = None) -> SparseTensor:
    """Some entries by their places in the order of `layout`; the sizes stay."""
    if get_layout(layout) == "csc":
        idx = src.storage.csr2csc()[idx]
    row, col, value = src.coo()
    return SparseTensor(row[idx], None, col[idx], None if value is None else value[idx], src.sparse_sizes())


def masked_select_nnz(src: SparseTensor, mask: Tensor, layout: str | None = None) -> SparseTensor:
    """The entries at which a mask in the order of `layout` is true; the sizes stay."""
    if get_layout(layout) == "csc":
        mask = mask[src.storage.csc2csr()]
    row, col, value = src.coo()
    value = None if value is None else value[mask]
    return SparseTensor(row[mask], None, col[mask], value, src.sparse_sizes(), True, True)


def permute(src: SparseTensor, perm: Tensor) -> SparseTensor:
    """Rows and columns of a square matrix in another order."""
    if not src.is_quadratic():
        raise ValueError(
            f"a matrix of {list(src.sparse_sizes())} is not square: its rows and columns differ."
        )
    return index_select(index_select(src, 0, perm), 1, perm)


def cat(tensors: Sequence[SparseTensor], dim: int | Sequence[int]) -> SparseTensor:
    """Matrices below each other (0), side by side (1), on the diagonal (0, 1), or value by value."""
    if not tensors:
        raise ValueError("tensors is empty: there is nothing to put together.")
    if isinstance(dim, int):
        dim = tensors[0].dim() + dim if dim < 0 else dim
        if dim >= tensors[0].dim() or dim < 0:
            raise IndexError(f"dim is {dim}, but the matrices have {tensors[0].dim()} dimensions.")
        if dim > 1:
            values = [value for one in tensors if (value := one.storage.value()) is not None]
            return tensors[0].set_value(torch.cat(values, dim=dim - 1), "coo")
        dims = [dim]
    else:
        dims = list(dim)
        if sorted(dims) != [0, 1]:
            raise ValueError(f"dim is {tuple(dims)}, but should be 0, 1 or (0, 1).")
    rows, cols, values, offsets, largest = [], [], [], [0, 0], [0, 0]
    for one in tensors:
        row, col, value = one.coo()
        rows.append(row + offsets[0])
        cols.append(col + offsets[1])
        values += [] if value is None else [value]
        for k in (0, 1):
            largest[k] = max(largest[k], offsets[k] + one.sparse_size(k))
            offsets[k] += one.sparse_size(k) if k in dims else 0
    value = torch.cat(values) if len(values) == len(tensors) else None
    sizes = largest[0], largest[1]
    made = SparseTensor(torch.cat(rows), None, torch.cat(cols), value, sizes, dims != [1], True)
    # Views that all matrices have and that follow from theirs are there at once.
    views = {(0,): ("rowptr", "rowcount"), (1,): ("colptr", "colcount"), (0, 1): ("rowptr", *CACHES)}
    for view in views[tuple(sorted(dims))]:
        if all(getattr(one.storage, f"has_{view}")() for one in tensors):
            getattr(made.storage, view)()
    return made


def getitem(src: SparseTensor, index: Any) -> SparseTensor:
    """`matrix[rows, columns, ...]` with numbers, slices without steps, masks, lists and an ellipsis."""
    items = list(index) if isinstance(index, tuple) else [index]
    if sum(item is ... for item in items) > 1:
        raise SyntaxError("an index has one ellipsis at most.")
    dim, made = 0, src
    for place, item in enumerate(items):
        if isinstance(item, list | tuple):
            item = torch.tensor(item, device=src.device())
        elif isinstance(item, np.ndarray):
            item = torch.from_numpy(item).to(src.device())
        if item is ...:
            dim = src.dim() - (len(items) - place - 1)
            continue
        if isinstance(item, int):
            made = select(made, dim, item)
        elif isinstance(item, slice):
            if item.step not in (None, 1):
                raise ValueError(f"a slice of a sparse matrix has no steps, got {item}.")
            start, stop, _ = item.indices(src.size(dim))
            made = narrow(made, dim, start, max(stop - start, 0))
        elif isinstance(item, Tensor):
            made = (masked_select if item.dtype == torch.bool else index_select)(made, dim, item)
        else:
            raise SyntaxError(f"a sparse matrix has no index such as {item!r}.")
        dim += 1
    return made


def _of_values(src: SparseTensor, dim: int, function: Any) -> SparseTensor:
    value = src.storage.value()
    if value is None or dim >= src.dim():
        raise IndexError(f"dim is {dim}, but the matrix has sizes {src.sizes()}.")
    return src.set_value(function(value), "coo")
