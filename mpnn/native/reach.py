"""When PyTorch must see every operation, and which tensors may be passed to a C function."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

import torch
from torch import Tensor

from mpnn.borrowed import (
    TRACERS,
    dispatch_mode,
    dispatch_modes,
    is_batch_of_gradients,
    known_while_compiling,
    tracing_state,
    transformed,
)
from mpnn.native.gate import is_ordinary

REALS = (torch.float32, torch.float64)


@known_while_compiling
def traced() -> bool:
    """Whether operations are recorded or run on fake tensors: `torch.jit.trace`, `make_fx`, `FakeTensorMode`.

    A trace then does not contain the work of a C function, and its results must not be cached. For
    `torch.compile` and `torch.export` ask `torch.compiler.is_compiling`.

    >>> traced()
    False
    """
    if tracing_state() is not None:
        return True
    some = dispatch_modes() > 0
    return some and any(dispatch_mode(mode) is not None for mode in TRACERS)


_alone: ContextVar[bool] = ContextVar("mpnn_stands_alone", default=False)


@contextmanager
def standing_alone() -> Iterator[None]:
    """What `torch.export` traces in this block, in this thread, is made of PyTorch's own operations alone."""
    token = _alone.set(True)
    try:
        yield
    finally:
        _alone.reset(token)


@known_while_compiling
def stands_alone() -> bool:
    """Whether what is being traced will run where this package is not: then all of it is plain PyTorch.

    So it is for ONNX, for TorchScript, and for `torch.export` under `standing_alone`. By itself,
    `torch.export` keeps kernels, as `torch.compile` does: its program needs this package, and runs as fast as
    a layer.

    >>> stands_alone()
    False
    """
    if tracing_state() is not None:
        return True
    return torch.compiler.is_exporting() and (_alone.get() or torch.onnx.is_in_onnx_export())


def calls_ours() -> bool:
    """Whether PyTorch's compiler writes down calls of this package's operations, which run with it.

    >>> calls_ours()
    False
    """
    return torch.compiler.is_compiling() and not stands_alone()


@known_while_compiling
def imagines() -> bool:
    """Whether operations run under `FakeTensorMode`, unrecorded; those on real tensors may give real results.

    >>> imagines()
    False
    """
    if dispatch_modes() == 0 or tracing_state() is not None:
        return False
    fake, *others = [dispatch_mode(mode) is not None for mode in TRACERS]
    return fake and not any(others)


def only_autograd_follows(x: Tensor) -> bool:
    """Whether one autograd function may replace several operations on x: only autograd follows these."""
    if torch.compiler.is_compiling() or transformed() or traced() or x.is_meta:
        return False
    return not torch.is_autocast_enabled(x.device.type)


def is_single(gradient: Tensor | None) -> bool:
    """Whether a gradient is ordinary data, and not a batch of gradients that looks like one.

    With `torch.autograd.grad(..., is_grads_batched=True)` only PyTorch's operations can compute with it.
    """
    if gradient is None:
        return True
    if gradient.is_cpu:
        return is_ordinary(gradient)
    return not is_batch_of_gradients(gradient)


def in_reach(x: Tensor) -> bool:
    """Whether x is ordinary data and a C function may compute with it.

    Under `torch.compile`, `torch.func` and forward-mode differentiation PyTorch must see every operation.
    """
    return (
        type(x) in (Tensor, torch.nn.Parameter)
        and x.dtype in REALS
        and not torch.compiler.is_compiling()
        and is_ordinary(x)
        and dispatch_modes() == 0
        and tracing_state() is None
        and not transformed()
    )
