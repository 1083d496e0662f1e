"""`torch_sparse`'s functions of sparse matrices that are an index `[2, num_entries]` and a value."""

from __future__ import annotations

from typing import Any

import numpy as np
import scipy.sparse
import torch
from torch import Tensor

from mpnn.pyg.sparse import arithmetic
from mpnn.pyg.sparse.storage import SparseStorage
from mpnn.pyg.sparse.tensor import SparseTensor

__all__ = [
    "coalesce",
    "eye",
    "from_scipy",
    "from_torch_sparse",
    "spadd",
    "spmm",
    "spspmm",
    "to_scipy",
    "to_torch_sparse",
    "transpose",
]

Matrix = tuple[Tensor, Tensor | None]


def coalesce(index: Tensor, value: Tensor | None, m: int, n: int, op: str = "add") -> Matrix:
    """Sorted entries of an m x n matrix, one for each place."""
    made = SparseStorage(row=index[0], col=index[1], value=value, sparse_sizes=(m, n)).coalesce(op)
    return torch.stack([made.row(), made.col()]), made.value()


def transpose(index: Tensor, value: Tensor | None, m: int, n: int, coalesced: bool = True) -> Matrix:
    """The transposed matrix, by default sorted and with one entry for each place."""
    return coalesce(index.flip(0), value, n, m) if coalesced else (index.flip(0), value)


def eye(m: int, dtype: torch.dtype | None = None, device: torch.device | str | None = None) -> Matrix:
    """Ones on the diagonal of an m x m matrix."""
    row = torch.arange(m, device=device)
    return torch.stack([row, row]), torch.ones(m, dtype=dtype, device=device)


def spmm(index: Tensor, value: Tensor, m: int, n: int, matrix: Tensor) -> Tensor:
    """An m x n matrix times a dense one."""
    matrix = matrix if matrix.dim() > 1 else matrix[:, None]
    return arithmetic.spmm(SparseTensor.from_edge_index(index, value, (m, n)), matrix)


def spspmm(
    indexA: Tensor,
    valueA: Tensor,
    indexB: Tensor,
    valueB: Tensor,
    m: int,
    k: int,
    n: int,
    coalesced: bool = False,
) -> Matrix:
    """An m x k matrix times a k x n one; with `coalesced` they are sorted first."""
    a, b = (
        SparseTensor.from_edge_index(index, value, sizes, is_sorted=not coalesced)
        for index, value, sizes in ((indexA, valueA, (m, k)), (indexB, valueB, (k, n)))
    )
    row, col, value = arithmetic.spspmm(a, b).coo()
    return torch.stack([row, col]), value


def spadd(indexA: Tensor, valueA: Tensor, indexB: Tensor, valueB: Tensor, m: int, n: int) -> Matrix:
    """The sum of two m x n matrices."""
    return coalesce(torch.cat([indexA, indexB], dim=1), torch.cat([valueA, valueB]), m, n)


def to_torch_sparse(index: Tensor, value: Tensor, m: int, n: int) -> Tensor:
    """PyTorch's matrix in COO form."""
    return torch.sparse_coo_tensor(index.detach(), value, (m, n))


def from_torch_sparse(A: Tensor) -> tuple[Tensor, Tensor]:
    """Index and value of PyTorch's matrix."""
    return A.indices().detach(), A.values()


def to_scipy(index: Tensor, value: Tensor, m: int, n: int) -> Any:
    """The matrix of scipy in COO form."""
    row, col = index.detach().cpu().numpy()
    return scipy.sparse.coo_matrix((value.detach().cpu().numpy(), (row, col)), (m, n))


def from_scipy(A: Any) -> tuple[Tensor, Tensor]:
    """Index and value of scipy's matrix."""
    A = A.tocoo()
    row, col = (torch.from_numpy(one.astype(np.int64)) for one in (A.row, A.col))
    return torch.stack([row, col]), torch.from_numpy(A.data)
