"""Products of tall matrices with small ones on the CPU: linear maps of many rows, and their gradients.

PyTorch calls MKL, which uses its widest instructions on Intel's processors only. On others oneDNN, which is
part of PyTorch, is about twice as fast. The gradient of a weight is a sum over all rows, computed by
`gram.c`.
"""

from __future__ import annotations

import ctypes
import functools
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, cast

import torch
import torch.nn.functional as F
from torch import Tensor

from mpnn.borrowed import has_onednn_linear, onednn_is_on, onednn_linear
from mpnn.native.gate import address
from mpnn.native.library import library
from mpnn.native.pool import LARGE, empty
from mpnn.native.reach import in_reach, only_autograd_follows
from mpnn.native.threads import threads_for

SMALL = 1 << 22  # multiplications, a twentieth of a millisecond: below, the call costs more than the product
BLOCK = 1 << 21  # bytes
FEW, LEAST = 1 << 10, 1 << 6  # rows of a piece of a product
MOST_SIZES = 32  # of whole products
THIN = 8  # columns below which oneDNN is not faster
NARROW = 1 << 16  # entries of aᵀ b, summed in a cache
MOST_TASKS = 64


def linear(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """`torch.nn.functional.linear`, x W^T + b, often faster.

    Shapes: x `[*, in]`, weight `[out, in]`, bias `[out]` -> `[*, out]`.

    >>> linear(torch.ones(2, 3), torch.ones(1, 3)).T
    tensor([[3., 3.]])
    """
    if not is_large(x, weight.size(0)):
        return F.linear(x, weight, bias)
    given = (x, weight) if bias is None else (x, weight, bias)
    shapes = weight.shape == (len(weight), x.size(-1)) and (bias is None or bias.shape == weight.shape[:1])
    if not (shapes and _fit(*given)):
        return F.linear(x, weight, bias)  # raises PyTorch's errors for shapes that do not fit
    if x.dim() > 2:
        return linear(x.flatten(0, -2), weight, bias).view(*x.shape[:-1], weight.size(0))
    if torch.is_grad_enabled() and any(t.requires_grad for t in given):
        return cast(Tensor, _Linear.apply(x, weight, bias))  # type: ignore[no-untyped-call]
    return _product(x, weight, bias)


def matmul(x: Tensor, weight: Tensor) -> Tensor:
    """`x @ weight`, often faster, as `linear`.

    Shapes: x `[*, in]`, weight `[in, out]` -> `[*, out]`.
    """
    if not is_large(x, weight.size(-1)):
        return x @ weight
    # One column is a row by another view, whose gradient lies in memory as a column does.
    return linear(x, weight.reshape(1, -1) if weight.size(-1) == 1 else weight.t())


def of_few_rows(a: Tensor, b: Tensor) -> Tensor:
    """`a @ b` to the same bits on any number of threads, where a has few rows, as weights have.

    MKL's single precision shares a product of 5 to 11 rows out among the threads, each to another order of
    its sums, unless they are 8: rows of zeros make them 8 or 12.

    >>> of_few_rows(torch.ones(5, 2), torch.ones(2, 1)).T
    tensor([[2., 2., 2., 2., 2.]])
    """
    if not 4 < len(a) < 12 or len(a) == 8:
        return a @ b
    return (F.pad(a, (0, 0, 0, -len(a) % 4)) @ b)[: len(a)]


def multiply(x: Tensor, weight: Tensor, out: Tensor, plus: Tensor | None = None) -> Tensor:
    """`out = x @ weight + plus`, without derivatives; `plus` or x may be `out` itself.

    Shapes: x `[n, in]`, weight `[in, out]`, out `[n, out]`, plus `[n, out]` or `[out]`.
    """
    if not (is_large(x, weight.size(1)) and _fit(x, weight, out) and _onednn_is_faster(x, weight)):
        return _multiply_at_once(x, weight, out, plus)
    of_rows = plus is not None and plus.dim() == 2
    # A block small enough to be in the cache when it is copied to its place.
    for rows in _pieces(len(out), max(1, BLOCK // (out.size(1) * out.itemsize) // FEW) * FEW):
        more = plus[rows] if plus is not None and of_rows else plus
        count, here = rows.stop - rows.start, x[rows]
        if count < LEAST:  # MKL's bits would depend on the number of threads
            here = F.pad(here, (0, 0, 0, LEAST - count))
        if more is not None and of_rows:
            torch.add(more, _by_onednn(here, weight)[:count], out=out[rows])
        else:
            out[rows] = _by_onednn(here, weight, more)[:count]
    return out


def _multiply_at_once(x: Tensor, weight: Tensor, out: Tensor, plus: Tensor | None) -> Tensor:
    there = None if x.is_cpu and x.data_ptr() == out.data_ptr() else out
    product = torch.mm(x, weight, out=there) if plus is None else torch.addmm(plus, x, weight, out=there)
    return out if there is not None else out.copy_(product)


def added(out: Tensor, x: Tensor, weight: Tensor, *, into: bool = False) -> Tensor:
    """`out + x @ weight`, without a tensor for the product.

    Shapes: x `[n, in]`, weight `[in, out]`, out `[n, out]`; with `into` it becomes the result itself.
    """
    into = into and only_autograd_follows(x) and out.is_contiguous()
    if is_large(x, weight.size(1)) and _fit(x, weight, out) and len(weight) == x.size(1):
        return cast(Tensor, _Added.apply(out, x, weight, into))  # type: ignore[no-untyped-call]
    return out.addmm_(x, weight) if into else torch.addmm(out, x, weight)


def gram(a: Tensor, b: Tensor) -> Tensor:
    """`a.T @ b`, without derivatives.

    Shapes: a `[n, p]`, b `[n, q]` -> `[p, q]`.

    >>> gram(torch.ones(4, 1), torch.ones(4, 2))
    tensor([[4., 4.]])
    """
    (n, p), q = a.shape, b.size(1)
    if not (is_large(a, q) and _fit(a, b) and len(b) == n):
        return a.t() @ b
    compiled = _gram(a.dtype) if p * q <= NARROW else None
    if compiled is None:
        return a.t() @ b
    task_rows = max(1024, -(-n // MOST_TASKS))
    a, b, sums = a.contiguous(), b.contiguous(), a.new_empty(-(-n // task_rows), p, q)
    threads = threads_for(n * p * q, 2 * SMALL)
    places = [address(t, a.dtype, length) for t, length in ((a, n * p), (b, n * q), (sums, sums.numel()))]
    compiled(*places, n, p, q, task_rows, threads)
    return sums.sum(0)


class _Linear(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        ctx.save_for_backward(x, weight)
        return _product(x, weight, bias)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        (gradient,), (x, weight) = gradients, ctx.saved_tensors
        of_x, of_weight, of_bias = ctx.needs_input_grad
        return (
            linear(gradient, weight.t()) if of_x else None,
            _differentiable_gram(gradient, x) if of_weight else None,
            gradient.sum(0) if of_bias else None,
        )


class _Added(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, out: Tensor, x: Tensor, weight: Tensor, into: bool) -> Tensor:
        ctx.save_for_backward(x, weight)
        if into:
            ctx.mark_dirty(out)
        return multiply(x, weight, out if into else torch.empty_like(out), out)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        (gradient,), (x, weight) = gradients, ctx.saved_tensors
        _, of_x, of_weight, _ = ctx.needs_input_grad
        return (
            gradient,
            linear(gradient, weight) if of_x else None,
            _differentiable_gram(x, gradient) if of_weight else None,
            None,
        )


def _differentiable_gram(a: Tensor, b: Tensor) -> Tensor:
    """`gram` in a backward pass, or PyTorch's product if the backward pass is differentiated again."""
    return a.t() @ b if torch.is_grad_enabled() else gram(a, b)


def is_large(x: Tensor, width: int) -> bool:
    """Whether a product is large enough for these functions; False under `torch.compile`."""
    plain = type(x) is Tensor or type(x) is torch.nn.Parameter
    return plain and not torch.compiler.is_compiling() and x.dim() > 1 and x.numel() * width >= SMALL


def _fit(*tensors: Tensor) -> bool:
    """Whether the tensors are ordinary data of one dtype, and only autograd follows operations on them."""
    first = tensors[0]
    same = all(t.dtype is first.dtype and in_reach(t) for t in tensors)
    return same and not torch.is_autocast_enabled("cpu")


def _product(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    small = len(x) * len(weight) * x.itemsize < LARGE
    if small and _onednn_is_faster(x, weight) and _has_code((len(x), *weight.shape)):
        return _by_onednn(x, weight.t(), bias)
    return multiply(x, weight.t(), empty((len(x), len(weight)), x.dtype), bias)


_sizes: set[tuple[int, ...]] = set()


def _has_code(size: tuple[int, ...]) -> bool:
    """Whether oneDNN has code for a product of this size, or may generate it: it may for the first 32 sizes.

    Code takes half a millisecond to generate, and half a megabyte to keep. A graph that stays the same has
    few sizes. Each mini-batch has another size, and its products are cut into pieces, with the same bits.
    """
    if size not in _sizes and len(_sizes) < MOST_SIZES:
        _sizes.add(size)
    return size in _sizes


def _by_onednn(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    bias = None if bias is None else bias.contiguous()  # oneDNN reads it as contiguous
    weight = weight.t()
    if not (weight.is_contiguous() or weight.t().is_contiguous()):
        weight = weight.contiguous()  # the product with a slice of a matrix is a thousand times as slow
    return onednn_linear(x, weight, bias)


def _pieces(length: int, most: int) -> Iterator[slice]:
    """Slices of some thousand rows each, in few sizes.

    The sizes are multiples of `FEW`, then halves of it. The rest, fewer than `LEAST` rows, is padded with
    zeros.
    """
    begin = 0
    while begin < length:
        left = length - begin
        if left >= FEW:
            size = min(most, left - left % FEW)
        else:
            size = left if left < LEAST else 1 << left.bit_length() - 1
        yield slice(begin, begin + size)
        begin += size


def _onednn_is_faster(x: Tensor, weight: Tensor) -> bool:
    fits = x.dtype is torch.float32 and x.is_cpu and min(weight.shape) >= THIN
    return fits and onednn_is_on() and _mkl_is_slow()


@functools.cache
def _mkl_is_slow() -> bool:
    """Whether PyTorch multiplies with MKL, and has oneDNN, on a processor that is not Intel's."""
    if not (torch.backends.mkl.is_available() and has_onednn_linear()):  # type: ignore[no-untyped-call]
        return False
    try:
        makers = [s for s in Path("/proc/cpuinfo").read_text().splitlines() if s.startswith("vendor_id")]
    except OSError:
        return False
    return bool(makers) and "GenuineIntel" not in makers[0]


@functools.cache
def _gram(dtype: torch.dtype) -> Callable[..., None] | None:
    made = library("gram", real=dtype)
    if made is None:
        return None
    compiled = made.gram
    compiled.restype = None
    compiled.argtypes = [ctypes.c_void_p] * 3 + [ctypes.c_int64] * 4 + [ctypes.c_int]
    return cast(Callable[..., None], compiled)
