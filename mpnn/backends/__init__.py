"""The backends: each computes a `Step` of message passing, and all give the same numbers."""

from mpnn.backends.choice import backend, current, sweep, wants_dense
from mpnn.backends.dense import straight
from mpnn.step.step import Step

__all__ = ["Step", "backend", "current", "straight", "sweep", "wants_dense"]
