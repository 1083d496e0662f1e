"""Which backend runs: `with mpnn.backend("eager"): ...`."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

from mpnn.backends import cpu, dense, eager, triton
from mpnn.backends.run import in_order
from mpnn.backends.run.record import Ran, listener
from mpnn.borrowed import begins_no_graph, known_while_compiling
from mpnn.lowering import explain, rules_for
from mpnn.plan.rows import NotFusableError
from mpnn.step.step import Step

Backend = Callable[[Step], Any]


def _auto(step: Step) -> Any:
    received = dense.lowered_if_known(step)
    if received is not None:
        return step.updated(received)
    graph = step.fields.graph
    on_gpu = not graph.is_on_cpu and graph.device.type == "cuda"
    return triton.run_if_it_can(step) if on_gpu else cpu.run(step)


BACKENDS: dict[str, Backend] = {
    "auto": _auto,
    "dense": dense.run,
    "eager": eager.run,
    "cpu": cpu.run,
    "triton": triton.run,
}

for _backend in BACKENDS.values():
    begins_no_graph(_backend)

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
    """The backend that this thread uses now."""
    return BACKENDS[_name()]


@begins_no_graph
def sweep(step: Step, whole: Callable[[], Step] | None = None) -> Any:
    """Compute a sweep of a schedule by one kernel; None if it must go wave by wave.

    Args:
        step: the sweep as rules for dense kernels read it.
        whole: makes the same with the arguments of its functions on the whole graph, for a kernel that goes
            from node to node.
    """
    chosen = _name()
    if chosen == "dense" and rules_for(step.fields.graph, step.schedule.name):
        return dense.lowered(step)
    found = dense.lowered_if_known(step) if chosen == "auto" else None
    if found is not None:
        return found
    ran = listener()
    reason = "it was asked for" if ran is None or chosen not in ("auto", "dense") else explain(step)
    if whole is not None and chosen in ("auto", "cpu"):
        try:
            return in_order.run(whole())
        except NotFusableError as error:
            reason = f"{reason}; no kernel from node to node: {error}"
    if ran is not None:
        ran.append(Ran(step, "levels", reason))
    return None


def wants_dense() -> bool:
    """Whether the current backend lets a layer run on a dense kernel."""
    return _name() in ("auto", "dense")


# PyTorch's compiler cannot look into a context variable: a compiled function keeps the backend that it was
# compiled under.
@known_while_compiling
def _name() -> str:
    return _chosen.get()
