"""The compiled part of an LSTM on a directed acyclic graph: everything but the matrix products."""

from __future__ import annotations

import ctypes
import functools
from typing import Any

import torch
from torch import Tensor

from mpnn.native.gate import address
from mpnn.native.library import library
from mpnn.native.threads import threads_for

SMALL = 1 << 13  # below this many numbers in a level one thread is quicker
# By name: what has a row of the tensor, and how many widths a row has; 0 for an int64 index without a width.
POINTERS = {
    "in_ptr": ("nodes and one", 0), "src": ("edges", 0), "out_ptr": ("nodes and one", 0),
    "out_edge": ("edges", 0), "dst": ("edges", 0),
    "gates": ("nodes", 3), "forget": ("edges", 1), "x_f": ("inner nodes", 1), "h": ("nodes", 1),
    "c": ("nodes", 1), "tanh_c": ("nodes", 1), "h_sum": ("nodes", 1), "h_src": ("edges", 1),
    "d_h": ("nodes", 1), "d_c": ("nodes", 1), "d_gates": ("nodes", 3), "d_forget": ("edges", 1),
    "d_x_f": ("inner nodes", 1), "d_h_sum": ("nodes", 1), "d_h_src": ("edges", 1),
}  # fmt: skip


class _Tree(ctypes.Structure):
    """The struct `Tree` of child_sum.c, which explains the fields."""

    _fields_ = [("width", ctypes.c_int64), ("first", ctypes.c_int64)] + [
        (name, ctypes.c_void_p) for name in POINTERS
    ]


@functools.cache
def functions(dtype: torch.dtype) -> Any:
    """`forward` and `backward` for a dtype, or None without a compiler."""
    made = library("child_sum", real=dtype)
    if made is None:
        return None
    count = ctypes.c_int64
    made.forward.argtypes = [ctypes.c_void_p, count, count, count, count]
    made.backward.argtypes = [ctypes.c_void_p, count, count, count]
    made.forward.restype = made.backward.restype = None
    return made


class LevelKernel:
    """The functions of `child_sum.c`; each call computes a level, in the tensors given to the constructor."""

    def __init__(self, first: int, **tensors: Tensor) -> None:
        """Args: contiguous tensors by their names in the struct; the nodes of level 0 end at `first`."""
        made, self._width = functions(tensors["c"].dtype), tensors["c"].size(1)
        self._forward, self._backward = made.forward, made.backward
        self._tensors = tensors  # which must outlive the struct
        nodes, dtype = tensors["c"].size(0), tensors["c"].dtype
        number = {"nodes": nodes, "nodes and one": nodes + 1, "inner nodes": nodes - first}
        number["edges"] = tensors["src"].numel()
        addresses = {}
        for name, tensor in tensors.items():
            rows, widths = POINTERS[name]
            kind, size = (dtype, widths * self._width) if widths else (torch.int64, 1)
            addresses[name] = address(tensor, kind, number[rows] * size)
        self._tree = _Tree(width=self._width, first=first, **addresses)
        self._at = ctypes.addressof(self._tree)

    def forward(self, begin: int, end: int, following: int) -> None:
        """The states of nodes `begin` to `end`; h_sum and h_src of nodes `end` to `following`."""
        self._forward(self._at, begin, end, following, self._threads(following - begin))

    def backward(self, begin: int, end: int) -> None:
        """The gradients of the gates of nodes `begin` to `end`."""
        self._backward(self._at, begin, end, self._threads(end - begin))

    def _threads(self, nodes: int) -> int:
        return threads_for(nodes * self._width, SMALL)
