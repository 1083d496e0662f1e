"""Compressed sparse rows: the edges of a graph, sorted by one of their two ends."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from scipy.sparse import csr_array
from torch import Tensor

INT32_MAX = 2**31 - 1


@dataclass(frozen=True, slots=True)
class CSR:
    """Edges grouped by row: row r owns the slots `indptr[r] .. indptr[r + 1]`.

    `indices[slot]` is the node at the other end, `edge_ids[slot]` the edge's position in `edge_index`.
    Within a row, edges keep the order that they have in `edge_index`, so sums over a row are repeatable.
    All three are int32 when every number fits, else int64.

    Shapes: indptr `[num_rows + 1]`, indices `[num_edges]`, edge_ids `[num_edges]`.
    """

    indptr: Tensor
    indices: Tensor
    edge_ids: Tensor

    @property
    def num_rows(self) -> int:
        """How many rows there are."""
        return self.indptr.numel() - 1


def compress(rows: Tensor, columns: Tensor, num_rows: int, num_columns: int) -> CSR:
    """Sort edges by `rows` with one stable counting sort: O(num_rows + num_edges) on the CPU."""
    num_edges = rows.numel()
    fits = max(num_edges, num_rows, num_columns) <= INT32_MAX
    index_type = torch.int32 if fits else torch.int64
    if rows.is_cuda:
        edge_ids = torch.sort(rows, stable=True).indices
        indptr = torch.zeros(num_rows + 1, dtype=torch.int64, device=rows.device)
        torch.cumsum(torch.bincount(rows, minlength=num_rows), 0, out=indptr[1:])
    else:
        indptr, edge_ids = _counting_sort(rows, num_rows, index_type)
    indices = columns.index_select(0, edge_ids.to(torch.int64))
    return CSR(indptr.to(index_type), indices.to(index_type), edge_ids.to(index_type))


def _counting_sort(rows: Tensor, num_rows: int, index_type: torch.dtype) -> tuple[Tensor, Tensor]:
    # The matrix with a one at (row of e, e) has the wanted order as its column indices; scipy builds
    # CSR from coordinates by counting, and no two entries coincide, so nothing is ever merged.
    num_edges = rows.numel()
    if num_edges == 0 or num_rows == 0:
        return torch.zeros(num_rows + 1, dtype=index_type), torch.empty(0, dtype=index_type)
    numpy_type = np.int32 if index_type == torch.int32 else np.int64
    entries = np.ones(num_edges, dtype=np.int8)
    coordinates = (rows.numpy().astype(numpy_type, copy=False), np.arange(num_edges, dtype=numpy_type))
    matrix = csr_array((entries, coordinates), shape=(num_rows, num_edges))
    return torch.from_numpy(matrix.indptr), torch.from_numpy(matrix.indices)
