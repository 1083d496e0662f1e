"""The dense backend: PyTorch's own kernels for steps on regular topologies."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import torch
from torch import Tensor

from mpnn.backends.run.net import caught
from mpnn.backends.run.record import Ran, listener
from mpnn.backends.run.work import Work
from mpnn.lowering import RULES, NoMatchError, explain, lower, lower_recurrence
from mpnn.native.reach import traced
from mpnn.step.step import Recurrence, Step
from mpnn.topology import Implicit

What = TypeVar("What", Step, Recurrence)
Result = TypeVar("Result")
Scanned = tuple[Tensor, tuple[Tensor, ...]]  # the first state of all nodes, all states of the last nodes


def run(step: Step) -> Any:
    """Compute a step by the kernel of the rule that matches it.

    Raises:
        ValueError: no rule matches; the text says why.
    """
    try:
        received = _lower(step)
    except NoMatchError as error:
        raise ValueError(f'backend "dense" has no kernel for this step ({error}): take "auto".') from None
    return step.updated(received)


def received_if_known(step: Step) -> Tensor | None:
    """What the nodes receive, by the kernel of the matching rule, or None if no rule matches."""
    if not isinstance(step.fields.graph, Implicit) or not _can_trace():
        return None
    try:
        return _lower(step)
    except NoMatchError:
        return None
    except Exception as error:
        caught(step, error, "edge by edge")
        return None


def recur(call: Recurrence) -> Scanned:
    """Compute a pass in topological order by the kernel of the rule that matches it.

    Raises:
        ValueError: no rule matches; the text says why.
    """
    try:
        return _lower_recurrence(call)
    except NoMatchError as error:
        raise ValueError(f'backend "dense" has no kernel for {call.name} ({error}): take "auto".') from None


def recur_if_known(call: Recurrence) -> Scanned | None:
    """The same, or None if no rule matches."""
    if not _can_trace():
        return None
    try:
        return _lower_recurrence(call)
    except NoMatchError:
        return None
    except Exception as error:
        caught(call, error, "level by level")
        return None


def _lower_recurrence(call: Recurrence) -> Scanned:
    return _recorded(call, lower_recurrence)


def _lower(step: Step) -> Tensor:
    return _recorded(step, lower)


def _recorded(what: What, compute: Callable[[What], Result]) -> Result:
    ran = listener()
    if ran is None:
        return compute(what)
    rule = explain(what)  # finds the rule first, so that the operations of the search are not counted
    with Work() as work:
        out = compute(what)
    ran.append(Ran(what, "dense", rule, work))
    return out


def straight(layer: object, rule: str, kernel: Callable[..., Result], *inputs: Any) -> Result:
    """Call the kernel of a rule with a layer's arguments, without a search for the rule."""
    ran = listener()
    if ran is None:
        return kernel(*inputs)
    with Work() as work:
        out = kernel(*inputs)
    ran.append(Ran(type(layer).__name__, "dense", next(r.description for r in RULES if r.name == rule), work))
    return out


def _can_trace() -> bool:
    # Under torch.compile, torch.func and a tracer a message cannot be traced a second time.
    if torch.compiler.is_compiling() or torch._C._functorch.maybe_current_level() is not None:
        return False
    return not traced()
