"""The GPU backend: kernels in Triton; without Triton, a bounded number of edges at a time in PyTorch."""

from __future__ import annotations

import functools
import importlib.util
import os

import torch
from torch import Tensor

from mpnn.backends import eager
from mpnn.backends.fused import MakeKernel, NotFusableError
from mpnn.backends.fused import run as run_fused
from mpnn.step import Step


def run(step: Step) -> Tensor:
    """Compute a step by its plan where it has one, else on all edges at once.

    Raises:
        ValueError: there is no Triton here, or the tensors are where it does not run.
    """
    device = step.fields.graph.device.type
    if not has_triton():
        raise ValueError('backend "triton" needs the package triton, which is not installed: take "auto".')
    if device != "cuda" and not interprets():
        raise ValueError(
            f'backend "triton" runs on CUDA tensors, but the graph is on {device}: move graph and features '
            'with .to("cuda"), or set the environment variable TRITON_INTERPRET=1 before Python starts.'
        )
    return run_if_it_can(step)


def run_if_it_can(step: Step) -> Tensor:
    """The same for any step on a GPU, with what there is."""
    if not _applies(step):
        return eager.run(step, "PyTorch itself must see every operation here (see mpnn.backends.triton)")
    try:
        return run_fused(step, _make() if has_triton() else None)
    except NotFusableError as error:
        return eager.run(step, str(error))


def _applies(step: Step) -> bool:
    # Under torch.compile, forward-mode differentiation, torch.func and autocast PyTorch itself must see every
    # operation.
    return (
        not torch.compiler.is_compiling()
        and torch._C._functorch.maybe_current_level() is None
        and torch.autograd.forward_ad._current_level < 0
        and not torch.is_autocast_enabled(step.fields.graph.device.type)
    )


def _make() -> MakeKernel:
    from mpnn.backends.triton.kernel import Kernel

    return Kernel


@functools.lru_cache(maxsize=1)
def has_triton() -> bool:
    """Whether Triton is installed; it comes with PyTorch for CUDA."""
    return importlib.util.find_spec("triton") is not None


def interprets() -> bool:
    """Whether Triton runs its kernels in Python, on any device: for tests, and very slow.

    Triton looks at `TRITON_INTERPRET` when it is imported, and never again.
    """
    if os.environ.get("TRITON_INTERPRET") != "1" or not has_triton():
        return False
    import triton
    import triton.language

    return not isinstance(triton.language.sum, triton.JITFunction)
