"""The way from a file to a data set: read its edges, name its nodes, connect them, add what is known."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from mpnn.datasets.features import degree_one_hot
from mpnn.datasets.files import is_there
from mpnn.datasets.graph_record import GraphDataset
from mpnn.datasets.own.columns import Columns
from mpnn.datasets.own.connect import Connected, connect
from mpnn.datasets.own.edge_list import EdgeList
from mpnn.datasets.own.nodes import by_graph, known_of_nodes, names_of
from mpnn.datasets.own.readers import read_edges
from mpnn.datasets.pyg_file import read_pyg
from mpnn.datasets.record import DataError, NodeDataset
from mpnn.datasets.tables import Table, read_table
from mpnn.datasets.tu import read_tu

OF_NODES = ("label", "node_id", "graph_id", "part")


def load_own(path: Path, columns: Columns | None = None) -> NodeDataset | GraphDataset:
    """Read a graph from a file, or graphs from a folder in the TU text format.

    Edge tables are `.csv` (commas) or `.tsv` (tabs) with a header. A column of numbers that `columns` does
    not name is a feature: of edges in the edge table, of nodes in the node table. A first column of the edge
    table without a name, where pandas writes its index, is left out. `.txt` and `.edges`, also `.gz`, are
    SNAP edge lists: two node numbers a line, `#` before comments. `.graphml` and `.gml` are read by networkx,
    and numbers at the nodes and edges are features. `.pt` holds data of PyTorch Geometric, see `read_pyg`.
    `.mtx` is a Matrix Market file, `.npz` a matrix that `scipy.sparse.save_npz` wrote; entries that differ
    are a feature of the edges, or with `edge_weight="value"` their weights. Nodes without features have their
    one-hot degrees.

    Labels that are all numbers, one of them with a decimal point, are numbers to predict; others are classes.
    A node with an empty label sends messages, but is not learned from or tested on.

    Raises:
        DataError: a file is missing or damaged; a bad line is named by its number.
    """
    columns = columns or Columns()
    if is_there(path, Path.is_dir):
        return _load_folder(path, columns)
    if not is_there(path, Path.is_file):
        raise DataError(f"{path} does not exist, or may not be read")
    if path.suffix == ".pt":
        if columns != Columns(ignore=columns.ignore):
            raise DataError(f"{path} says itself what is what: name no columns but those to ignore")
        return read_pyg(path, columns.ignored)
    table = None if columns.nodes is None else read_table(Path(columns.nodes))
    edges = read_edges(path, columns)
    if edges.node_table is not None and table is not None:
        raise DataError(f"nodes is {columns.nodes!r}, but {path} says itself what its nodes are")
    return _assembled(path, columns, edges, edges.node_table or table)


def _load_folder(path: Path, columns: Columns) -> GraphDataset:
    names = [file.name.removesuffix("_A.txt") for file in path.glob("*_A.txt")]
    if len(names) != 1:
        raise DataError(f"{path} holds {len(names)} files *_A.txt, but should hold one, of a TU data set")
    if columns != Columns():
        raise DataError(f"{path} is a TU folder, whose files say what is what: name no columns")
    return read_tu(path, names[0])


def _assembled(path: Path, columns: Columns, edges: EdgeList, table: Table | None) -> NodeDataset:
    names, sizes = edges.names, None
    if table is None:
        columns.refuse(OF_NODES, "there is no table of nodes: give nodes too")
    else:
        names = names_of(table, columns)
    for name in columns.ignored - {*edges.header, *([] if table is None else table.header)}:
        raise DataError(f"ignore names column {name!r}, which no table has")
    if table is not None and columns.graph_id is not None:
        table, sizes = by_graph(table, columns.graph_id)
        names = names_of(table, columns)
    connected = connect(path, edges, names, columns, sizes)
    known: dict[str, Any] = {"x": None} if table is None else known_of_nodes(table, columns)
    derived = ["nodes"] if table is None and edges.names_only_ends else []
    if known["x"] is None:
        known["x"] = degree_one_hot(connected.graph.in_degree)
        derived.append("x")
    return NodeDataset(
        name=path.name.split(".")[0],
        graph=connected.graph,
        node_names=tuple(names),
        derived=tuple(derived),
        **known,
        **_known_of_edges(edges, connected),
    )


def _known_of_edges(edges: EdgeList, connected: Connected) -> dict[str, Any]:
    attr, known = edges.attr, edges.answers
    return {
        "edge_attr": None if attr is None else attr[connected.rows],
        "edge_y": None if known is None else known.y[connected.rows],
        "edge_class_names": () if known is None else known.names,
    }
