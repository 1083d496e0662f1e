"""The law of a reduction as values, of which the printers of kernels make C and Triton."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache

import torch
from torch import Tensor

from mpnn.aggregate.reduction import Reduction, State
from mpnn.plan.front import outputs_of, placeholders_of
from mpnn.plan.homes import Home
from mpnn.plan.ir import Value
from mpnn.plan.lower import Lowering, number
from mpnn.plan.nests import base_of
from mpnn.plan.residency import find_places
from mpnn.plan.rows import ROWS, NotFusableError, RowsMode
from mpnn.plan.trace import trace


@dataclass(frozen=True)
class Law:
    """What a reduction does, number by number. Each function loads its arguments by their places."""

    lift: tuple[Value, ...]  # of a message
    merge: tuple[Value, ...]  # of one state, then another
    finish: tuple[Value, ...]  # of a state, then a count


@lru_cache(maxsize=256)
def law_of(reduction: Reduction, real: torch.dtype) -> Law:
    """The law of a reduction of one tensor, in kernels that compute in `real`.

    Raises:
        NotFusableError: it cannot be a part of a kernel; says why.
    """
    size = len(reduction.identity)
    if reduction.arity != 1:
        raise NotFusableError(f"the reduction {reduction.name!r} takes {reduction.arity} tensors")

    def lift(*given: Tensor) -> State:
        return reduction.lift(*given)

    def merge(*given: Tensor) -> State:
        return reduction.merge(given[:size], given[size:])

    def finish(*given: Tensor) -> State:
        return reduction.finish(given[:size], given[size])

    return Law(
        _values(reduction, lift, 1, size, real),
        _values(reduction, merge, 2 * size, size, real),
        _values(reduction, finish, size + 1, 1 + reduction.saves, real),
    )


def _values(
    reduction: Reduction, function: Callable[..., State], takes: int, gives: int, real: torch.dtype
) -> tuple[Value, ...]:
    mode = RowsMode()
    fakes = [mode.empty((ROWS,), real, torch.device("cpu")) for _ in range(takes)]
    graph = trace(lambda *given: list(function(*given)), fakes, mode, message=False).graph
    inputs, outputs = placeholders_of(graph), outputs_of(graph)
    what = f"{function.__name__}() of the reduction {reduction.name!r}"
    if len(outputs) != gives:
        raise NotFusableError(f"{what} gives {len(outputs)} tensors, not {gives}")
    find_places(graph, {node.name: Home.EDGE for node in inputs})
    lowering = Lowering(inputs)
    values = tuple(number(lowering(node)) for node in outputs)
    for value in in_order(values):
        if value.op != "point" or value.name == "kept":
            raise NotFusableError(f"{what} is more than arithmetic, number by number")
    return values


def in_order(values: Sequence[Value]) -> Iterator[Value]:
    """The operations that some values are made of, each after its operands; looks at one number are none."""
    seen: set[Value] = set()
    stack = [(value, False) for value in reversed(values)]
    while stack:
        value, ready = stack.pop()
        value = base_of(value)
        if ready:
            yield value
        elif value not in seen and value.op not in ("load", "const"):
            seen.add(value)
            stack.append((value, True))
            stack += [(arg, False) for arg in reversed(value.args)]
