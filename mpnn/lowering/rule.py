"""The types of a lowering rule."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from torch import Tensor, nn

from mpnn.graph.graph import Graph
from mpnn.step.step import Step

# A recognised step: computes, from the graph and the values of the reading, what the reading completes.
Lowered = Callable[[Graph, Sequence[Tensor]], Any]


class NoMatchError(Exception):
    """A rule does not apply; the text is a clause that says why."""


class StepReading(Protocol):
    """A step as rules read it; kept, with the rule that matched, for all steps of its kind."""

    def fits(self, step: Step) -> bool:
        """Whether a step with the same key is still of this kind."""

    def values(self, step: Step) -> list[Tensor]:
        """The tensors that a kernel computes with."""

    def complete(self, step: Step, found: Any) -> Any:
        """The result of the step, from what a kernel returned."""


@dataclass(frozen=True)
class Reader:
    """How rules read a step of their schedule.

    Each function raises `NoMatchError` or `NotFusableError`, with the reason, for a step of another kind.
    """

    name: str
    key: Callable[[Step], Hashable]  # all that a reading depends on
    read: Callable[[Step], StepReading]


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
    """(topology, schedule, message, aggregate) -> kernel.

    `match` recognises what `reader` makes of a step, on a kind of topology, once for all graphs of that kind,
    and returns what computes it. `fits` refuses single graphs. Both raise `NoMatchError`.

    Under the schedule "parallel" a kernel computes what the nodes have received; under "topological" the
    first state of every node and all states of the last nodes; under any other the new states of all nodes,
    after one sweep.
    """

    name: str
    topology: tuple[type[Graph], ...]
    message: str
    aggregate: str
    kernel: str
    match: Callable[[Any, Graph], Any]
    fits: Callable[[Graph], None]
    examples: Callable[[], list[Example]]
    reader: Reader
    schedule: str = "parallel"  # the name of a `Schedule`

    @property
    def description(self) -> str:
        """One line, for `explain`."""
        names = ", ".join(kind.__name__ for kind in self.topology)
        return f"{self.name}: {self.aggregate} of {self.message} on {names} -> {self.kernel}"
