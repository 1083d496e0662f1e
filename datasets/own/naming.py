"""Whether the columns that are named are there, and whether a table has a header at all."""

from __future__ import annotations

import warnings
from collections.abc import Sequence

from mpnn.datasets.own.columns import Columns
from mpnn.datasets.problems import nearest, raise_all
from mpnn.datasets.record import DataError
from mpnn.datasets.tables import Table, label_columns

OF_NODES = ("label", "node_id", "graph_id", "part")
OF_EDGES = ("source", "target", "edge_label", "edge_type", "edge_weight")
ENDS = ("source", "target")
LINE = "line"  # what a text counts; other tables have a header always


def check_names(table: Table, columns: Columns, roles: Sequence[str]) -> None:
    """Check the names of the columns of one table, before anything else is read.

    Args:
        table: which should have them.
        columns: the names.
        roles: which of them are of this table.

    Raises:
        DataError: columns are missing; it names all of them, each with the one that is most like it.
    """
    problems = []
    for role in roles:
        asked = getattr(columns, role)
        if asked is None:
            continue
        several = label_columns(table, asked) if role in ("label", "edge_label") else [asked]
        problems += [table.lack_of(name) for name in several if name not in table.header]
    raise_all(problems)


def check_ignored(columns: Columns, header: Sequence[str]) -> None:
    """Raise DataError if a column to ignore is in no table; `header` holds those of all tables."""
    raise_all(
        f"ignore names column {name!r}, which no table has{nearest(name, header)}"
        for name in sorted(columns.ignored - {*header})
    )


def with_header(table: Table, columns: Columns) -> Table:
    """The table of edges; if its first line is an edge, its columns are called source, target, column 3, ...

    The first line is a header if it holds a name that is asked for, or `source` or `target`, or begins with
    an empty cell, as where pandas writes its index. Else, if it begins with a number, it is an edge.

    Raises:
        DataError: the first line may be an edge or a header: a cell in it is a node too, or a number.
    """
    if table.unit != LINE:
        return table
    if {*ENDS} & {name.lower() for name in table.header} or table.nameless or len(table.header) < 2:
        return table
    named = {getattr(columns, name) for name in (*OF_EDGES, "graph_id")}
    if {*table.header} & (named | columns.ignored):
        return table
    first, second = table.header[:2]
    if _is_number(first) or _is_number(second):
        warnings.warn(
            f"{table.path} has no header: its first line is read as an edge, and its columns are called "
            f"{', '.join(table.without_header(ENDS).header)}",
            stacklevel=2,
        )
        return table.without_header(ENDS)
    nodes = {*table.column(first), *table.column(second)}
    strange = [f"{name!r} is a node of other lines too" for name in (first, second) if name in nodes]
    strange += [f"{name!r} is a number" for name in table.header if _is_number(name)]
    if strange:
        raise DataError(
            f"{table.path} line 1: {strange[0]}: if the line is an edge, write names of columns above it, as "
            f"{','.join(table.without_header(ENDS).header)}; if it is a header, say so by source {first!r}"
        )
    return table


def check_header_of_nodes(table: Table, columns: Columns, ends: set[str]) -> None:
    """Raise DataError if the first line of the table of nodes is a node: one that edges name, or a number."""
    named = {columns.node_id, columns.graph_id, columns.part, *columns.ignored}
    if columns.label is not None:
        named |= {*label_columns(table, columns.label)}
    first = table.header[0]
    if table.unit == LINE and not {*table.header} & named and (first in ends or _is_number(first)):
        raise DataError(
            f"{table.path} line 1: it should name the columns, but begins with {first!r}, a node: write a "
            "header above it, or if it is one, name the column of the nodes by node_id"
        )


def _is_number(cell: str) -> bool:
    try:
        float(cell)
    except ValueError:
        return False
    return True
