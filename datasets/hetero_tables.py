"""A typed graph from tables, one for each type of nodes and of edges, and back."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from torch import Tensor

from mpnn import HeteroGraph, files
from mpnn.datasets.files import make_folder
from mpnn.datasets.hetero_record import HeteroTables, as_path, edge_tensor
from mpnn.datasets.problems import Problems, nearest
from mpnn.datasets.record import DataError
from mpnn.datasets.table_plan import TablePlan
from mpnn.datasets.tables import Table, TableOrPath, as_table
from mpnn.graph.hetero import EdgeType
from mpnn.graph.hetero_checks import checked_edge_types

BETWEEN = "__"  # the parts of an edge type in the name of its file


def load_hetero_tables(
    nodes: Mapping[str, TableOrPath], edges: Mapping[EdgeType, TableOrPath]
) -> HeteroTables:
    """Read a typed graph from tables (`.csv`, `.tsv`, `.parquet`, or pandas's), one for each type.

    Args:
        nodes: of each node type a table whose first column names its nodes, each once; further columns are
            features, as `TablePlan` reads them.
        edges: of each edge type `(source, relation, destination)` a table whose first two columns name the
            ends of each edge; further columns are features of edges.

    Raises:
        DataError: what is wrong with all of them, a sentence each: an edge type with an unknown node type, a
            node that its table does not name or names twice, a cell that does not suit its column.

    >>> import pandas as pd
    >>> people = pd.DataFrame({"name": ["Emmy", "Max"], "age": [53, 60]})
    >>> papers = pd.DataFrame({"title": ["Invariante Variationsprobleme"]})
    >>> wrote = pd.DataFrame({"who": ["Emmy"], "what": ["Invariante Variationsprobleme"]})
    >>> tables = load_hetero_tables(
    ...     {"person": people, "paper": papers}, {("person", "wrote", "paper"): wrote}
    ... )
    >>> tables.graph
    HeteroGraph(num_nodes={'person': 2, 'paper': 1}, num_edges={('person', 'wrote', 'paper'): 1})
    >>> tables.x["person"].T
    tensor([[53., 60.]])
    """
    try:
        relations = checked_edge_types(edges, nodes)
    except (TypeError, ValueError) as error:
        raise DataError(str(error)) from None
    problems = Problems()
    names: dict[str, dict[str, int]] = {}
    x: dict[str, Tensor] = {}
    for node_type, given in nodes.items():
        with problems.gather():
            table = as_table(given, node_type)
            names[node_type] = _numbered(table)
            if (features := _features(table, 1)) is not None:
                x[node_type] = features
    index: dict[EdgeType, Tensor] = {}
    edge_attr: dict[EdgeType, Tensor] = {}
    for edge_type, given in zip(relations, edges.values(), strict=True):
        if edge_type[0] not in names or edge_type[2] not in names:
            continue  # whose table has a problem of its own
        with problems.gather():
            table = as_table(given, BETWEEN.join(edge_type))
            index[edge_type] = _ends(table, edge_type, names)
            if (features := _features(table, 2)) is not None:
                edge_attr[edge_type] = features
    problems.raise_all()
    sizes = {node_type: len(known) for node_type, known in names.items()}
    called = {node_type: list(known) for node_type, known in names.items()}
    return HeteroTables(HeteroGraph(sizes, index), called, x, edge_attr)


def load_hetero_folder(folder: str | Path) -> HeteroTables:
    """Read a typed graph from a folder of `.csv`: `author.csv`, `paper.csv`, `author__writes__paper.csv`.

    Raises:
        DataError: there is no such file, one with another name, or what `load_hetero_tables` says.
    """
    folder = as_path(folder)
    if not folder.is_dir():
        raise DataError(f"{folder} should be a folder with a table for each type of nodes and edges")
    nodes: dict[str, TableOrPath] = {}
    edges: dict[EdgeType, TableOrPath] = {}
    for path in sorted(folder.glob("*.csv")):
        parts = path.stem.split(BETWEEN)
        if len(parts) == 1:
            nodes[path.stem] = path
        elif len(parts) == 3:
            edges[parts[0], parts[1], parts[2]] = path
        else:
            raise DataError(
                f"{path} should be called TYPE.csv or SOURCE{BETWEEN}RELATION{BETWEEN}DESTINATION.csv"
            )
    if not nodes:
        raise DataError(f"{folder} holds no table of nodes, such as author.csv")
    return load_hetero_tables(nodes, edges)


def save_hetero_tables(tables: HeteroTables, folder: str | Path) -> None:
    """Write a typed graph as `load_hetero_folder` reads it, one `.csv` for each type of nodes and of edges.

    A table needs a row: types without nodes and relations without edges are not written.

    Raises:
        DataError: nodes without a name of their own, a type whose name suits no file, or a file that cannot
            be written.
    """
    tables.check()
    folder = as_path(folder)
    for name in {part for edge_type in tables.graph.edge_types for part in edge_type} | set(tables.names):
        if not name or name.startswith(".") or any(mark in name for mark in (BETWEEN, "/", "\\", "\0")):
            raise DataError(
                f"{name!r} is the name of a type, but suits no file: it holds {BETWEEN!r} or a slash"
            )
    make_folder(folder)
    for node_type, names in tables.names.items():
        for name in names:
            if not name or name != name.strip() or "\r" in name:
                raise DataError(
                    f"the node {name!r} of type {node_type!r} has a name that a table cannot hold"
                )
        rows = [[name] for name in names]
        _write(folder / f"{node_type}.csv", ["name"], rows, tables.x.get(node_type))
    for edge_type in tables.graph.edge_types:
        ends = tables.graph[edge_type].edge_index.t().tolist()
        source, _, destination = edge_type
        rows = [[tables.names[source][a], tables.names[destination][b]] for a, b in ends]
        path = folder / f"{BETWEEN.join(edge_type)}.csv"
        _write(path, ["source", "destination"], rows, tables.edge_attr.get(edge_type))


def _write(path: Path, header: Sequence[str], rows: Sequence[Sequence[str]], values: Tensor | None) -> None:
    if not rows:
        return
    numbers = torch.empty(len(rows), 0) if values is None else values.reshape(len(rows), -1)
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow([*header, *(f"x{k}" for k in range(numbers.size(1)))])
    writer.writerows([*row, *more] for row, more in zip(rows, numbers.tolist(), strict=True))
    files.write(path, text.getvalue().encode(), DataError)


def _numbered(table: Table) -> dict[str, int]:
    """The number of each node by its name, which is in the first column."""
    column = table.column(table.header[0])
    known: dict[str, int] = {}
    for row, name in enumerate(column):
        if not name:
            raise DataError(f"{table.place(row)}: the node has no {table.header[0]}")
        if name in known:
            raise DataError(
                f"{table.place(row)}: {name!r} is there twice, first in {table.unit} "
                f"{table.lines[known[name]]}"
            )
        known[name] = row
    return known


def _ends(table: Table, edge_type: EdgeType, names: Mapping[str, Mapping[str, int]]) -> Tensor:
    """`[2, num_edges]` of the first two columns."""
    if len(table.header) < 2:
        raise DataError(
            f"{table.path} should have two columns for the ends of edges, but has {table.header[0]}"
        )
    ends = []
    for header, node_type in zip(table.header, (edge_type[0], edge_type[2]), strict=False):
        known, column = names[node_type], table.column(header)
        for row, name in enumerate(column):
            if name not in known:
                raise DataError(
                    f"{table.place(row)}: {name!r} is no node of type {node_type!r}{nearest(name, known)}"
                )
        ends.append([known[name] for name in column])
    return edge_tensor(list(zip(*ends, strict=True)))


def _features(table: Table, used: int) -> Tensor | None:
    """The columns behind the first `used` ones, as numbers; None if there are none."""
    frame = table.features(set(table.header[:used]))
    return None if frame is None else TablePlan.fit(frame).apply(frame)
