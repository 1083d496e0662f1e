"""Nodes and edges with attributes from the files that networkx reads: `.graphml` and `.gml`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import networkx as nx

from mpnn.datasets.own.columns import Columns
from mpnn.datasets.own.edge_list import EdgeList, edge_columns
from mpnn.datasets.record import DataError, in_a_line
from mpnn.datasets.tables import Table, text_frame


def read_networkx(path: Path, columns: Columns) -> EdgeList:
    """Read a graph and a table of its nodes; an attribute is a column, empty where a node has it not."""
    columns.refuse(("source", "target", "node_id"), f"{path.name} has no such columns")
    try:
        graph = nx.read_graphml(path) if ".graphml" in path.suffixes else nx.read_gml(path)
    except Exception as error:  # its readers raise whatever their parsers do
        raise DataError(f"{path} cannot be read: {in_a_line(error)}") from error
    names = [str(node) for node in graph]
    of_nodes = _table(path, "node", [values for _, values in graph.nodes(data=True)], names)
    of_edges = _table(path, "edge", [values for *_, values in graph.edges(data=True)])
    ends = [(str(i), str(j)) for i, j in graph.edges()]
    return EdgeList(ends, names, node_table=of_nodes, **edge_columns(of_edges, columns, set()))


def _table(path: Path, unit: str, attributes: list[dict[str, Any]], names: list[str] | None = None) -> Table:
    """A row of attributes for each node or edge, behind the names of the nodes."""
    header = sorted({name for values in attributes for name in values})
    if names is None:  # networkx adds these two to the edges that it reads
        header = [name for name in header if name not in ("id", "key")]
    rows = [[str(values.get(name, "")) for name in header] for values in attributes]
    if names is not None:
        header, rows = ["node", *header], [[name, *row] for name, row in zip(names, rows, strict=True)]
    return Table(path, text_frame(rows, header), list(range(1, len(rows) + 1)), unit)
