"""Dropout on the CPU whose mask is fast to draw and never stored; on other devices, PyTorch's dropout."""

from __future__ import annotations

import ctypes
import functools
from typing import Any, cast

import torch
import torch.nn.functional as F
from torch import Tensor

from mpnn.native.gate import CPU, address
from mpnn.native.library import library
from mpnn.native.reach import in_reach
from mpnn.native.threads import threads_for

SMALL = 1 << 16  # below this many numbers one thread is quicker


def dropout(x: Tensor, p: float, training: bool = True) -> Tensor:
    """`torch.nn.functional.dropout`: zero with probability p, else x / (1 - p); x itself when not training.

    On a CPU the mask is a function of a seed, drawn from PyTorch's generator, and of the place of each
    number; the backward pass computes it again. This takes a fiftieth of the time of PyTorch, which draws
    number by number.

    Args:
        x: a tensor of any shape.
        p: probability, from 0 to 1.
        training: whether to drop; if not, the result is x.

    Raises:
        ValueError: p is not from 0 to 1.

    >>> dropout(torch.ones(1000), 0.5).unique()
    tensor([0., 2.])
    """
    if not 0 <= p <= 1:
        raise ValueError(f"p is {p}, but must be from 0 to 1.")
    if not training or p == 0:
        return x
    if p == 1 or not in_reach(x) or _library(x.dtype) is None:
        return F.dropout(x, p)
    seed = int(torch.randint(2**32, (), device=CPU).item())
    return cast(Tensor, _Dropout.apply(x, p, seed))  # type: ignore[no-untyped-call]


def _dropped(x: Tensor, p: float, seed: int) -> Tensor:
    source = x.contiguous()
    out = torch.empty_like(source)
    threads = threads_for(x.numel(), SMALL)
    places = address(source, x.dtype, x.numel()), address(out, x.dtype, x.numel())
    _library(x.dtype)(*places, x.numel(), seed, int(p * 2**32), 1 / (1 - p), threads)
    return out


class _Dropout(torch.autograd.Function):
    """A product with a diagonal matrix: the gradient is dropout with the same mask."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, p: float, seed: int) -> Tensor:
        ctx.p, ctx.seed, ctx.kind = p, seed, (x.shape, x.dtype)
        return _dropped(x, p, seed)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None]:
        if in_reach(gradient):
            return cast(Tensor, _Dropout.apply(gradient, ctx.p, ctx.seed)), None, None  # type: ignore[no-untyped-call]
        shape, dtype = ctx.kind  # a batch of gradients
        return gradient * _dropped(torch.ones(shape, dtype=dtype, device=CPU), ctx.p, ctx.seed), None, None


@functools.cache
def _library(dtype: torch.dtype) -> Any:
    made = library("dropout", real=dtype)
    if made is None:
        return None
    function = made.dropout
    function.restype = None
    function.argtypes = [
        ctypes.c_void_p, ctypes.c_void_p, ctypes.c_int64, ctypes.c_uint32, ctypes.c_uint32, ctypes.c_double,
        ctypes.c_int64,
    ]  # fmt: skip
    return function
