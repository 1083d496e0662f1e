"""The oracle: lift the fields to the edges, call `message` once on all of them, reduce. Pure PyTorch."""

from __future__ import annotations

from torch import Tensor

from mpnn.step import Step


def run(step: Step) -> Tensor:
    """Compute a step with one tensor row per edge."""
    return step.aggregate(step.fields.call(step.message, step.arguments))
