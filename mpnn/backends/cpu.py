"""The CPU backend: kernels in C; without a compiler, a bounded number of edges at a time in PyTorch."""

from __future__ import annotations

from typing import Any

import torch

from mpnn.backends import eager
from mpnn.backends.c.kernel import CKernel
from mpnn.backends.run import under_compile as compiled
from mpnn.backends.run.fused import run as run_fused
from mpnn.borrowed import transformed
from mpnn.native.compiler import has_compiler
from mpnn.native.gate import NotOrdinaryError
from mpnn.native.reach import traced
from mpnn.plan.rows import NotFusableError
from mpnn.step.step import Step


def run(step: Step) -> Any:
    """Compute a step by its plan, or on all edges at once if it has none."""
    compiling = torch.compiler.is_compiling()
    if not _applies(step, compiling):
        return eager.run(step, "PyTorch itself must see every operation here (see mpnn.backends.cpu)")
    if compiling and not compiled.applies(step):
        return eager.run(step, "it is compiled")
    try:
        if compiling:
            return compiled.run(step)
        return run_fused(step, CKernel if has_compiler() else None)
    except (NotFusableError, NotOrdinaryError) as error:
        return eager.run(step, str(error))


def _applies(step: Step, compiling: bool) -> bool:
    # PyTorch must see every operation under forward-mode differentiation, torch.func and a tracer, and in its
    # compiler under autocast.
    if not step.fields.graph.is_on_cpu or transformed():
        return False
    return not torch.is_autocast_enabled("cpu") if compiling else not traced()
