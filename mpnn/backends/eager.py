"""The reference in plain PyTorch: lift the fields to the edges, call `message` once on all edges, reduce."""

from __future__ import annotations

from typing import Any

from mpnn.backends.run.record import Ran, listener
from mpnn.backends.run.work import Work
from mpnn.step.step import Step


def run(step: Step, reason: str = "it was asked for") -> Any:
    """Compute a step with one tensor row per edge."""
    ran = listener()
    if ran is None:
        return compute(step)
    with Work() as work:
        out = compute(step)
    ran.append(Ran(step, "eager", reason, work))
    return out


def compute(step: Step) -> Any:
    """The same, unseen by `explain`."""
    return step.updated(step.aggregate(step.fields.call(step.message, step.arguments)))
