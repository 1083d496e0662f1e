"""What a table says of nodes: their names, their order, and what is known of each."""

from __future__ import annotations

from collections.abc import Collection, Hashable, Mapping, Sequence
from typing import Any, TypeVar

import torch
from torch import Tensor

from mpnn.datasets.own.columns import Columns
from mpnn.datasets.record import MASKS, DataError
from mpnn.datasets.tables import Answers, Table, answers, label_columns

Name = TypeVar("Name", bound=Hashable)

PARTS = ("train", "val", "test")


def name_column(table: Table, columns: Columns, ends: Collection[str] = ()) -> str:
    """The column that names the nodes: the one asked for, else the first that holds all ends of edges once.

    An index that pandas wrote is taken if no other column will do.
    """
    if columns.node_id is not None:
        return columns.node_id
    if not ends:
        return table.header[0]
    named = table.header[1:] if table.nameless and len(table.header) > 1 else table.header
    return naming_column({name: table.column(name) for name in [*named, table.header[0]]}, {*ends})


def naming_column(columns: Mapping[str, Sequence[Name]], ends: set[Name]) -> str:
    """The first column that holds all ends of edges and nothing twice, else the one that holds most of them.

    Args:
        columns: names in the order of the rows, by the column that they are in.
        ends: the names that edges have for their ends.
    """
    there = {column: {*cells} for column, cells in columns.items()}
    for column, found in there.items():
        if len(found) == len(columns[column]) and found >= ends:
            return column
    return max(there, key=lambda column: len(there[column] & ends))  # of those that hold none, the first


def names_of(table: Table, columns: Columns) -> list[str]:
    """The names of the nodes in the order of the table.

    Raises:
        DataError: two nodes have the same name.
    """
    names = table.column(name_column(table, columns))
    seen: dict[str, int] = {}
    for row, name in enumerate(names):
        if seen.setdefault(name, row) != row:
            raise DataError(
                f"{table.place(row)}: node {name!r} is there already, in {table.unit} "
                f"{table.lines[seen[name]]}"
            )
    return names


def by_graph(owners: Sequence[str]) -> tuple[list[int], dict[str, int]]:
    """Positions of the rows of each graph one after the other, and how many each graph has.

    Graphs are in the order in which they are named first.

    Args:
        owners: the graph of each row.
    """
    graphs: dict[str, list[int]] = {}
    for row, name in enumerate(owners):
        graphs.setdefault(name, []).append(row)
    order = [row for rows in graphs.values() for row in rows]
    return order, {name: len(rows) for name, rows in graphs.items()}


def known_of_nodes(table: Table, columns: Columns) -> dict[str, Any]:
    """What the table says of the nodes, by the names that a `NodeDataset` has for it.

    `table` is None where no column is left to be a feature.

    Raises:
        DataError: a column is missing, or a cell does not suit its use.
    """
    known = None if columns.label is None else answers(table, columns.label)
    return {
        **_masks(table, columns, known),
        "table": table.features(no_features(table, columns)),
        "y": None if known is None else known.y,
        "class_names": () if known is None else known.names,
        "known": None if known is None or bool(known.known.all()) else known.known,
    }


def no_features(table: Table, columns: Columns) -> set[str | None]:
    """The columns of a table of nodes that have another use."""
    labels = [] if columns.label is None else label_columns(table, columns.label)
    named = {name_column(table, columns), columns.graph_id, columns.part}
    if table.nameless:
        named.add(table.header[0])
    return named | set(labels) | columns.ignored


def _masks(table: Table, columns: Columns, known: Answers | None) -> dict[str, Tensor]:
    """The three masks, if a column names the parts; a node whose label is not known is in none."""
    if columns.part is None:
        return {}
    cells = table.column(columns.part)
    for row, cell in enumerate(cells):
        if cell not in (*PARTS, ""):
            raise DataError(
                f"{table.place(row)}: {columns.part} is {cell!r}, but should be train, val, test or nothing"
            )
    there = torch.ones(len(cells), dtype=torch.bool) if known is None else known.known
    return {
        mask: there & torch.tensor([cell == part for cell in cells])
        for mask, part in zip(MASKS, PARTS, strict=True)
    }
