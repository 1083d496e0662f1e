"""Compiled matching of neighbours."""

from __future__ import annotations

import ctypes
import functools
from typing import Any

import torch
from torch import Tensor

from mpnn.native.gate import address, buffer
from mpnn.native.library import library


@functools.cache
def _library(index_type: torch.dtype) -> ctypes.CDLL | None:
    made = library("matching", index_t=index_type)
    if made is not None:
        at: Any = ctypes.c_void_p
        made.match.argtypes = [at, at, at, at, ctypes.c_int64, at]
        made.match.restype = None
    return made


def match(indptr: Tensor, indices: Tensor, weights: Tensor | None, order: Tensor) -> Tensor | None:
    """The cluster of each node, int64 `[num_nodes]`, or None without a compiler; the indices must be rows."""
    library = _library(indptr.dtype)
    if library is None:
        return None
    number, entries = order.numel(), indices.numel()
    cluster = buffer(number, torch.int64)
    library.match(
        address(indptr, indptr.dtype, number + 1), address(indices, indptr.dtype, entries),
        None if weights is None else address(weights, torch.float64, entries),
        address(order, torch.int64, number), number, address(cluster, torch.int64, number),
    )  # fmt: skip
    return cluster
