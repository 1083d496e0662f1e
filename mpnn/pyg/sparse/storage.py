"""The entries of a sparse matrix, sorted by row and column, and what is known of them."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from mpnn.pyg.scatter.segment import segment_csr

CACHES = ("rowcount", "colptr", "colcount", "csr2csc", "csc2csr")
TENSORS = ("row", "rowptr", "col", "value", *CACHES)


def get_layout(layout: str | None = None) -> str:
    """In which order values are: "coo" and "csr" by row, "csc" by column."""
    if layout is None:
        warnings.warn("layout is not given, so values are taken in the order of rows ('coo').", stacklevel=3)
        return "coo"
    if layout not in ("coo", "csr", "csc"):
        raise ValueError(f"layout is {layout!r}, but should be 'coo', 'csr' or 'csc'.")
    return layout


def ind2ptr(index: Tensor, size: int) -> Tensor:
    """Where each row begins in a sorted index: `[size + 1]`.

    >>> ind2ptr(torch.tensor([0, 0, 2]), 4)
    tensor([0, 2, 2, 3, 3])
    """
    return torch.searchsorted(
        index.contiguous(), torch.arange(size + 1, device=index.device, dtype=index.dtype)
    )


def ptr2ind(ptr: Tensor, number: int) -> Tensor:
    """The row of each entry, of pointers: `[number]`.

    >>> ptr2ind(torch.tensor([0, 2, 2, 3, 3]), 3)
    tensor([0, 0, 2])
    """
    return torch.repeat_interleave(ptr.diff(), output_size=number).to(ptr.dtype)


class SparseStorage:
    """Entries in the order of rows, and within a row of columns; views are computed when they are asked for.

    Args:
        row: int64 `[num_entries]`, or `rowptr`.
        rowptr: int64 `[num_rows + 1]`.
        col: int64 `[num_entries]`.
        value: `[num_entries, ...]`.
        sparse_sizes: numbers of rows and columns; None is one more than the largest.
        rowcount: if they are known, entries of each row.
        colptr: where each column begins.
        colcount: entries of each column.
        csr2csc: the entries in the order of columns.
        csc2csr: the way back.
        is_sorted: whether the entries are sorted already.
        trust_data: whether indices need not be looked at.
    """

    _col: Tensor

    def __init__(
        self,
        row: Tensor | None = None,
        rowptr: Tensor | None = None,
        col: Tensor | None = None,
        value: Tensor | None = None,
        sparse_sizes: tuple[int | None, int | None] | None = None,
        rowcount: Tensor | None = None,
        colptr: Tensor | None = None,
        colcount: Tensor | None = None,
        csr2csc: Tensor | None = None,
        csc2csr: Tensor | None = None,
        is_sorted: bool = False,
        trust_data: bool = False,
    ) -> None:
        if col is None or (row is None and rowptr is None):
            raise ValueError("a sparse matrix needs col, and row or rowptr.")
        for name, index in (("row", row), ("rowptr", rowptr), ("col", col)):
            if index is not None and (
                index.dtype != torch.int64 or index.dim() != 1 or index.device != col.device
            ):
                raise ValueError(
                    f"{name} must be an int64 vector on {col.device}, got {index.dtype} "
                    f"{list(index.shape)} on {index.device}."
                )
        if row is not None and row.numel() != col.numel():
            raise ValueError(f"row and col must be of one length, got {row.numel()} and {col.numel()}.")
        if value is not None and (
            value.dim() == 0 or value.size(0) != col.numel() or value.device != col.device
        ):
            raise ValueError(
                f"value must be [{col.numel()}, ...] on {col.device}, got {list(value.shape)} on "
                f"{value.device}."
            )
        given = sparse_sizes or (None, None)
        rows = None if rowptr is None else rowptr.numel() - 1
        if rows is not None and given[0] not in (None, rows):
            raise ValueError(f"sparse_sizes[0] is {given[0]}, but rowptr has {rows} rows.")
        self._sparse_sizes = (
            rows if rows is not None else _size("row", row, given[0], trust_data),
            _size("col", col, given[1], trust_data),
        )
        known = {
            "row": row,
            "rowptr": rowptr,
            "col": col,
            "value": value,
            "rowcount": rowcount,
            "colptr": colptr,
        }
        known |= {"colcount": colcount, "csr2csc": csr2csc, "csc2csr": csc2csr}
        for name, tensor in known.items():
            setattr(self, f"_{name}", None if tensor is None else tensor.contiguous())
        if not is_sorted and col.numel():
            key = self.row() * self._sparse_sizes[1] + self._col
            if bool((key[1:] < key[:-1]).any()):
                order = torch.sort(key, stable=True)[1]
                self._row: Tensor | None = self.row()[order]
                self._col = self._col[order]
                self._value: Tensor | None = None if value is None else value[order]
                self._csr2csc: Tensor | None = None
                self._csc2csr: Tensor | None = None
        self._rowptr: Tensor | None
        self._rowcount: Tensor | None
        self._colptr: Tensor | None
        self._colcount: Tensor | None

    @classmethod
    def empty(cls) -> SparseStorage:
        """A matrix without rows and columns."""
        none = torch.empty(0, dtype=torch.int64)
        return cls(row=none, col=none, sparse_sizes=(0, 0), is_sorted=True, trust_data=True)

    def changed(self, **changes: Any) -> SparseStorage:
        """The same with other tensors or sizes, by the names of the constructor."""
        known = {name: getattr(self, f"_{name}") for name in TENSORS}
        known["sparse_sizes"] = self._sparse_sizes
        return SparseStorage(**{**known, **changes}, is_sorted=True, trust_data=True)

    def mapped(self, function: Callable[[Tensor], Tensor]) -> SparseStorage:
        """The same with a function of each tensor."""
        tensors = {name: getattr(self, f"_{name}") for name in TENSORS}
        return self.changed(**{name: None if one is None else function(one) for name, one in tensors.items()})

    def tensors(self) -> list[Tensor]:
        """All tensors that there are."""
        return [one for name in TENSORS if (one := getattr(self, f"_{name}")) is not None]

    # Views -----------------------------------------------------------------------------------------------

    def has_row(self) -> bool:
        """Whether rows are kept."""
        return self._row is not None

    def row(self) -> Tensor:
        """The row of each entry."""
        if self._row is None:
            assert self._rowptr is not None
            self._row = ptr2ind(self._rowptr, self._col.numel())
        return self._row

    def has_rowptr(self) -> bool:
        """Whether pointers of rows are kept."""
        return self._rowptr is not None

    def rowptr(self) -> Tensor:
        """Where each row begins."""
        if self._rowptr is None:
            self._rowptr = ind2ptr(self.row(), self._sparse_sizes[0])
        return self._rowptr

    def col(self) -> Tensor:
        """The column of each entry."""
        return self._col

    def has_value(self) -> bool:
        """Whether entries have values."""
        return self._value is not None

    def value(self) -> Tensor | None:
        """The value of each entry."""
        return self._value

    def has_rowcount(self) -> bool:
        """Whether this is kept."""
        return self._rowcount is not None

    def rowcount(self) -> Tensor:
        """How many entries each row has."""
        if self._rowcount is None:
            self._rowcount = self.rowptr().diff()
        return self._rowcount

    def has_colptr(self) -> bool:
        """Whether this is kept."""
        return self._colptr is not None

    def colptr(self) -> Tensor:
        """Where each column begins in the order of columns."""
        if self._colptr is None:
            count = self.colcount()
            self._colptr = torch.cat([count.new_zeros(1), count.cumsum(0)])
        return self._colptr

    def has_colcount(self) -> bool:
        """Whether this is kept."""
        return self._colcount is not None

    def colcount(self) -> Tensor:
        """How many entries each column has."""
        if self._colcount is None:
            if self._colptr is not None:
                self._colcount = self._colptr.diff()
            else:
                self._colcount = torch.bincount(self._col, minlength=self._sparse_sizes[1])
        return self._colcount

    def has_csr2csc(self) -> bool:
        """Whether this is kept."""
        return self._csr2csc is not None

    def csr2csc(self) -> Tensor:
        """The entries in the order of columns."""
        if self._csr2csc is None:
            self._csr2csc = torch.sort(self._col, stable=True)[1]
        return self._csr2csc

    def has_csc2csr(self) -> bool:
        """Whether this is kept."""
        return self._csc2csr is not None

    def csc2csr(self) -> Tensor:
        """Where each entry is in the order of columns."""
        if self._csc2csr is None:
            order = self.csr2csc()
            self._csc2csr = torch.empty_like(order).scatter_(
                0, order, torch.arange(order.numel(), device=order.device)
            )
        return self._csc2csr

    def fill_cache_(self) -> SparseStorage:
        """Compute all views now."""
        for name in ("row", "rowptr", *CACHES):
            getattr(self, name)()
        return self

    def clear_cache_(self) -> SparseStorage:
        """Forget the views."""
        for name in CACHES:
            setattr(self, f"_{name}", None)
        return self

    def cached_keys(self) -> list[str]:
        """Which views are kept."""
        return [name for name in CACHES if getattr(self, f"_{name}") is not None]

    def num_cached_keys(self) -> int:
        """How many views are kept."""
        return len(self.cached_keys())

    # Values and sizes ------------------------------------------------------------------------------------

    def _in_rows(self, value: Tensor | None, layout: str | None) -> Tensor | None:
        if value is None:
            return None
        if get_layout(layout) == "csc":
            value = value[self.csc2csr()]
        if value.dim() == 0 or value.size(0) != self._col.numel() or value.device != self._col.device:
            raise ValueError(f"value must have {self._col.numel()} entries, got {list(value.shape)}.")
        return value.contiguous()

    def set_value_(self, value: Tensor | None, layout: str | None = None) -> SparseStorage:
        """Put other values in this storage."""
        self._value = self._in_rows(value, layout)
        return self

    def set_value(self, value: Tensor | None, layout: str | None = None) -> SparseStorage:
        """The same with other values."""
        return self.changed(value=self._in_rows(value, layout))

    def sparse_sizes(self) -> tuple[int, int]:
        """The numbers of rows and of columns."""
        return self._sparse_sizes

    def sparse_size(self, dim: int) -> int:
        """The number of rows (0) or of columns (1)."""
        return self._sparse_sizes[dim]

    def sparse_resize(self, sparse_sizes: tuple[int, int]) -> SparseStorage:
        """The same entries in more or fewer rows and columns; entries outside are not looked for."""
        changes: dict[str, Any] = {"sparse_sizes": tuple(sparse_sizes)}
        for dim, pointers, counts in ((0, "rowptr", "rowcount"), (1, "colptr", "colcount")):
            more = sparse_sizes[dim] - self._sparse_sizes[dim]
            for name, filled in ((pointers, self._col.numel()), (counts, 0)):
                known = getattr(self, f"_{name}")
                if known is not None and more > 0:
                    changes[name] = torch.cat([known, known.new_full((more,), filled)])
                elif known is not None and more < 0:
                    changes[name] = known[:more]
        return self.changed(**changes)

    def sparse_reshape(self, num_rows: int, num_cols: int) -> SparseStorage:
        """The entries in rows of another length; one number may be -1."""
        total = self._sparse_sizes[0] * self._sparse_sizes[1]
        num_rows = total // num_cols if num_rows == -1 and num_cols > 0 else num_rows
        num_cols = total // num_rows if num_cols == -1 and num_rows > 0 else num_cols
        if num_rows <= 0 or num_cols <= 0 or num_rows * num_cols != total:
            raise ValueError(
                f"a matrix of {list(self._sparse_sizes)} cannot be one of [{num_rows}, {num_cols}]."
            )
        place = self._sparse_sizes[1] * self.row() + self._col
        row, col = torch.div(place, num_cols, rounding_mode="floor"), place % num_cols
        return SparseStorage(
            row=row,
            col=col,
            value=self._value,
            sparse_sizes=(num_rows, num_cols),
            is_sorted=True,
            trust_data=True,
        )

    def is_coalesced(self) -> bool:
        """Whether each place has one entry at most."""
        return bool(self._firsts().all())

    def coalesce(self, reduce: str = "add") -> SparseStorage:
        """One entry for each place, with the reduction of the values."""
        first = self._firsts()
        if bool(first.all()):
            return self
        value = self._value
        if value is not None:
            ptr = torch.cat(
                [first.nonzero().flatten(), first.new_full((1,), value.size(0), dtype=torch.int64)]
            )
            value = segment_csr(value, ptr, reduce=reduce)
        sizes = self._sparse_sizes
        row, col = self.row()[first], self._col[first]
        return SparseStorage(
            row=row, col=col, value=value, sparse_sizes=sizes, is_sorted=True, trust_data=True
        )

    def _firsts(self) -> Tensor:
        key = self._sparse_sizes[1] * self.row() + self._col
        return torch.cat([torch.ones_like(key[:1], dtype=torch.bool), key[1:] > key[:-1]])

    # Copies ----------------------------------------------------------------------------------------------

    def copy(self) -> SparseStorage:
        """The same tensors in another storage."""
        return self.changed()

    def clone(self) -> SparseStorage:
        """Copies of all tensors."""
        return self.mapped(torch.clone)

    def type(self, dtype: torch.dtype, non_blocking: bool = False) -> SparseStorage:
        """Values of another type."""
        if self._value is None or self._value.dtype == dtype:
            return self
        return self.changed(value=self._value.to(dtype, non_blocking=non_blocking))

    def type_as(self, tensor: Tensor, non_blocking: bool = False) -> SparseStorage:
        """Values of the type of a tensor."""
        return self.type(tensor.dtype, non_blocking)

    def to_device(self, device: torch.device | str, non_blocking: bool = False) -> SparseStorage:
        """All tensors on another device."""
        if torch.device(device) == self._col.device:
            return self
        return self.mapped(lambda one: one.to(device, non_blocking=non_blocking))

    def device_as(self, tensor: Tensor, non_blocking: bool = False) -> SparseStorage:
        """All tensors on the device of a tensor."""
        return self.to_device(tensor.device, non_blocking)

    def cuda(self) -> SparseStorage:
        """All tensors on the current GPU."""
        return self.mapped(lambda one: one.cuda())

    def pin_memory(self) -> SparseStorage:
        """All tensors in memory from which a GPU reads directly."""
        return self.mapped(lambda one: one.pin_memory())

    def is_pinned(self) -> bool:
        """Whether all tensors are."""
        return all(one.is_pinned() for one in self.tensors())

    def share_memory_(self) -> SparseStorage:
        """Move all tensors to memory that processes share."""
        for one in self.tensors():
            one.share_memory_()  # type: ignore[no-untyped-call]
        return self

    def is_shared(self) -> bool:
        """Whether all tensors are in such memory."""
        return all(one.is_shared() for one in self.tensors())  # type: ignore[no-untyped-call]


def _size(name: str, index: Tensor | None, given: int | None, trusted: bool) -> int:
    assert index is not None
    if given is not None and trusted:
        return given
    least = 1 + (int(index.max()) if index.numel() else -1)
    if index.numel() and int(index.min()) < 0:
        raise IndexError(f"{name} holds {int(index.min())}, but indices begin with 0.")
    if given is not None and least > given:
        raise IndexError(f"{name} holds {least - 1}, but the matrix has size {given} there.")
    return least if given is None else given
