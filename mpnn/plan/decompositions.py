"""What a message may be written with, in terms of the few operations that every kernel printer knows.

Such terms are for kernels, not for derivatives: the derivative of `where(x > 0, x, expm1(x))` at x = 100 is
0 times infinity, that of `elu` is 1. So a function stays one operation in the trace of a message if PyTorch
has a formula of its derivative (`COMPOSITES`). Both are decomposed when a kernel is made.
"""

from __future__ import annotations

import functools
import operator
import sys
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from mpnn.borrowed import core_aten_decompositions, get_decompositions

aten = torch.ops.aten
MOST_PARTS = 64  # a longer product over features is not worth as many lines of a kernel

_PYTORCHS = [
    aten.leaky_relu, aten.leaky_relu_backward, aten.elu, aten.elu_backward, aten.silu, aten.silu_backward,
    aten.gelu, aten.gelu_backward, aten.softplus, aten.softplus_backward, aten.hardtanh,
    aten.hardtanh_backward,
    aten.threshold_backward, aten.sigmoid_backward, aten.tanh_backward, aten.mish, aten.mish_backward,
    aten.log_sigmoid_forward, aten.log_sigmoid_backward, aten.hardswish, aten.hardswish_backward,
    aten.hardsigmoid, aten.hardsigmoid_backward, aten.native_layer_norm, aten.native_layer_norm_backward,
    aten.native_group_norm, aten.native_group_norm_backward,
    aten._softmax, aten._softmax_backward_data, aten._log_softmax, aten._log_softmax_backward_data,
    aten.logsumexp, aten.norm, aten.addcmul, aten.addcdiv,
    aten.new_zeros, aten.new_ones, aten.new_full, aten.square, aten.stack, aten.narrow,
    aten.unbind, aten.softplus, aten.xlogy, aten.lerp, aten.fill, aten.masked_fill, aten.dot, aten.mv,
]  # fmt: skip


# Element by element; and along dimensions, which are the second argument.
ELEMENTWISE = frozenset([
    "elu", "celu", "selu", "silu", "gelu", "mish", "softplus", "leaky_relu", "_prelu_kernel", "relu6",
    "hardtanh", "hardsigmoid", "hardswish", "hardshrink", "softshrink", "threshold", "log_sigmoid_forward",
    "xlogy", "special_xlog1py", "special_entr", "special_log_ndtr", "sinc", "logit", "lerp", "logaddexp",
    "logaddexp2", "nan_to_num", "huber_loss", "smooth_l1_loss", "soft_margin_loss", "binary_cross_entropy",
    "binary_cross_entropy_with_logits",
])  # fmt: skip
ALONG_DIMENSIONS = frozenset(["_softmax", "_log_softmax", "logsumexp", "var", "std", "var_mean", "std_mean"])
COMPOSITES = ELEMENTWISE | ALONG_DIMENSIONS


@functools.cache
def but_for_composites() -> dict[Any, Callable[..., Any]]:
    """`decompositions()` of all that is not in `COMPOSITES`."""
    return {op: made for op, made in decompositions().items() if _packet(op) not in COMPOSITES}


def _packet(operation: Any) -> str:
    packet = getattr(operation, "overloadpacket", operation)
    return getattr(packet, "__name__", "")


@functools.cache
def decompositions() -> dict[Any, Callable[..., Any]]:
    """For each operation of ATen that is made of others, the function that makes it of them."""
    table: dict[Any, Callable[..., Any]] = dict(core_aten_decompositions())
    table.update(get_decompositions(_PYTORCHS))
    # These stay: the gradient of a part of a tensor would become writes into zeros; that of a norm at 0 is 0,
    # but that of the root of a sum is NaN; `detach` would become an alias, which lets the gradient pass.
    for kept in (aten.slice_backward, aten.select_backward, aten.linalg_vector_norm, aten.detach):
        table.pop(kept.default, None)
    return table | _OURS


# Ours ---------------------------------------------------------------------------------------------------

Dims = int | Sequence[int] | None


