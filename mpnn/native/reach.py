"""When PyTorch must see every operation, and which tensors may be passed to a C function."""

from __future__ import annotations

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
