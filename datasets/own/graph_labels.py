"""What is to be learned of many graphs: from a table of labels, or from what all rows of a graph say."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from mpnn.datasets.graph_record import GraphDataset
from mpnn.datasets.own.columns import Columns
from mpnn.datasets.record import DataError
from mpnn.datasets.tables import Answers, Table, answers, label_columns

SHOWN = 3  # names in a sentence


def with_labels(data: GraphDataset, read: dict[str, Table], columns: Columns) -> GraphDataset:
    """The graphs with what is to be learned of each."""
    asked, graph_id = str(columns.label), str(columns.graph_id)
    table = read.get("labels")
    if table is None:
        table, names = _one_row_each(read, asked, graph_id)
    else:
        key = graph_id if graph_id in table.header else table.header[0]
        left = {*table.header} - {key, *label_columns(table, asked)} - columns.ignored
        if left:
            warnings.warn(
                f"{table.path} has other columns ({', '.join(sorted(left))}), which are not used, since "
                "graphs have no features of their own: name them in ignore",
                stacklevel=3,
            )
        names = table.column(key)
        seen: dict[str, int] = {}
        for row, name in enumerate(names):
            if seen.setdefault(name, row) != row:
                raise DataError(
                    f"{table.place(row)}: graph {name!r} is there already, in {table.unit} "
                    f"{table.lines[seen[name]]}"
                )
        strange = [name for name in names if name not in {*data.graph_names}]
        if strange:
            warnings.warn(
                f"{table.path} has labels of {len(strange)} graphs without an edge or node, such as "
                f"{', '.join(strange[:SHOWN])}: they are left out",
                stacklevel=3,
            )
    return replace(data, **_known(answers(table, asked), names, data.graph_names))


def _known(found: Answers, names: Sequence[str], graphs: Sequence[str]) -> dict[str, Any]:
    """y, its names, and which graphs have it, for the graphs in their order."""
    place = {name: row for row, name in enumerate(names)}
    rows = torch.tensor([place.get(name, -1) for name in graphs])
    known: Tensor = found.known[rows] & (rows >= 0)
    y = found.y[rows].clone()
    y[~known] = -1 if y.dtype == torch.int64 else False if y.dtype == torch.bool else float("nan")
    if not bool(known.any()):
        raise DataError("no graph has a label: graph_id of the tables should hold the same names")
    return {"y": y, "class_names": found.names, "known": None if bool(known.all()) else known}


def _one_row_each(read: dict[str, Table], asked: str, graph_id: str) -> tuple[Table, list[str]]:
    """Labels that stand in all rows of a graph, in the table of nodes or of edges, a row for each graph."""
    for table in (read[name] for name in ("nodes", "edges") if name in read):
        labels = label_columns(table, asked)
        if {*labels} <= {*table.header} and graph_id in table.header:
            break
    else:
        raise DataError(
            f"{asked} is in no table that has {graph_id}, so whose it is is not known: give graph_labels"
        )
    owners, cells = table.column(graph_id), [table.column(label) for label in labels]
    first: dict[str, int] = {}
    for row, owner in enumerate(owners):
        other = first.setdefault(owner, row)
        for label, column in zip(labels, cells, strict=True):
            if column[row] != column[other]:
                raise DataError(
                    f"{table.place(row)}: {label} is {column[row]!r}, but {column[other]!r} in {table.unit} "
                    f"{table.lines[other]}: a graph has one, and both are of {graph_id} {owner!r}"
                )
    return table.arranged(list(first.values())), list(first)
