"""A sparse matrix whose entries may have values of any shape."""

from __future__ import annotations

from textwrap import indent
from typing import Any

import numpy as np
import scipy.sparse
import torch
from torch import Tensor

from mpnn.pyg.sparse.storage import SparseStorage, get_layout


class SparseTensor:
    """A sparse matrix: see `SparseStorage` for the arguments. Its functions are in this folder's other files.

    >>> row, col, value = torch.tensor([1, 0]), torch.tensor([0, 1]), torch.tensor([2.0, 3.0])
    >>> matrix = SparseTensor(row=row, col=col, value=value)
    >>> matrix.to_dense().tolist()
    [[0.0, 3.0], [2.0, 0.0]]
    """

    storage: SparseStorage

    def __init__(
        self,
        row: Tensor | None = None,
        rowptr: Tensor | None = None,
        col: Tensor | None = None,
        value: Tensor | None = None,
        sparse_sizes: tuple[int | None, int | None] | None = None,
        is_sorted: bool = False,
        trust_data: bool = False,
    ) -> None:
        self.storage = SparseStorage(
            row, rowptr, col, value, sparse_sizes, is_sorted=is_sorted, trust_data=trust_data
        )

    # Made of something else ------------------------------------------------------------------------------

    @classmethod
    def from_storage(cls, storage: SparseStorage) -> SparseTensor:
        """A matrix of a storage's tensors."""
        made = cls.__new__(cls)
        made.storage = storage.copy()
        return made

    @classmethod
    def from_edge_index(
        cls,
        edge_index: Tensor,
        edge_attr: Tensor | None = None,
        sparse_sizes: tuple[int | None, int | None] | None = None,
        is_sorted: bool = False,
        trust_data: bool = False,
    ) -> SparseTensor:
        """A matrix of edges `[2, num_edges]`, rows over columns."""
        row, col = edge_index
        return cls(row, None, col, edge_attr, sparse_sizes, is_sorted, trust_data)

    @classmethod
    def from_dense(cls, mat: Tensor, has_value: bool = True) -> SparseTensor:
        """The entries of a dense matrix that are not 0."""
        there = mat.abs().flatten(2).sum(2) if mat.dim() > 2 else mat
        row, col = there.nonzero().t()
        value = mat[row, col] if has_value else None
        return cls(row, None, col, value, (mat.size(0), mat.size(1)), True, True)

    @classmethod
    def from_torch_sparse_coo_tensor(cls, mat: Tensor, has_value: bool = True) -> SparseTensor:
        """A matrix of one of PyTorch's in COO form."""
        mat = mat.coalesce()
        row, col = mat.indices()
        return cls(
            row, None, col, mat.values() if has_value else None, (mat.size(0), mat.size(1)), True, True
        )

    @classmethod
    def from_torch_sparse_csr_tensor(cls, mat: Tensor, has_value: bool = True) -> SparseTensor:
        """A matrix of one of PyTorch's in CSR form."""
        value = mat.values() if has_value else None
        return cls(None, mat.crow_indices(), mat.col_indices(), value, (mat.size(0), mat.size(1)), True, True)

    @classmethod
    def from_scipy(cls, mat: Any, has_value: bool = True) -> SparseTensor:
        """A matrix of one of scipy's."""
        mat = mat.tocsr()
        mat.sort_indices()
        rowptr, col = (torch.from_numpy(one.astype(np.int64)) for one in (mat.indptr, mat.indices))
        value = torch.from_numpy(mat.data) if has_value else None
        return cls(None, rowptr, col, value, mat.shape[:2], True, True)

    @classmethod
    def eye(
        cls,
        M: int,
        N: int | None = None,
        has_value: bool = True,
        dtype: torch.dtype | None = None,
        device: torch.device | str | None = None,
        fill_cache: bool = False,
    ) -> SparseTensor:
        """Ones on the diagonal of a matrix with M rows and N columns."""
        N = M if N is None else N
        row = torch.arange(min(M, N), device=device)
        value = torch.ones(row.numel(), dtype=dtype, device=device) if has_value else None
        made = cls(row, None, row, value, (M, N), True, True)
        made.storage.rowptr()
        return made.fill_cache_() if fill_cache else made

    def copy(self) -> SparseTensor:
        """The same tensors in another matrix."""
        return self.from_storage(self.storage)

    def clone(self) -> SparseTensor:
        """Copies of all tensors."""
        return self.from_storage(self.storage.clone())

    # Views -----------------------------------------------------------------------------------------------

    def coo(self) -> tuple[Tensor, Tensor, Tensor | None]:
        """Rows, columns and values, by row."""
        return self.storage.row(), self.storage.col(), self.storage.value()

    def csr(self) -> tuple[Tensor, Tensor, Tensor | None]:
        """Where rows begin, columns and values, by row."""
        return self.storage.rowptr(), self.storage.col(), self.storage.value()

    def csc(self) -> tuple[Tensor, Tensor, Tensor | None]:
        """Where columns begin, rows and values, by column."""
        order, value = self.storage.csr2csc(), self.storage.value()
        return self.storage.colptr(), self.storage.row()[order], None if value is None else value[order]

    def has_value(self) -> bool:
        """Whether entries have values."""
        return self.storage.has_value()

    def set_value_(self, value: Tensor | None, layout: str | None = None) -> SparseTensor:
        """Put other values in this matrix."""
        self.storage.set_value_(value, layout)
        return self

    def set_value(self, value: Tensor | None, layout: str | None = None) -> SparseTensor:
        """The same with other values."""
        return self.from_storage(self.storage.set_value(value, layout))

    def fill_value_(self, fill_value: float, dtype: torch.dtype | None = None) -> SparseTensor:
        """Give all entries one value."""
        return self.set_value_(self._full(fill_value, dtype), "coo")

    def fill_value(self, fill_value: float, dtype: torch.dtype | None = None) -> SparseTensor:
        """The same with one value for all entries."""
        return self.set_value(self._full(fill_value, dtype), "coo")

    def _full(self, value: float, dtype: torch.dtype | None) -> Tensor:
        return torch.full(
            (self.nnz(),), value, dtype=dtype or torch.get_default_dtype(), device=self.device()
        )

    def is_coalesced(self) -> bool:
        """Whether each place has one entry at most."""
        return self.storage.is_coalesced()

    def coalesce(self, reduce: str = "sum") -> SparseTensor:
        """One entry for each place, with the reduction of the values."""
        return self.from_storage(self.storage.coalesce(reduce))

    def fill_cache_(self) -> SparseTensor:
        """Compute all views now."""
        self.storage.fill_cache_()
        return self

    def clear_cache_(self) -> SparseTensor:
        """Forget the views."""
        self.storage.clear_cache_()
        return self

    # Sizes -----------------------------------------------------------------------------------------------

    def sparse_sizes(self) -> tuple[int, int]:
        """The numbers of rows and of columns."""
        return self.storage.sparse_sizes()

    def sparse_size(self, dim: int) -> int:
        """The number of rows (0) or of columns (1)."""
        return self.storage.sparse_size(dim)

    def sparse_resize(self, sparse_sizes: tuple[int, int]) -> SparseTensor:
        """The same entries in more or fewer rows and columns."""
        return self.from_storage(self.storage.sparse_resize(sparse_sizes))

    def sparse_reshape(self, num_rows: int, num_cols: int) -> SparseTensor:
        """The entries in rows of another length."""
        return self.from_storage(self.storage.sparse_reshape(num_rows, num_cols))

    def sizes(self) -> list[int]:
        """Rows, columns and the shape of a value."""
        value = self.storage.value()
        return [*self.sparse_sizes(), *([] if value is None else value.shape[1:])]

    def size(self, dim: int) -> int:
        """One of `sizes()`."""
        return self.sizes()[dim]

    def dim(self) -> int:
        """How many sizes there are."""
        return len(self.sizes())

    def nnz(self) -> int:
        """How many entries there are."""
        return self.storage.col().numel()

    def numel(self) -> int:
        """How many numbers the values have."""
        value = self.storage.value()
        return self.nnz() if value is None else value.numel()

    def density(self) -> float:
        """The share of places with an entry."""
        places = self.sparse_size(0) * self.sparse_size(1)
        return self.nnz() / places if places else 0.0

    def sparsity(self) -> float:
        """The share of places without an entry."""
        return 1 - self.density()

    def avg_row_length(self) -> float:
        """Entries of a row, on average."""
        return self.nnz() / self.sparse_size(0)

    def avg_col_length(self) -> float:
        """Entries of a column, on average."""
        return self.nnz() / self.sparse_size(1)

    def bandwidth(self) -> int:
        """The largest distance of an entry from the diagonal."""
        return int((self.storage.row() - self.storage.col()).abs().max())

    def avg_bandwidth(self) -> float:
        """The mean distance of entries from the diagonal."""
        return float((self.storage.row() - self.storage.col()).abs().float().mean())

    def bandwidth_proportion(self, bandwidth: int) -> float:
        """The share of entries that are no farther from the diagonal."""
        return int(((self.storage.row() - self.storage.col()).abs() <= bandwidth).sum()) / self.nnz()

    def is_quadratic(self) -> bool:
        """Whether there are as many rows as columns."""
        return self.sparse_size(0) == self.sparse_size(1)

    def is_symmetric(self) -> bool:
        """Whether the transposed matrix is the same."""
        if not self.is_quadratic():
            return False
        by_row, by_column = self.csr(), self.csc()
        return all(
            a is None or b is None or torch.equal(a, b) for a, b in zip(by_row, by_column, strict=True)
        )

    def to_symmetric(self, reduce: str = "sum") -> SparseTensor:
        """The matrix and its transposed one, reduced where both have an entry."""
        size = max(self.sparse_sizes())
        row, col, value = self.coo()
        value = None if value is None else torch.cat([value, value])
        made = type(self)(torch.cat([row, col]), None, torch.cat([col, row]), value, (size, size))
        return made.coalesce(reduce)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, SparseTensor) or self.sizes() != other.sizes():
            return False
        pairs = zip(self.csr(), other.csr(), strict=True)
        return all(a is b or (a is not None and b is not None and torch.equal(a, b)) for a, b in pairs)

    __hash__ = None  # type: ignore[assignment]

    # Types, devices and gradients ------------------------------------------------------------------------

    def detach_(self) -> SparseTensor:
        """Cut the values from their history."""
        value = self.storage.value()
        return self if value is None else self.set_value_(value.detach_(), "coo")

    def detach(self) -> SparseTensor:
        """The same with values without history."""
        value = self.storage.value()
        return self.set_value(None if value is None else value.detach(), "coo")

    def requires_grad(self) -> bool:
        """Whether the values get gradients."""
        value = self.storage.value()
        return value is not None and value.requires_grad

    def requires_grad_(self, requires_grad: bool = True, dtype: torch.dtype | None = None) -> SparseTensor:
        """Ask for gradients of the values, which are ones if there are none."""
        if requires_grad and not self.has_value():
            self.fill_value_(1.0, dtype)
        value = self.storage.value()
        if value is not None:
            value.requires_grad_(requires_grad)
        return self

    def device(self) -> torch.device:
        """Where the tensors are."""
        return self.storage.col().device

    def dtype(self) -> torch.dtype:
        """The type of the values."""
        value = self.storage.value()
        return torch.float32 if value is None else value.dtype

    def is_floating_point(self) -> bool:
        """Whether the values are floating-point numbers."""
        return self.dtype().is_floating_point

    def is_cuda(self) -> bool:
        """Whether the tensors are on a GPU."""
        return self.storage.col().is_cuda

    def type(self, dtype: torch.dtype, non_blocking: bool = False) -> SparseTensor:
        """Values of another type."""
        return self.from_storage(self.storage.type(dtype, non_blocking))

    def type_as(self, tensor: Tensor, non_blocking: bool = False) -> SparseTensor:
        """Values of the type of a tensor."""
        return self.type(tensor.dtype, non_blocking)

    def to_device(self, device: torch.device | str, non_blocking: bool = False) -> SparseTensor:
        """All tensors on another device."""
        return self.from_storage(self.storage.to_device(device, non_blocking))

    def device_as(self, tensor: Tensor, non_blocking: bool = False) -> SparseTensor:
        """All tensors on the device of a tensor."""
        return self.to_device(tensor.device, non_blocking)

    def to(self, *args: Any, non_blocking: bool = False, **kwargs: Any) -> SparseTensor:
        """All tensors on a device, or values of a type, as `torch.Tensor.to` takes them."""
        like = torch.empty(0, dtype=self.dtype(), device=self.device()).to(*args, **kwargs)
        return self.type(like.dtype, non_blocking).to_device(like.device, non_blocking)

    def cpu(self) -> SparseTensor:
        """All tensors on the CPU."""
        return self.to_device("cpu")

    def cuda(self, device: int | str | None = None, non_blocking: bool = False) -> SparseTensor:
        """All tensors on a GPU."""
        return self.to_device(torch.device("cuda" if device is None else device), non_blocking)

    def pin_memory(self) -> SparseTensor:
        """All tensors in memory from which a GPU reads directly."""
        return self.from_storage(self.storage.pin_memory())

    def is_pinned(self) -> bool:
        """Whether all tensors are in such memory."""
        return self.storage.is_pinned()

    def share_memory_(self) -> SparseTensor:
        """Move all tensors to memory that processes share."""
        self.storage.share_memory_()
        return self

    def is_shared(self) -> bool:
        """Whether all tensors are in such memory."""
        return self.storage.is_shared()

    # Turned into something else --------------------------------------------------------------------------

    def _values(self, dtype: torch.dtype | None) -> Tensor:
        value = self.storage.value()
        return torch.ones(self.nnz(), dtype=dtype, device=self.device()) if value is None else value

    def to_dense(self, dtype: torch.dtype | None = None) -> Tensor:
        """The dense matrix."""
        value = self._values(dtype)
        return value.new_zeros(self.sizes()).index_put((self.storage.row(), self.storage.col()), value)

    def to_torch_sparse_coo_tensor(self, dtype: torch.dtype | None = None) -> Tensor:
        """PyTorch's matrix in COO form."""
        index = torch.stack([self.storage.row(), self.storage.col()])
        return torch.sparse_coo_tensor(index, self._values(dtype), self.sizes())

    def to_torch_sparse_csr_tensor(self, dtype: torch.dtype | None = None) -> Tensor:
        """PyTorch's matrix in CSR form."""
        return torch.sparse_csr_tensor(
            self.storage.rowptr(), self.storage.col(), self._values(dtype), self.sizes()
        )

    def to_torch_sparse_csc_tensor(self, dtype: torch.dtype | None = None) -> Tensor:
        """PyTorch's matrix in CSC form."""
        colptr, row, value = self.csc()
        value = self._values(dtype) if value is None else value
        return torch.sparse_csc_tensor(colptr, row, value, self.sizes())

    def to_scipy(self, layout: str | None = None, dtype: torch.dtype | None = None) -> Any:
        """The matrix of scipy in COO, CSR or CSC form."""
        layout = get_layout(layout)
        if self.dim() != 2:
            raise ValueError(f"values have the shape {self.sizes()[2:]}, but scipy's are numbers.")
        here = self.detach().cpu()
        first, second, value = {"coo": here.coo, "csr": here.csr, "csc": here.csc}[layout]()
        data = (torch.ones(here.nnz(), dtype=dtype) if value is None else value).numpy()
        if layout == "coo":
            return scipy.sparse.coo_matrix((data, (first.numpy(), second.numpy())), self.sizes())
        kind = scipy.sparse.csr_matrix if layout == "csr" else scipy.sparse.csc_matrix
        return kind((data, second.numpy(), first.numpy()), self.sizes())

    def __repr__(self) -> str:
        row, col, value = self.coo()
        parts = [f"row={row}", f"col={col}", *([] if value is None else [f"val={value}"])]
        parts.append(f"size={tuple(self.sizes())}, nnz={self.nnz()}, density={100 * self.density():.02f}%")
        return f"SparseTensor({indent(f',{chr(10)}'.join(parts), ' ' * 13).strip()})"


def _typed(name: str, dtype: torch.dtype) -> None:
    def convert(self: SparseTensor) -> SparseTensor:
        return self.type(dtype)

    convert.__name__, convert.__doc__ = name, f"Values of the type {dtype}."
    setattr(SparseTensor, name, convert)


_TYPES = {
    "bfloat16": torch.bfloat16,
    "bool": torch.bool,
    "byte": torch.uint8,
    "char": torch.int8,
    "half": torch.half,
    "float": torch.float,
    "double": torch.double,
    "short": torch.short,
    "int": torch.int,
    "long": torch.long,
}
for _name, _dtype in _TYPES.items():
    _typed(_name, _dtype)