def _moments(
    x: Tensor, dim: Dims = None, *, correction: float | None = None, keepdim: bool = False
) -> tuple[Tensor, Tensor]:
    dims = list(range(x.dim())) if dim is None or dim == [] else [dim] if isinstance(dim, int) else list(dim)
    count = functools.reduce(operator.mul, [x.size(d) for d in dims], 1)
    mean = x.mean(dims, keepdim=True)
    rest = x - mean
    taken = 1 if correction is None else correction
    free = torch.sym_max(count - taken, 0)  # type: ignore[no-untyped-call]
    variance = (rest * rest).sum(dims, keepdim=keepdim) / free
    return variance, mean if keepdim else x.mean(dims)


def _var(x: Tensor, dim: Dims = None, *, correction: float | None = None, keepdim: bool = False) -> Tensor:
    return _moments(x, dim, correction=correction, keepdim=keepdim)[0]


def _std(x: Tensor, dim: Dims = None, *, correction: float | None = None, keepdim: bool = False) -> Tensor:
    return _var(x, dim, correction=correction, keepdim=keepdim).sqrt()


def _prod(x: Tensor, dim: int, keepdim: bool = False, *, dtype: torch.dtype | None = None) -> Any:
    length = x.size(dim)
    if dtype not in (None, x.dtype) or _is_rows(length) or not 0 < length <= MOST_PARTS:
        return NotImplemented
    out = functools.reduce(operator.mul, [x.narrow(dim, k, 1) for k in range(x.size(dim))])
    return out if keepdim else out.squeeze(dim)


def _is_rows(size: Any) -> bool:
    """Whether a size is the number of rows, which a trace does not know."""
    return isinstance(size, torch.SymInt)


def _repeat(x: Tensor, repeats: Sequence[int]) -> Any:
    """Copies along features; a copy along rows would mix them."""
    x = x.reshape((1,) * (len(repeats) - x.dim()) + tuple(x.shape))
    for dim, times in enumerate(repeats):
        length = x.size(dim)
        if not _is_rows(length) and length == 1:
            x = x.expand([times if d == dim else n for d, n in enumerate(x.shape)])
        elif _is_rows(times):
            return NotImplemented
        elif times != 1:
            x = torch.cat([x] * times, dim) if times else x.narrow(dim, 0, 0)
    return x.clone()


def _roll(x: Tensor, shifts: Dims, dims: Dims = ()) -> Any:
    shifts, dims = ([d] if isinstance(d, int) else list(d or ()) for d in (shifts, dims))
    if len(shifts) != len(dims):
        return NotImplemented
    for shift, dim in zip(shifts, dims, strict=True):
        length = x.size(dim)
        if _is_rows(length):
            return NotImplemented
        shift = shift % length if length else 0
        x = torch.cat([x.narrow(dim, length - shift, shift), x.narrow(dim, 0, length - shift)], dim)
    return x


def _cross(a: Tensor, b: Tensor, *, dim: int = -1) -> Tensor:
    shape = (a + b).shape
    a, b = a.expand(shape), b.expand(shape)
    (a0, a1, a2), (b0, b1, b2) = ([t.narrow(dim, k, 1) for k in range(3)] for t in (a, b))
    return torch.cat([a1 * b2 - a2 * b1, a2 * b0 - a0 * b2, a0 * b1 - a1 * b0], dim)


def _pad(x: Tensor, pad: Sequence[int], value: float = 0) -> Tensor:
    for k, (before, after) in enumerate(zip(pad[::2], pad[1::2], strict=True)):
        dim = x.dim() - 1 - k
        start, length = max(-before, 0), x.size(dim) - max(-before, 0) - max(-after, 0)
        x = x.narrow(dim, start, length)
        sides = [
            x.new_full([n if d == dim else s for d, s in enumerate(x.shape)], value)
            for n in (max(before, 0), max(after, 0))
        ]
        x = torch.cat([sides[0], x, sides[1]], dim) if before > 0 or after > 0 else x
    return x


def _trilinear(
    a: Tensor,
    b: Tensor,
    c: Tensor,
    expand1: Sequence[int],
    expand2: Sequence[int],
    expand3: Sequence[int],
    sumdim: Sequence[int],
    unroll_dim: int = 1,
) -> Tensor:
    for dims, place in ((expand1, 0), (expand2, 1), (expand3, 2)):
        factor = (a, b, c)[place]
        for dim in dims:
            factor = factor.unsqueeze(dim)
        a, b, c = ((factor if k == place else t) for k, t in enumerate((a, b, c)))
    total: Tensor = (a * b * c).sum(list(sumdim))
    return total


