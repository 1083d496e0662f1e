"""The way by which a step ran, and a comparison of kernels with plain PyTorch."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from torch import Tensor

import mpnn
from mpnn import Graph
from mpnn.backends.run.record import recording
from mpnn.plan.rows import Refused
from tests.compare import assert_same

KERNEL, CHUNKS, EAGER = "kernel", "chunks", "eager"


def ways(run: Callable[[], object]) -> list[str]:
    """How each step of a call was computed: by a kernel, in chunks of edges, or on all edges at once."""
    with recording() as ran:
        run()
    found = []
    for step in ran:
        fused = step.fused
        with_kernel = fused is not None and not isinstance(fused.program, Refused) and fused.make is not None
        if with_kernel and fused is not None and True in step.wanted:
            with_kernel = not isinstance(fused.backwards[step.wanted], Refused)
        found.append(KERNEL if with_kernel else step.how if fused is None else CHUNKS)
    return found


def assert_runs(way: str, run: Callable[[], object]) -> None:
    """Raise unless a call has steps, and all of them ran by that way."""
    found = ways(run)
    if set(found) != {way}:
        raise AssertionError(f"ran as {found or 'nothing'}, not as {way}.")


def assert_like_eager(
    graph: Graph | Tensor,
    message: Callable[..., Any],
    aggr: Any,
    fields: Mapping[str, Any],
    *,
    atol: float = 1e-10,
    gradients: bool = True,
    way: str | None = KERNEL,
    backend: str = "cpu",
    **options: Any,
) -> None:
    """Raise unless a message gives the same outputs and gradients on kernels as in plain PyTorch.

    `way` is how it must have run; None allows every way.
    """

    def kernels(*values: Any) -> Tensor:
        return mpnn.propagate(graph, message, aggr, **options, **dict(zip(fields, values, strict=True)))

    def eager(*values: Any) -> Tensor:
        with mpnn.backend("eager"):
            return kernels(*values)

    with mpnn.backend(backend):
        assert_same(kernels, eager, fields, atol, gradients=gradients)
        if way is not None:
            assert_runs(way, lambda: kernels(*map(_leaf, fields.values())))


def _leaf(value: Any) -> Any:
    if isinstance(value, tuple | list):
        return type(value)(map(_leaf, value))
    if not isinstance(value, Tensor):
        return value
    return value.detach().requires_grad_(value.is_floating_point())
