"""Edges sorted by row with the compiled counting sort."""

from __future__ import annotations

import ctypes
import functools
from collections.abc import Callable
from typing import cast

import torch
from torch import Tensor

from mpnn.native.gate import address, buffer, is_ordinary
from mpnn.native.library import library
from mpnn.native.reach import traced
from mpnn.native.threads import threads_for

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
    """`(indptr, indices, edge_ids)` of edges; None where there is no compiler, no memory, or no data."""
    sort = _sorter(index_type) if is_ordinary(rows) and is_ordinary(columns) and not traced() else None
    if sort is None:
        return None
    rows, columns = rows.contiguous(), columns.contiguous()
    number, threads = rows.numel(), threads_for(rows.numel(), SMALL)
    given = [address(ends, torch.int64, number) for ends in (rows, columns)]
    lengths = num_rows + 1, number, number
    indptr, indices, edge_ids = made = [buffer(length, index_type) for length in lengths]
    places = [address(t, index_type, length) for t, length in zip(made, lengths, strict=True)]
    failed = sort(*given, number, num_rows, *places, threads)
    return None if failed else (indptr, indices, edge_ids)
