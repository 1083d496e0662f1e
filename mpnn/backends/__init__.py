"""How a step of message passing is computed: the same `Step` in, the same numbers out of each backend."""

from mpnn.backends.choice import backend, current, recur, wants_dense
from mpnn.backends.dense import straight
from mpnn.step.step import Step

__all__ = ["Step", "backend", "current", "recur", "straight", "wants_dense"]
