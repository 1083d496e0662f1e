"""The GPU backend: kernels in Triton; without Triton, a bounded number of edges at a time in PyTorch."""

from __future__ import annotations

from typing import Any

import torch

from mpnn.backends import eager
from mpnn.backends.run import under_compile as compiled
from mpnn.backends.run.fused import run as run_fused
from mpnn.backends.run.plans import MakeKernel
from mpnn.borrowed import transformed
from mpnn.native.gpu import has_triton, interprets
from mpnn.plan.rows import NotFusableError
from mpnn.step.step import Step

__all__ = ["has_triton", "interprets", "make_kernel", "run", "run_if_it_can"]


def run(step: Step) -> Any:
    """Compute a step by its plan, or on all edges at once if it has none.

    Raises:
        ValueError: Triton is not installed, or does not run on the device of the tensors.
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


def run_if_it_can(step: Step) -> Any:
    """Compute any step on a GPU, with or without Triton."""
    compiling = torch.compiler.is_compiling()
    if not _applies(step, compiling):
        return eager.run(step, "PyTorch itself must see every operation here (see mpnn.backends.triton)")
    if compiling and not compiled.applies(step):
        return eager.run(step, "it is compiled")
    try:
        return compiled.run(step) if compiling else run_fused(step, make_kernel())
    except NotFusableError as error:
        return eager.run(step, str(error))


def _applies(step: Step, compiling: bool) -> bool:
    # Under forward-mode differentiation and torch.func PyTorch itself must see every operation; so must its
    # compiler under autocast.
    casting = torch.is_autocast_enabled(step.fields.graph.device.type)
    return not transformed() and not (compiling and casting)


def make_kernel() -> MakeKernel | None:
    """The function that makes a kernel of a program, or None without Triton."""
    if not has_triton():
        return None
    from mpnn.backends.triton.kernel import TritonKernel

    return TritonKernel
