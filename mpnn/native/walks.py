"""Compiled random walks and alias tables."""

from __future__ import annotations

import ctypes
import functools
from typing import Any, NamedTuple

import torch
from torch import Tensor

from mpnn.native.library import library

SMALL = 1 << 12  # below this many steps one thread is quicker


@functools.cache
def _library(index_type: torch.dtype) -> ctypes.CDLL | None:
    made = library("walks", index_t=index_type, exact=True)  # tables are made in Python too, to the same bits
    if made is None:
        return None
    pointer: Any = ctypes.c_void_p
    count: Any = ctypes.c_int64
    rows_and_walks = [pointer, pointer, pointer, pointer, count, count, ctypes.c_uint64]
    made.walk_first_order.argtypes = [*rows_and_walks, pointer, count]
    chances = [pointer, *[ctypes.c_uint64] * 3, ctypes.c_double]
    made.walk_second_order.argtypes = [*rows_and_walks, *chances, pointer, count]
    made.make_links.argtypes = [pointer, pointer, count, pointer, count]
    made.make_aliases.argtypes = [pointer, pointer, pointer, count, pointer]
    made.make_aliases.restype = ctypes.c_int64
    return made


class Bias(NamedTuple):
    """How likely a step that was drawn is kept, of 2³², and how many edges the way back is worth besides."""

    back: int
    near: int
    far: int
    extra: float


def walk(
    indptr: Tensor,
    indices: Tensor,
    aliases: Tensor | None,
    start: Tensor,
    length: int,
    key: int,
    bias: Bias | None,
    links: Tensor | None,
) -> Tensor | None:
    """Walks `[num_walks, length + 1]` on the CPU; None where there is no compiler. See `mpnn.walks`."""
    library = _library(indptr.dtype)
    if library is None or (bias is not None and links is None):
        return None
    start = start.contiguous()
    walks = torch.empty(start.numel(), length + 1, dtype=torch.int64)
    threads = 1 if walks.numel() < SMALL else torch.get_num_threads()
    table = None if aliases is None else aliases.data_ptr()
    common = indptr.data_ptr(), indices.data_ptr(), table, start.data_ptr(), start.numel(), length, key
    if bias is None or links is None:
        library.walk_first_order(*common, walks.data_ptr(), threads)
    else:
        library.walk_second_order(*common, links.data_ptr(), *bias, walks.data_ptr(), threads)
    return walks


def make_links(indptr: Tensor, indices: Tensor) -> Tensor | None:
    """The neighbours of every node by their hashes, `[2 * num_slots]`; None as above."""
    library = _library(indptr.dtype)
    if library is None:
        return None
    links = torch.empty(2 * indices.numel(), dtype=indptr.dtype)
    rows = indptr.numel() - 1
    library.make_links(indptr.data_ptr(), indices.data_ptr(), rows, links.data_ptr(), torch.get_num_threads())
    return links


def make_aliases(indptr: Tensor, indices: Tensor, weights: Tensor) -> Tensor | None:
    """The alias table `[num_slots, 3]` of float64 weights on the CPU, one for each slot; None as above."""
    library = _library(indptr.dtype)
    if library is None:
        return None
    aliases = torch.empty(weights.numel(), 3, dtype=indptr.dtype)
    failed = library.make_aliases(
        indptr.data_ptr(), indices.data_ptr(), weights.data_ptr(), indptr.numel() - 1, aliases.data_ptr()
    )
    return None if failed else aliases
