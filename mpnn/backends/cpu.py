"""The C backend."""

from __future__ import annotations

import functools
import warnings

import torch
from torch import Tensor

from mpnn.backends import eager
from mpnn.backends.c.compiler import CompilerError, toolchain
from mpnn.backends.c.kernel import Kernel
from mpnn.backends.fused import NotFusableError
from mpnn.backends.fused import run as run_fused
from mpnn.step import Step


def run(step: Step) -> Tensor:
    """Compute a step by kernels where it can become some, else eagerly."""
    if not _applies(step):
        return eager.run(step)
    try:
        return run_fused(step, Kernel)
    except NotFusableError:
        return eager.run(step)


def _applies(step: Step) -> bool:
    # Under torch.compile, forward-mode differentiation, torch.func and autocast PyTorch itself must see every
    # operation.
    return (
        step.fields.graph.device.type == "cpu"
        and not torch.compiler.is_compiling()
        and torch._C._functorch.maybe_current_level() is None
        and torch.autograd.forward_ad._current_level < 0
        and not torch.is_autocast_enabled("cpu")
        and has_compiler()
    )


@functools.lru_cache(maxsize=1)
def has_compiler() -> bool:
    """Whether kernels can be compiled here; says once why not."""
    try:
        toolchain()
    except CompilerError as error:
        warnings.warn(f"mpnn runs without compiled kernels: {error}.", RuntimeWarning, stacklevel=2)
        return False
    return True
