"""One call of `propagate`, or one sweep of a schedule, as a backend gets it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, NamedTuple

from torch import Tensor, nn

from mpnn.step.fields import Argument, Fields
from mpnn.step.schedule import PARALLEL, Schedule

NOTHING: Mapping[str, Argument] = MappingProxyType({})


class Recurrence(NamedTuple):
    """What a sweep has that a step in parallel has not: a state, which nodes read of nodes updated before."""

    name: str  # of the layer
    state: tuple[str, ...]  # names of what `update` returns
    before: tuple[Tensor, ...] | None  # the states before the sweep, where there are any
    prepare: Callable[[Mapping[str, Any]], dict[str, Any]]  # of the fields of all nodes at once
    nothing: Callable[[int, Mapping[str, Any]], Tensor] | None  # what nodes without edges have received
    truncate: int | None = None  # after how many waves gradients are cut


class Step(NamedTuple):
    """`update(aggregate(message(**arguments), index), **others)`: what `propagate` computes from its fields.

    Node fields in `arguments` still have one row per node; the backend lifts them to the edges.
    Under another schedule than `parallel` nodes read what others have become: then a step is a whole sweep,
    `recurrence` says the rest, and `arguments` and `others` are empty.
    """

    fields: Fields
    message: Callable[..., Any]
    arguments: dict[str, Argument]
    aggregate: Callable[[Any], Tensor]
    aggregator: nn.Module | None  # what `aggregate` calls; None if the layer overrides `aggregate`
    update: Callable[..., Any] | None = None  # None where a node becomes what it received
    others: Mapping[str, Argument] = NOTHING  # what `update` gets besides
    schedule: Schedule = PARALLEL
    recurrence: Recurrence | None = None

    def updated(self, received: Tensor) -> Any:
        """What the nodes become, from what they received `[num_dst, ...]`."""
        if self.update is None:
            return received
        return self.update(received, **{name: self.fields.lift(one) for name, one in self.others.items()})
