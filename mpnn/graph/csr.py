"""Compressed sparse rows: the edges of a graph, sorted by one of their two ends."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from mpnn.native.sort import sort_edges

INT32_MAX = 2**31 - 1
BEYOND = 1 << 12  # so far behind a row's end a kernel counts on, at most, before it looks


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


def smallest_type(*numbers: int) -> torch.dtype:
    """What holds these, and what a kernel that looks a tile ahead makes of them."""
    return torch.int32 if max(numbers) + BEYOND <= INT32_MAX else torch.int64


def compress(rows: Tensor, columns: Tensor, num_rows: int, num_columns: int) -> CSR:
    """Sort edges by `rows` with one stable counting sort: O(num_rows + num_edges).

    Without a C compiler, and on a GPU, PyTorch's stable sort does it.
    """
    num_edges = rows.numel()
    index_type = smallest_type(num_edges, num_rows, num_columns)
    made = sort_edges(rows, columns, num_rows, index_type) if rows.device.type == "cpu" else None
    if made is not None:
        return CSR(*made)
    in_order, edge_ids = torch.sort(rows, stable=True)
    # Counting the edges of each row would have the host wait for a GPU; looking up where each begins has not.
    indptr = torch.searchsorted(in_order, torch.arange(num_rows + 1, device=rows.device))
    indices = columns.index_select(0, edge_ids)
    return CSR(indptr.to(index_type), indices.to(index_type), edge_ids.to(index_type))
