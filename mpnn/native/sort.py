"""Edges sorted by row with the compiled counting sort."""

from __future__ import annotations

import ctypes
import functools
from collections.abc import Callable
from typing import cast

import torch
from torch import Tensor

from mpnn.native.library import library

SMALL = 1 << 16  # below this many edges one thread is quicker


@functools.cache
def _sorter(index_type: torch.dtype) -> Callable[..., int] | None:
    made = library("counting_sort", index_t=index_type)
    if made is None:
        return None
    sort = made.counting_sort
    sort.restype = ctypes.c_int64
    sort.argtypes = [
        ctypes.c_void_p, ctypes.c_void_p, ctypes.c_int64, ctypes.c_int64,
        ctypes.c_void_p, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_int64,
    ]  # fmt: skip
    return cast(Callable[..., int], sort)


def sort_edges(
    rows: Tensor, columns: Tensor, num_rows: int, index_type: torch.dtype
) -> tuple[Tensor, Tensor, Tensor] | None:
    """`(indptr, indices, edge_ids)` of edges on the CPU; None where there is no compiler or no memory."""
    sort = _sorter(index_type)
    if sort is None:
        return None
    rows, columns = rows.contiguous(), columns.contiguous()
    indptr = torch.empty(num_rows + 1, dtype=index_type)
    indices, edge_ids = (torch.empty(rows.numel(), dtype=index_type) for _ in range(2))
    threads = 1 if rows.numel() < SMALL else torch.get_num_threads()
    failed = sort(
        rows.data_ptr(), columns.data_ptr(), rows.numel(), num_rows,
        indptr.data_ptr(), indices.data_ptr(), edge_ids.data_ptr(), threads,
    )  # fmt: skip
    return None if failed else (indptr, indices, edge_ids)
