"""The dense backend: PyTorch's own kernels for steps on regular topologies."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import torch

from mpnn.backends.run.net import caught, title
from mpnn.backends.run.record import Ran, listener
from mpnn.backends.run.work import Work
from mpnn.borrowed import transform_level
from mpnn.lowering import RULES, NoMatchError, explain, lower, rules_for
from mpnn.native.reach import traced
from mpnn.step.step import Step

Result = TypeVar("Result")


def run(step: Step) -> Any:
    """Compute a step by the kernel of the rule that matches it.

    Raises:
        ValueError: no rule matches; the text says why.
    """
    return step.updated(lowered(step))


def lowered(step: Step) -> Any:
    """What that kernel computes: what the nodes receive, or what `Rule` says of a whole sweep.

    Raises:
        ValueError: no rule matches; the text says why.
    """
    try:
        return _lower(step)
    except NoMatchError as error:
        what = "this step" if step.recurrence is None else title(step)
        raise ValueError(f'backend "dense" has no kernel for {what} ({error}): take "auto".') from None


def lowered_if_known(step: Step) -> Any:
    """The same, or None if no rule matches."""
    if torch.compiler.is_compiling():  # a message cannot be traced a second time, nor the rules looked up
        return None
    if not rules_for(step.fields.graph, step.schedule.name) or not _can_trace():
        return None
    try:
        return _lower(step)
    except NoMatchError:
        return None
    except Exception as error:
        caught(step, error, "edge by edge" if step.recurrence is None else "level by level")
        return None


def _lower(step: Step) -> Any:
    ran = listener()
    if ran is None:
        return lower(step)
    rule = explain(step)  # finds the rule first, so that the operations of the search are not counted
    with Work() as work:
        out = lower(step)
    ran.append(Ran(step, "dense", rule, work))
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
    # Under torch.func and a tracer a message cannot be traced a second time.
    return transform_level() is None and not traced()
