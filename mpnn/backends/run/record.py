"""What ran, recorded while `mpnn.explain` asks for it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, NamedTuple

import torch

from mpnn.backends.run.work import Work
from mpnn.step.step import Step


class Ran(NamedTuple):
    """Something that was computed."""

    what: Step | str  # a string names a layer that called its kernel itself
    how: str  # "plan", "eager", "dense", "in order", or "levels", whose steps follow
    reason: str = ""  # why it is not a plan, or which rule it follows
    work: Work | None = None  # counted while it ran
    fused: Any = None  # its plan and kernels
    wanted: tuple[bool, ...] = ()  # which of the plan's inputs a gradient is asked for
    source: str = ""  # of a kernel without a plan


LISTENER: ContextVar[list[Ran] | None] = ContextVar("mpnn_record", default=None)


@contextmanager
def recording() -> Iterator[list[Ran]]:
    """The list to which every step of the block, in this thread, is added."""
    ran: list[Ran] = []
    token = LISTENER.set(ran)
    try:
        yield ran
    finally:
        LISTENER.reset(token)


@contextmanager
def unseen() -> Iterator[None]:
    """What runs in the block, in this thread, is not reported."""
    token = LISTENER.set(None)
    try:
        yield
    finally:
        LISTENER.reset(token)


def listener() -> list[Ran] | None:
    """Where to report what ran, if anywhere; a compiled function does not."""
    return None if torch.compiler.is_compiling() else LISTENER.get()
