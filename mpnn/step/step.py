"""One call of `propagate`, as a backend gets it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, NamedTuple

from torch import Tensor, nn

from mpnn.graph.graph import Graph
from mpnn.step.fields import Argument, Fields

NOTHING: Mapping[str, Argument] = MappingProxyType({})


class Step(NamedTuple):
    """`update(aggregate(message(**arguments), index), **others)`: what `propagate` computes from its fields.

    Node fields in `arguments` still have one row per node; lifting them to the edges is the backend's matter.
    """

    fields: Fields
    message: Callable[..., Any]
    arguments: dict[str, Argument]
    aggregate: Callable[[Any], Tensor]
    aggregator: nn.Module | None  # what `aggregate` calls; None when the layer has an `aggregate` of its own
    update: Callable[..., Any] | None = None  # None where a node becomes what it received
    others: Mapping[str, Argument] = NOTHING  # what `update` gets besides

    def updated(self, received: Tensor) -> Any:
        """What the nodes become, from what they received `[num_dst, ...]`."""
        if self.update is None:
            return received
        return self.update(received, **{name: self.fields.lift(one) for name, one in self.others.items()})


@dataclass(frozen=True, slots=True)
class Recurrence:
    """A pass in topological order: every node updated once, after those that it hears.

    `prepare` is applied to the fields of all nodes at once, `message`, `aggregator` and `update` to each node
    that hears somebody, `update` to what `nothing` gives at the others.
    """

    name: str
    graph: Graph
    fields: dict[str, Any]
    state: tuple[str, ...]  # names of what `update` returns
    prepare: Callable[[Mapping[str, Any]], dict[str, Any]]
    message: Callable[..., Any]
    update: Callable[..., Any]
    nothing: Callable[[int, Mapping[str, Any]], Tensor]
    aggregator: nn.Module | None
    truncate: int | None = None  # after how many levels gradients are cut
