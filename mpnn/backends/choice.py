"""Which backend runs: `with mpnn.backend("eager"): ...`."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar

from torch import Tensor

from mpnn.backends import cpu, eager
from mpnn.step import Step

Backend = Callable[[Step], Tensor]

BACKENDS: dict[str, Backend] = {"auto": cpu.run, "eager": eager.run, "cpu": cpu.run}

_chosen: ContextVar[str] = ContextVar("mpnn_backend", default="auto")


@contextmanager
def backend(name: str) -> Iterator[None]:
    """Run message passing on one backend inside a `with` block, in this thread.

    Raises:
        ValueError: there is no backend of that name.

    >>> with backend("eager"):
    ...     pass
    """
    if name not in BACKENDS:
        raise ValueError(f"backend is {name!r}, but must be one of {', '.join(BACKENDS)}.")
    token = _chosen.set(name)
    try:
        yield
    finally:
        _chosen.reset(token)


def current() -> Backend:
    """The backend that is in force."""
    return BACKENDS[_chosen.get()]
