"""What a lowering rule is."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from mpnn.graph import Graph
from mpnn.lowering.reading import Reading

# A recognised message: computes the reductions from the graph and the values of the reading.
Lowered = Callable[[Graph, Sequence[Tensor]], list[Tensor]]


class NoMatchError(Exception):
    """A rule does not apply; the text is a clause that says why."""


@dataclass(frozen=True)
class Example:
    """A step that a rule applies to, for its test against eager."""

    graph: Graph
    message: Callable[..., Any]
    aggr: str
    fields: dict[str, Any]


@dataclass(frozen=True)
class Rule:
    """(topology, message, aggregate) -> kernel.

    `match` reads the message on a kind of topology, once for all graphs of that kind; `fits` refuses single
    graphs. Both raise `NoMatchError`.
    """

    name: str
    topology: tuple[type[Graph], ...]
    message: str
    aggregate: str
    kernel: str
    match: Callable[[Reading, Graph], Lowered]
    fits: Callable[[Graph], None]
    examples: Callable[[], list[Example]]

    @property
    def description(self) -> str:
        """One line, for `explain`."""
        names = ", ".join(kind.__name__ for kind in self.topology)
        return f"{self.name}: {self.aggregate} of {self.message} on {names} -> {self.kernel}"
