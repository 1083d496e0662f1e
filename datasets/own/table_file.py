"""Edges from a table: `.csv` and `.tsv`."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path

from mpnn.datasets.own.columns import Columns
from mpnn.datasets.own.edge_list import EdgeList, edge_columns
from mpnn.datasets.own.naming import OF_EDGES, check_names, with_header
from mpnn.datasets.record import DataError
from mpnn.datasets.tables import Table, read_table


def read_edge_table(path: Path, columns: Columns) -> EdgeList:
    """Read a row for each edge; the nodes are all names in the columns of sources and targets."""
    return edges_of_table(with_header(read_table(path), columns), columns)


def edges_of_table(table: Table, columns: Columns, others: Collection[str] = ()) -> EdgeList:
    """The edges that a table holds, a row for each; `others` are columns with a use outside of the graph."""
    if len(table.header) < 2:
        raise DataError(f"{table.path} line 1: the header should name two columns at least")
    named = _named(table)
    check_names(table, columns, OF_EDGES)
    source, target = _ends(table, named, columns)
    ends = list(zip(table.column(source), table.column(target), strict=True))
    names = sorted({name for pair in ends for name in pair}, key=_natural)
    used: set[str | None] = {
        source,
        target,
        columns.graph_id,
        *others,
        *(name for name in table.header if name not in named),
    }
    return EdgeList(
        ends, names, lines=table.lines, names_only_ends=True, **edge_columns(table, columns, used)
    )


def _named(table: Table) -> list[str]:
    """The columns, without the index that pandas writes: a first column that has no name."""
    return table.header[1:] if table.nameless and len(table.header) > 2 else table.header


def _ends(table: Table, named: list[str], columns: Columns) -> tuple[str, str]:
    """The columns of sources and of targets: named, or called so, or the first that are left."""
    by_lower = {name.lower(): name for name in reversed(named)}
    ends = [columns.source or by_lower.get("source"), columns.target or by_lower.get("target")]
    left = (name for name in named if name not in (*ends, columns.graph_id))
    source, target = (name or next(left, None) for name in ends)
    if source is None or target is None:
        raise DataError(f"{table.path} line 1: the header should name two columns for the ends of an edge")
    if source == target:
        raise DataError(f"source and target are both {source!r}, but should be two columns of {table.path}")
    return source, target


def _natural(name: str) -> tuple[int, int, str]:
    """Numbers in their order, then names, and what has more digits than Python reads."""
    return (0, int(name), name) if name.isdecimal() and len(name) <= MOST_DIGITS else (1, 0, name)


MOST_DIGITS = 4000
