"""Compiled skip-gram with negative sampling."""

from __future__ import annotations

import ctypes
import functools
from typing import Any

import torch
from torch import Tensor

from mpnn.native.gate import CPU, address, buffer
from mpnn.native.library import library
from mpnn.native.threads import threads_for

MOST_NEGATIVES = 63
SMALL = 1 << 13  # below this many nodes in walks one thread is quicker
RANGES = 64  # the walks are divided into these; one thread makes the pairs of a range


@functools.cache
def _library(channels: int) -> ctypes.CDLL | None:
    made = library("skip_gram", CHANNELS=channels)
    if made is None:
        return None
    pointer: Any = ctypes.c_void_p
    count: Any = ctypes.c_int64
    word: Any = ctypes.c_uint64
    made.make_pairs.argtypes = [pointer, *[count] * 3, word, count, count, pointer, pointer, count]
    made.train.argtypes = [
        pointer, pointer, count, pointer, pointer, count, pointer, pointer,
        ctypes.c_float, ctypes.c_float, word, pointer, count,
    ]  # fmt: skip
    made.train.restype = ctypes.c_double
    return made


def train_skip_gram(
    nodes: Tensor,
    contexts: Tensor,
    walks: Tensor,
    part_ptr: Tensor,
    aliases: Tensor,
    window: int,
    negatives: int,
    rates: tuple[float, float],
    seed: int,
) -> float | None:
    """Train both tables on all pairs of the walks; return the mean loss.

    The tables, float32 `[num_nodes, channels]`, change in place. Without a compiler nothing changes, and the
    result is None. See `mpnn.models.embedding.skip_gram`.
    """
    library = _library(nodes.size(1))
    if library is None:
        return None
    walks, parts = walks.contiguous(), part_ptr.numel() - 1
    threads, blocks = threads_for(walks.numel(), SMALL), parts * parts
    places = torch.zeros(RANGES, blocks, dtype=torch.int64, device=CPU)
    shape = address(walks, torch.int64, walks.numel()), *walks.shape, window, seed, parts, RANGES
    library.make_pairs(*shape, address(places, torch.int64, RANGES * blocks), None, threads)
    bounds = torch.zeros(blocks + 1, dtype=torch.int64, device=CPU)
    torch.cumsum(places.sum(dim=0), 0, out=bounds[1:])
    places = bounds[:-1] + places.cumsum(dim=0) - places
    num_pairs = int(bounds[-1])
    pairs = buffer(2 * num_pairs, torch.int32)
    pairs_at = address(pairs, torch.int32, 2 * num_pairs)
    library.make_pairs(*shape, address(places, torch.int64, RANGES * blocks), pairs_at, threads)
    sampled = ctypes.c_int64()
    tables = [address(t, torch.float32, nodes.numel()) for t in (nodes, contexts)]
    loss = library.train(
        pairs_at, address(bounds, torch.int64, blocks + 1), parts,
        address(part_ptr, torch.int64, parts + 1), address(aliases, torch.int32, 3 * nodes.size(0)),
        negatives, *tables, *rates, seed, ctypes.byref(sampled), threads,
    )  # fmt: skip
    if loss < 0:
        raise MemoryError("training by skip-gram found no memory for its losses")
    return float(loss) / max(1, sampled.value)
