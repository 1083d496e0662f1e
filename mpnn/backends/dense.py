"""The specialists' kernels, for regular topologies."""

from __future__ import annotations

import torch
from torch import Tensor

from mpnn.backends.record import Ran, listener
from mpnn.lowering import NoMatchError, explain, lower
from mpnn.step import Step
from mpnn.topology import Implicit


def run(step: Step) -> Tensor:
    """Compute a step by the kernel that a lowering rule knows for it.

    Raises:
        ValueError: there is none; says why.
    """
    try:
        return _lower(step)
    except NoMatchError as error:
        raise ValueError(f'backend "dense" has no kernel for this step ({error}): take "auto".') from None


def run_if_known(step: Step) -> Tensor | None:
    """The same, or None where no rule applies."""
    if not isinstance(step.fields.graph, Implicit) or not _can_trace():
        return None
    try:
        return _lower(step)
    except NoMatchError:
        return None


def _lower(step: Step) -> Tensor:
    ran = listener()
    out = lower(step)
    if ran is not None:
        ran.append(Ran(step, "dense", explain(step)))
    return out


def _can_trace() -> bool:
    # Under torch.compile and torch.func a message cannot be traced a second time.
    return not torch.compiler.is_compiling() and torch._C._functorch.maybe_current_level() is None
