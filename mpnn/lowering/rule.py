"""The types of a lowering rule."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn

from mpnn.graph.graph import Graph

# A recognised message: computes the reductions from the graph and the values of the reading.
Lowered = Callable[[Graph, Sequence[Tensor]], list[Tensor]]


class NoMatchError(Exception):
    """A rule does not apply; the text is a clause that says why."""


@dataclass(frozen=True)
class Example:
    """An example to which a rule applies, for its test against `eager`.

    A message is a function; a cell is a module with the methods of a `Topological` layer.
    """

    graph: Graph
    message: Callable[..., Any] | nn.Module
    aggr: str
    fields: dict[str, Any]

    def __str__(self) -> str:
        name = getattr(self.message, "__name__", type(self.message).__name__)
        return f"{type(self.graph).__name__}-{name}"


@dataclass(frozen=True)
class Rule:
    """(topology, message, aggregate) -> kernel.

    `match` recognises the message, a `Reading`, on a kind of topology, once for all graphs of that kind, and
    returns what computes it; in topological order it recognises the message with the update, a `Cell`. `fits`
    refuses single graphs. Both raise `NoMatchError`.
    """

    name: str
    topology: tuple[type[Graph], ...]
    message: str
    aggregate: str
    kernel: str
    match: Callable[[Any, Graph], Any]
    fits: Callable[[Graph], None]
    examples: Callable[[], list[Example]]
    schedule: str = "parallel"  # or "topological"

    @property
    def description(self) -> str:
        """One line, for `explain`."""
        names = ", ".join(kind.__name__ for kind in self.topology)
        return f"{self.name}: {self.aggregate} of {self.message} on {names} -> {self.kernel}"
