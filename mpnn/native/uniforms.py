"""Random numbers by counter in C, where a tensor is ordinary memory."""

from __future__ import annotations

import ctypes
import functools
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from mpnn.native.gate import address, buffer
from mpnn.native.library import library
from mpnn.native.pool import empty
from mpnn.native.reach import in_reach
from mpnn.native.threads import threads_for

SMALL = 1 << 16  # below this many numbers one thread is quicker


def drawn(
    key: int, size: Sequence[int], dtype: torch.dtype, device: torch.device | str | None
) -> Tensor | None:
    """The numbers `[num_nodes, ...]` of a key; None where only PyTorch's operations can make them."""
    probe = torch.empty(0, dtype=dtype, device=device)
    if not probe.is_cpu or not in_reach(probe) or _library(dtype) is None:
        return None
    out = empty(size, dtype)
    if out.numel():
        nodes, lanes = out.size(0), out.numel() // out.size(0)
        hashes = buffer(lanes, torch.int32)
        places = address(out, dtype, out.numel()), address(hashes, torch.int32, lanes)
        _library(dtype)(*places, nodes, lanes, key, threads_for(out.numel(), SMALL))
    return out


@functools.cache
def _library(dtype: torch.dtype) -> Any:
    made = library("uniforms", real=dtype)
    if made is None:
        return None
    function = made.uniforms
    function.restype = None
    function.argtypes = [
        ctypes.c_void_p, ctypes.c_void_p, ctypes.c_int64, ctypes.c_int64, ctypes.c_uint32, ctypes.c_int64,
    ]  # fmt: skip
    return function
