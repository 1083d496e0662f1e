"""Compiled random walks and alias tables."""

from __future__ import annotations

import ctypes
import functools
from typing import Any, NamedTuple

import torch
from torch import Tensor

from mpnn.native.gate import address, buffer, is_ordinary
from mpnn.native.library import library
from mpnn.native.threads import threads_for

SMALL = 1 << 12  # below this many steps one thread is quicker


@functools.cache
def _library(index_type: torch.dtype) -> ctypes.CDLL | None:
    made = library("walks", index_t=index_type, exact=True)  # Python makes tables with the same bits
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
    """The chances, times 2³², that a drawn step is kept, and the excess of the step back: see walks.c."""

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
    """Walks `[num_walks, length + 1]` on the CPU, or None without a compiler; see `mpnn.random_walks`."""
    library = _library(indptr.dtype)
    if library is None or (bias is not None and links is None) or not is_ordinary(start):
        return None
    start = start.contiguous()
    number, kind, slots = start.numel(), indptr.dtype, indices.numel()
    walks = buffer(number * (length + 1), torch.int64)
    threads = threads_for(walks.numel(), SMALL)
    rows = address(indptr, kind, indptr.numel()), address(indices, kind, slots)
    table = None if aliases is None else address(aliases, kind, 3 * slots)
    common = *rows, table, address(start, torch.int64, number), number, length, key
    out = address(walks, torch.int64, number * (length + 1))
    if bias is None or links is None:
        library.walk_first_order(*common, out, threads)
    else:
        library.walk_second_order(*common, address(links, kind, 2 * slots), *bias, out, threads)
    return walks.view(number, length + 1)


def make_links(indptr: Tensor, indices: Tensor) -> Tensor | None:
    """Hash tables of the neighbours of every node, `[2 * num_slots]`, or None without a compiler."""
    library = _library(indptr.dtype)
    if library is None:
        return None
    kind, slots, rows = indptr.dtype, indices.numel(), indptr.numel() - 1
    links = buffer(2 * slots, kind)
    given = address(indptr, kind, rows + 1), address(indices, kind, slots)
    library.make_links(*given, rows, address(links, kind, 2 * slots), threads_for(slots, SMALL))
    return links


def make_aliases(indptr: Tensor, indices: Tensor, weights: Tensor) -> Tensor | None:
    """The alias table `[num_slots, 3]` of float64 CPU weights `[num_slots]`, or None without a compiler."""
    library = _library(indptr.dtype)
    if library is None:
        return None
    kind, slots, rows = indptr.dtype, indices.numel(), indptr.numel() - 1
    aliases = buffer(3 * slots, kind)
    given = address(indptr, kind, rows + 1), address(indices, kind, slots)
    weights_at, out = address(weights, torch.float64, slots), address(aliases, kind, 3 * slots)
    failed = library.make_aliases(*given, weights_at, rows, out)
    return None if failed else aliases.view(slots, 3)
