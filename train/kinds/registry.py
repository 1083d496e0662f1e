"""Every kind of task by name. To add one: a record in a file of its own, and its line here."""

from __future__ import annotations

from mpnn.datasets import Dataset
from mpnn.train.errors import RunError
from mpnn.train.kinds.edge import EDGE
from mpnn.train.kinds.graph import GRAPH
from mpnn.train.kinds.image import IMAGE
from mpnn.train.kinds.kind import Kind
from mpnn.train.kinds.memory import MEMORY
from mpnn.train.kinds.node import NODE
from mpnn.train.kinds.segment import SEGMENT
from mpnn.train.kinds.text import TEXT

KINDS: dict[str, Kind] = {kind.name: kind for kind in (NODE, EDGE, GRAPH, IMAGE, TEXT, MEMORY, SEGMENT)}


def kind_called(name: str) -> Kind:
    """Return the kind of task of that name.

    Raises:
        RunError: there is none.
    """
    if name not in KINDS:
        raise RunError(f"task is {name!r}, but should be one of {', '.join(KINDS)}")
    return KINDS[name]


def kinds_for(data: Dataset) -> list[Kind]:
    """The kinds of tasks that are made of such data, the usual one first."""
    return [kind for kind in KINDS.values() if isinstance(data, kind.data)]
