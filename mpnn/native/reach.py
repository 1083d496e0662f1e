"""What PyTorch itself must compute, and which tensors a C function may be handed."""

from __future__ import annotations

import torch
from torch import Tensor

from mpnn.native.gate import is_ordinary

REALS = (torch.float32, torch.float64)

_MODES = torch._C._TorchDispatchModeKey  # of PyTorch's own; anybody else's look on
_TRACERS = (_MODES.FAKE, _MODES.PROXY, _MODES.FUNCTIONAL)


def transformed() -> bool:
    """Whether forward-mode differentiation or torch.func looks at every operation."""
    return (
        torch._C._functorch.maybe_current_level() is not None or torch.autograd.forward_ad._current_level >= 0
    )


transformed._dynamo_marked_constant = True  # type: ignore[attr-defined]  # known while a function is compiled


def traced() -> bool:
    """Whether operations are written down or only imagined: by `torch.jit.trace`, `make_fx`, fake tensors.

    What a function other than PyTorch's does is then not seen, and what it makes is not to be kept.
    `torch.compile` and `torch.export` are `torch.compiler.is_compiling`'s to tell.

    >>> traced()
    False
    """
    if torch._C._get_tracing_state() is not None:
        return True
    some = torch._C._len_torch_dispatch_stack() > 0
    return some and any(torch._C._get_dispatch_mode(mode) is not None for mode in _TRACERS)


traced._dynamo_marked_constant = True  # type: ignore[attr-defined]


def imagines() -> bool:
    """Whether fake tensors are made, and no more: what is computed of others than these may be real.

    >>> imagines()
    False
    """
    if torch._C._len_torch_dispatch_stack() == 0 or torch._C._get_tracing_state() is not None:
        return False
    fake, *others = [torch._C._get_dispatch_mode(mode) is not None for mode in _TRACERS]
    return fake and not any(others)


imagines._dynamo_marked_constant = True  # type: ignore[attr-defined]


def only_autograd_follows(x: Tensor) -> bool:
    """Whether operations on x may be one with a derivative of our own: nobody else looks at each of them."""
    if torch.compiler.is_compiling() or transformed() or traced() or x.is_meta:
        return False
    return not torch.is_autocast_enabled(x.device.type)


def is_single(gradient: Tensor | None) -> bool:
    """Whether a gradient is numbers in memory, and not several at once that look like one, or what else may.

    With `torch.autograd.grad(..., is_grads_batched=True)` PyTorch's own operations must compute with it.
    """
    if gradient is None:
        return True
    if gradient.is_cpu:
        return is_ordinary(gradient)
    return not torch._C._functorch.is_legacy_batchedtensor(gradient)


def in_reach(x: Tensor) -> bool:
    """Whether x is numbers in memory, and nobody else must see what is done with them.

    Under `torch.compile`, `torch.func` and forward-mode differentiation PyTorch must see every operation.
    """
    return (
        type(x) in (Tensor, torch.nn.Parameter)
        and x.dtype in REALS
        and not torch.compiler.is_compiling()
        and is_ordinary(x)
        and torch._C._len_torch_dispatch_stack() == 0
        and torch._C._get_tracing_state() is None
        and not transformed()
    )
