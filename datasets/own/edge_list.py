"""What a file says of edges, whatever its format."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from mpnn.datasets.cells import as_numbers
from mpnn.datasets.own.columns import Columns
from mpnn.datasets.record import DataError
from mpnn.datasets.tables import Answers, Table, answers

Ends = Sequence[tuple[str, str]] | np.ndarray[Any, Any]


@dataclass(frozen=True)
class EdgeList:
    """The edges in the order of the file, and the nodes that they join.

    Args:
        ends: source and target of each edge by name, or int64 `[2, num_edges]`, positions in `names`.
        names: the nodes that the file names, each once.
        attr: features `[num_edges, channels]`, or weights `[num_edges]`, or None.
        table: columns that features are made of, a row for each edge, or None.
        answers: what is to be learned of the edges, or None.
        kinds: the relation that each edge is, or None.
        node_table: what the same file says of nodes, or None.
        lines: the line that each edge stands in, or None where the file has no lines.
        path: the file.
        header: the columns, or attributes, that edges have.
        names_only_ends: whether a node is named because an edge ends at it.
    """

    ends: Ends
    names: list[str]
    attr: Tensor | None = None
    table: pd.DataFrame | None = None
    answers: Answers | None = None
    kinds: Answers | None = None
    node_table: Table | None = None
    lines: Sequence[int] | None = None
    path: Path = Path()
    header: tuple[str, ...] = ()
    names_only_ends: bool = False

    def line(self, edge: int) -> str:
        """` line 7`, or nothing where the file has no lines; for sentences."""
        return "" if self.lines is None else f" line {self.lines[edge]}"


def edge_columns(table: Table, columns: Columns, used: set[str | None]) -> dict[str, Any]:
    """Features or weights, answers, kinds and header of an `EdgeList`, from a table with a row for each edge.

    Args:
        table: the rows, which may be none.
        columns: which of its columns is what.
        used: columns that are no features for another reason, such as the ends of the edges.

    Raises:
        DataError: a column is missing, or a cell in it does not suit its use.
    """
    used = {*used, columns.edge_label, columns.edge_type, *columns.ignored}
    known, kinds = (_known(table, name) for name in (columns.edge_label, columns.edge_type))
    if kinds is not None and kinds.y.dim() > 1:
        raise DataError(f"{table.path}: edge_type is {columns.edge_type!r}, but that holds numbers, no types")
    attr = features = None
    if columns.edge_weight is not None:
        attr = _weights(table, columns.edge_weight, used)
    elif len(table.frame):
        features = table.features(used)
    return {
        "attr": attr,
        "table": features,
        "answers": known,
        "kinds": kinds,
        "header": tuple(table.header),
        "path": table.path,
    }


def _known(table: Table, name: str | None) -> Answers | None:
    """A column in which no cell is empty."""
    if name is None:
        return None
    found = answers(table, name)
    if not bool(found.known.all()):
        raise DataError(f"{table.place(int((~found.known).nonzero()[0]))}: the edge has no {name}")
    return found


def _weights(table: Table, name: str, used: set[str | None]) -> Tensor:
    """The weight of each edge, `[num_edges]`."""
    table.column(name)
    others = [column for column in table.header if column not in {name, *used}]
    if others:
        raise DataError(
            f"{table.path} has {', '.join(others)} besides edge_weight {name!r}: a model takes "
            "weights or features of edges, so name these in ignore"
        )
    weights = as_numbers(table.frame[name])
    if bool(weights.isna().any()):
        row = int(weights.isna().to_numpy().argmax())
        raise DataError(
            f"{table.place(row)}: {name} is {table.column(name)[row]!r}, but should be a finite number"
        )
    return torch.from_numpy(weights.to_numpy(dtype="float32", copy=True))
