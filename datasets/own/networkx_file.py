"""Nodes and edges with attributes from files of networkx: GraphML, GML, GEXF, and node-link JSON."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import networkx as nx

from mpnn import files
from mpnn.datasets.own.columns import Columns
from mpnn.datasets.own.edge_list import EdgeList, edge_columns
from mpnn.datasets.record import DataError, in_a_line
from mpnn.datasets.tables import Table, text_frame


def read_networkx(path: Path, columns: Columns) -> EdgeList:
    """Read a graph and a table of its nodes; an attribute is a column, empty where a node has it not."""
    columns.refuse(("source", "target", "node_id"), f"{path.name} has no such columns")
    content = files.read(path, DataError)
    try:
        graph = _read(path, content)
        if "None" in graph and b'"None"' not in content:  # networkx's name of what is missing
            raise ValueError("an edge lacks its source or its target")
    except Exception as error:  # its readers raise whatever their parsers do
        raise DataError(f"{path} cannot be read: {in_a_line(error)}") from error
    names = [str(node) for node in graph]
    if len({*names}) < len(names):
        raise DataError(f"{path}: two nodes have the same name, one a text and one a number")
    of_nodes = _table(path, "node", [values for _, values in graph.nodes(data=True)], names)
    of_edges = _table(path, "edge", [values for *_, values in graph.edges(data=True)])
    ends = [(str(i), str(j)) for i, j in graph.edges()]
    return EdgeList(ends, names, node_table=of_nodes, **edge_columns(of_edges, columns, set()))


def _read(path: Path, content: bytes) -> Any:
    kind = (path.with_suffix("") if path.suffix == ".gz" else path).suffix
    if kind == ".json":
        return _of_node_link(json.loads(content))
    readers = {".graphml": nx.read_graphml, ".gml": nx.read_gml, ".gexf": nx.read_gexf}
    graph = readers[kind](io.BytesIO(content))
    if kind == ".gexf" and all(str(node) == label for node, label in graph.nodes(data="label")):
        for _, values in graph.nodes(data=True):  # in GEXF each node has a label, if only its name
            del values["label"]
    return graph


def _of_node_link(data: Any) -> nx.MultiDiGraph:
    """The graph that `networkx.node_link_data` and D3 write; older ones call edges links."""
    edges = data.get("edges", data.get("links")) if isinstance(data, dict) else None
    if edges is None or "nodes" not in data:
        raise ValueError("it should hold nodes, and edges or links, as networkx.node_link_data writes them")
    graph = nx.MultiDiGraph()
    for node in data["nodes"]:
        graph.add_node(node["id"], **{name: value for name, value in node.items() if name != "id"})
    for edge in edges:
        values = {name: value for name, value in edge.items() if name not in ("source", "target", "key")}
        if not {edge["source"], edge["target"]} <= graph.nodes:
            raise ValueError(f"edge {edge['source']!r} - {edge['target']!r} ends at no node that is listed")
        graph.add_edge(edge["source"], edge["target"], **values)
    return graph


def _table(path: Path, unit: str, attributes: list[dict[str, Any]], names: list[str] | None = None) -> Table:
    """A row of attributes for each node or edge, behind the names of the nodes."""
    header = sorted({name for values in attributes for name in values})
    if names is None:  # networkx adds these two to the edges that it reads
        header = [name for name in header if name not in ("id", "key")]
    rows = [[str(values.get(name, "")) for name in header] for values in attributes]
    if names is not None:
        header, rows = ["node", *header], [[name, *row] for name, row in zip(names, rows, strict=True)]
    return Table(path, text_frame(rows, header), list(range(1, len(rows) + 1)), unit)
