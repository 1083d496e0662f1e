"""What PyTorch itself must compute, and which tensors a C function may be handed."""

from __future__ import annotations

import torch
from torch import Tensor

REALS = (torch.float32, torch.float64)


def transformed() -> bool:
    """Whether forward-mode differentiation or torch.func looks at every operation."""
    return (
        torch._C._functorch.maybe_current_level() is not None or torch.autograd.forward_ad._current_level >= 0
    )


transformed._dynamo_marked_constant = True  # type: ignore[attr-defined]  # known while a function is compiled


def only_autograd_follows(x: Tensor) -> bool:
    """Whether operations on x may be one with a derivative of our own: nobody else looks at each of them."""
    return not (torch.compiler.is_compiling() or transformed() or torch.is_autocast_enabled(x.device.type))


def in_reach(x: Tensor) -> bool:
    """Whether x is numbers in memory, and nobody else must see what is done with them.

    Under `torch.compile`, `torch.func` and forward-mode differentiation PyTorch must see every operation.
    """
    return (
        type(x) in (Tensor, torch.nn.Parameter)
        and x.device.type == "cpu"
        and x.layout is torch.strided
        and x.dtype in REALS
        and not torch.compiler.is_compiling()
        and not transformed()
        and torch._C._len_torch_dispatch_stack() == 0
        and not torch._C._functorch.is_legacy_batchedtensor(x)
    )