def _copy(into: Tensor, source: Tensor, non_blocking: bool = False) -> Tensor:
    return source.to(into.dtype).expand(into.shape)


def _select_scatter(x: Tensor, source: Tensor, dim: int, index: int) -> Any:
    if _is_rows(x.size(dim)):
        return NotImplemented
    start = index % x.size(dim)
    return _slice_scatter(x, source.unsqueeze(dim), dim, start, start + 1)


def _slice_scatter(
    x: Tensor, source: Tensor, dim: int = 0, start: int | None = None, end: int | None = None, step: int = 1
) -> Any:
    if start in (None, 0) and end in (None, sys.maxsize) and step == 1:
        return source.expand(x.shape)  # as in x[:, k] = y, for any number of rows
    length = x.size(dim)
    if any(map(_is_rows, (length, start, end))):
        return NotImplemented
    places = range(*slice(start, end, step).indices(length))
    if step != 1:
        if length > MOST_PARTS:
            return NotImplemented
        parts = [
            source.narrow(dim, places.index(k), 1) if k in places else x.narrow(dim, k, 1)
            for k in range(length)
        ]
        return torch.cat(parts, dim)
    first, last = places.start, max(places.start, places.stop)
    if last - first >= length:
        return source.expand(x.shape)
    before, behind = x.narrow(dim, 0, first), x.narrow(dim, last, length - last)
    return torch.cat([part for part in (before, source, behind) if part.size(dim) > 0], dim)


def _index_put(x: Tensor, indices: Sequence[Tensor | None], values: Tensor, accumulate: bool = False) -> Any:
    """`x[mask] = number`; no other assignment by index has a decomposition here."""
    mask = indices[0]
    if accumulate or len(indices) != 1 or mask is None or values.numel() != 1:
        return NotImplemented
    return torch.where(mask, values.reshape(()), x) if mask.shape == x.shape else NotImplemented


def _shrink_backward(gradient: Tensor, x: Tensor, threshold: float) -> Tensor:
    return torch.where((x >= -threshold) & (x <= threshold), 0.0, gradient)


def _smooth_l1_backward(gradient: Tensor, x: Tensor, y: Tensor, reduction: int, beta: float) -> Any:
    """Without a reduction of the losses; where the difference is NaN, so is the gradient."""
    if reduction != 0:
        return NotImplemented
    difference = x - y
    steep = torch.where(difference >= beta, gradient, gradient * difference / beta)
    return torch.where(difference <= -beta, -gradient, steep)


def _soft_margin_backward(gradient: Tensor, x: Tensor, y: Tensor, reduction: int) -> Any:
    if reduction != 0:
        return NotImplemented
    return -(gradient * y) * torch.sigmoid(-y * x)


def _logit_backward(gradient: Tensor, x: Tensor, eps: float | None = None) -> Tensor:
    """As PyTorch's, infinite at -0 too."""
    low, beyond = (0.0, torch.nan) if eps is None else (eps, 0.0)
    return torch.where((x < low) | (x > 1 - low), beyond, gradient / (x * (1 - x)).abs())


# Operations that PyTorch traces for a known number of rows only. None returns a view of an argument.
FRESH: dict[Any, Callable[..., Any]] = {
    aten.softshrink_backward.default: _shrink_backward,
    aten.hardshrink_backward.default: _shrink_backward,
    aten.smooth_l1_loss_backward.default: _smooth_l1_backward,
    aten.soft_margin_loss_backward.default: _soft_margin_backward,
    aten.logit_backward.default: _logit_backward,
}
_OURS: dict[Any, Callable[..., Any]] = {
    **FRESH,
    aten.var_mean.correction: _moments,
    aten.var.correction: _var,
    aten.std.correction: _std,
    aten.prod.dim_int: _prod,
    aten.repeat.default: _repeat,
    aten.roll.default: _roll,
    aten.linalg_cross.default: _cross,
    aten.constant_pad_nd.default: _pad,
    aten._trilinear.default: _trilinear,
    aten.copy.default: _copy,
    aten.select_scatter.default: _select_scatter,
    aten.slice_scatter.default: _slice_scatter,
    aten.index_put.default: _index_put,
}
