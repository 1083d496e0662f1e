"""The CPU backend: kernels in C; without a compiler, a bounded number of edges at a time in PyTorch."""

from __future__ import annotations

import functools
import warnings

import torch
from torch import Tensor

from mpnn.backends import eager
from mpnn.backends.c.kernel import Kernel
from mpnn.backends.fused import NotFusableError
from mpnn.backends.fused import run as run_fused
from mpnn.native.compiler import CompilerError, toolchain
from mpnn.step import Step


def run(step: Step) -> Tensor:
    """Compute a step by its plan where it has one, else on all edges at once."""
    if not _applies(step):
        return eager.run(step, "PyTorch itself must see every operation here (see mpnn.backends.cpu)")
    try:
        return run_fused(step, Kernel if has_compiler() else None)
    except NotFusableError as error:
        return eager.run(step, str(error))


def _applies(step: Step) -> bool:
    # Under torch.compile, forward-mode differentiation, torch.func and autocast PyTorch itself must see every
    # operation.
    return (
        step.fields.graph.device.type == "cpu"
        and not torch.compiler.is_compiling()
        and torch._C._functorch.maybe_current_level() is None
        and torch.autograd.forward_ad._current_level < 0
        and not torch.is_autocast_enabled("cpu")
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
