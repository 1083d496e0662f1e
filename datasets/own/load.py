"""The way from a file to a data set: read its edges, name its nodes, connect them, add what is known."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from torch import Tensor

from mpnn.datasets.features import degree_one_hot
from mpnn.datasets.files import is_there
from mpnn.datasets.graph_record import GraphDataset
from mpnn.datasets.own.arrays import count_rows, read_features
from mpnn.datasets.own.columns import Columns
from mpnn.datasets.own.connect import Connected, connect
from mpnn.datasets.own.edge_list import EdgeList
from mpnn.datasets.own.naming import OF_NODES, check_header_of_nodes, check_ignored, check_names
from mpnn.datasets.own.nodes import by_graph, known_of_nodes, name_column, names_of
from mpnn.datasets.own.readers import read_edges
from mpnn.datasets.own.table_file import edges_of_table
from mpnn.datasets.problems import Problems
from mpnn.datasets.pyg_file import read_pyg
from mpnn.datasets.record import DataError, NodeDataset
from mpnn.datasets.table_plan import TablePlan
from mpnn.datasets.tables import Table, as_table, read_table
from mpnn.datasets.tu import read_tu, tu_name
from mpnn.files import opened


def load_own(path: Path, columns: Columns | None = None) -> NodeDataset | GraphDataset:
    """Read a graph from a file, or graphs from a folder in the TU text format.

    Tables are `.csv` or `.tsv`, with commas, semicolons or tabs between the cells, also `.gz`, or `.parquet`
    where pyarrow is installed. A column that `columns` does not name is a feature, of edges in the edge
    table, of nodes in the node table: numbers as they are, and their median where one is missing; yes and no
    as 1 and 0; dates as days; categories one-hot, rare values together; each with a flag where cells are
    missing. Free text and columns that say nothing are left out, and so is a first column without a name,
    where pandas writes its index. Edges without a header are read with a warning. All that is wrong with the
    tables is told at once.

    `.txt` and `.edges`, also `.gz`, are SNAP edge lists: two node numbers a line, `#` before comments.
    `.graphml`, `.gml`, `.gexf` and `.json`, as `networkx.node_link_data` writes it, are networkx's;
    attributes of nodes and edges are columns. `.pt` holds data of PyTorch Geometric, see `read_pyg`. `.mtx`
    is a Matrix Market file, `.npz` a matrix that `scipy.sparse.save_npz` wrote; entries that differ are a
    feature of the edges, or with `edge_weight="value"` their weights. Nodes without features have their
    one-hot degrees.

    Labels that are all numbers, one of them with a decimal point, are numbers to predict; others are classes.
    A node with an empty label sends messages, but is not learned from or tested on.

    Raises:
        DataError: a file is missing or damaged; a bad line is named by its number.
    """
    columns = columns or Columns()
    columns.refuse(("graph_labels", "smiles"), "that is of many graphs, which mpnn train graph reads")
    if is_there(path, Path.is_dir):
        return _load_folder(path, columns)
    with opened(path, DataError):  # or the sentence that says why not
        pass
    if path.suffix == ".pt":
        if columns != Columns(ignore=columns.ignore):
            raise DataError(f"{path} says itself what is what: name no columns but those to ignore")
        return read_pyg(path, columns.ignored)

    def nodes() -> Table | None:
        return None if columns.nodes is None else read_table(Path(columns.nodes))

    return _read(path, columns, nodes, lambda: read_edges(path, columns))


def load_tables(
    edges: pd.DataFrame, nodes: pd.DataFrame | None = None, columns: Columns | None = None
) -> NodeDataset:
    """Make a graph of pandas tables, which are read as `load_own` reads files.

    Args:
        edges: a row for each edge.
        nodes: a row for each node.
        columns: which column is what.

    Raises:
        DataError: a column is missing, or a cell does not suit its use.

    >>> friends = pd.DataFrame({"source": ["ann", "bob"], "target": ["bob", "cid"]})
    >>> people = pd.DataFrame({"name": ["ann", "bob", "cid"], "age": [7, 9, 8]})
    >>> load_tables(friends, people).x.flatten()
    tensor([7., 9., 8.])
    """
    columns = columns or Columns()
    if columns.nodes is not None:
        raise DataError(f"nodes is {columns.nodes!r}, but the tables are given themselves: leave it out")
    data = _read(
        Path("edges"),
        columns,
        lambda: None if nodes is None else as_table(nodes, "nodes"),
        lambda: edges_of_table(as_table(edges, "edges"), columns),
    )
    return replace(data, name="tables")


def _read(
    path: Path, columns: Columns, nodes: Callable[[], Table | None], read: Callable[[], EdgeList]
) -> NodeDataset:
    """Read nodes and edges, and tell all that is wrong with both at once."""
    problems, table, edges = Problems(), None, EdgeList([], [])
    with problems.gather():
        table = nodes()
        if table is not None:
            check_names(table, columns, OF_NODES)
    with problems.gather():
        edges = read()
    if not problems:
        with problems.gather():
            _check_together(columns, edges, edges.node_table or table)
    problems.raise_all()
    if edges.node_table is not None and table is not None:
        raise DataError(f"nodes is {columns.nodes!r}, but {path} says itself what its nodes are")
    return _assembled(path, columns, edges, edges.node_table or table)


def _load_folder(path: Path, columns: Columns) -> GraphDataset:
    name = tu_name(path)
    if columns != Columns():
        raise DataError(f"{path} is a TU folder, whose files say what is what: name no columns")
    return read_tu(path, name)


def _check_together(columns: Columns, edges: EdgeList, table: Table | None) -> None:
    if edges.node_table is not None:
        check_names(edges.node_table, columns, OF_NODES)
    check_ignored(columns, [*edges.header, *([] if table is None else table.header)])
    if table is not None and edges.names_only_ends:
        check_header_of_nodes(table, columns, {*edges.names})


def _assembled(path: Path, columns: Columns, edges: EdgeList, table: Table | None) -> NodeDataset:
    names, sizes, order = edges.names, None, None
    if table is None:
        columns.refuse(OF_NODES, "there is no table of nodes: give nodes too")
    else:
        columns = replace(columns, node_id=name_column(table, columns, edges.names))
        names = names_of(table, columns)
    if table is not None and columns.graph_id is not None:
        order, counts = by_graph(table.column(columns.graph_id))
        table, sizes = table.arranged(order), [*counts.values()]
        names = names_of(table, columns)
    array = None
    if columns.features_file is not None:
        if table is None and edges.names_only_ends:
            names = _numbered(columns.features_file, names)
        array = read_features(columns.features_file, names if order is None else _unordered(names, order))
        array = array if order is None else array[torch.tensor(order)]
    problems, known, attr = Problems(), dict[str, Any](), edges.attr
    if table is not None:
        with problems.gather():
            known = known_of_nodes(table, columns)
            x = features_of(known["table"], table.path)
            known |= {} if x is None else {"x": x}
    with problems.gather():
        made = features_of(edges.table, edges.path)
        attr = attr if made is None else made
    problems.raise_all()
    connected = connect(path, edges, names, columns, sizes, attr)
    derived = ["nodes"] if table is None and array is None and edges.names_only_ends else []
    if array is not None:
        known |= {"x": torch.cat([known["x"], array], dim=1) if "x" in known else array, "array": array}
    if "x" not in known:
        known["x"] = degree_one_hot(connected.graph.in_degree)
        derived.append("x")
    return NodeDataset(
        name=path.name.split(".")[0],
        graph=connected.graph,
        node_names=tuple(names),
        node_column=None if table is None else columns.node_id,
        derived=tuple(derived),
        **known,
        **_known_of_edges(edges, attr, connected),
    )


def features_of(table: pd.DataFrame | None, path: Path) -> Tensor | None:
    """What columns become when all rows decide it, and numbers stay as they are; None if none is left."""
    if table is None:
        return None
    problems, made = Problems(), None
    with problems.gather(f"{path}: "):
        made = TablePlan.fit(table).apply(table)
    problems.raise_all()
    return made if made is not None and made.size(1) else None


def _unordered(names: list[str], order: Sequence[int]) -> list[str]:
    """The names of the nodes as their table had them, before its rows were arranged."""
    found = [""] * len(names)
    for name, row in zip(names, order, strict=True):
        found[row] = name
    return found


def _numbered(path: str, names: list[str]) -> list[str]:
    """The nodes of a file of edges that are called by the numbers of the rows, those without an edge too."""
    count = count_rows(path)
    numbers = [str(k) for k in range(count)]
    known = {*numbers}
    strange = [name for name in names if name not in known]
    if strange:
        raise DataError(
            f"{path} has {count:,} rows, but node {strange[0]!r} is none of 0..{count - 1}: give nodes, a "
            "table in whose order the rows are"
        )
    return numbers


def _known_of_edges(edges: EdgeList, attr: Tensor | None, connected: Connected) -> dict[str, Any]:
    known, table, rows = edges.answers, edges.table, connected.rows
    return {
        "edge_attr": None if attr is None else attr[rows],
        "edge_table": None if table is None else table.iloc[rows.tolist()],
        "edge_y": None if known is None else known.y[rows],
        "edge_class_names": () if known is None else known.names,
    }
