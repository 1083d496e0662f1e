"""Many graphs from tables: one of edges with the graph of each, perhaps one of nodes and one of labels."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from mpnn.datasets.features import degree_one_hot
from mpnn.datasets.files import is_there
from mpnn.datasets.graph_record import GraphDataset
from mpnn.datasets.own.columns import Columns
from mpnn.datasets.own.connect import connect
from mpnn.datasets.own.edge_list import EdgeList
from mpnn.datasets.own.graph_labels import with_labels
from mpnn.datasets.own.load import features_of, load_own
from mpnn.datasets.own.molecules import load_smiles
from mpnn.datasets.own.naming import OF_EDGES, check_ignored, check_names, with_header
from mpnn.datasets.own.nodes import by_graph, name_column, naming_column, no_features
from mpnn.datasets.own.table_file import edges_of_table
from mpnn.datasets.problems import Problems, nearest
from mpnn.datasets.record import DataError, NodeDataset
from mpnn.datasets.tables import Answers, Table, TableOrPath, as_table, is_table, label_columns

TYPES = "edge_types"
NOT_KNOWN = ("not known",)


def load_graphs(
    edges: TableOrPath,
    nodes: TableOrPath | None = None,
    labels: TableOrPath | None = None,
    columns: Columns | None = None,
    *,
    answered: bool = True,
    like: Mapping[str, Any] | None = None,
) -> GraphDataset:
    """Make many graphs of tables, which are read as `load_own` reads them.

    The column `graph_id` says which graph a row is of; it is of the table of edges, or of nodes, or of both.
    In both, nodes of different graphs may have the same name. Nodes without features have their one-hot
    degrees. A graph whose label is not known is not learned from or tested on.

    Args:
        edges: a row for each edge; a pandas table or a file.
        nodes: a row for each node.
        labels: a row for each graph; without it `label` is a column of the other tables, which says the same
            in all rows of a graph.
        columns: which column is what.
        answered: whether there are labels; without, y is 0 everywhere.
        like: `read_as` of other graphs, whose types of edges have the same numbers here.

    Raises:
        DataError: a column is missing, or a cell does not suit its use; it names all of them.

    >>> import pandas as pd
    >>> bonds = pd.DataFrame({"molecule": ["a", "a", "b"], "from": [1, 2, 1], "to": [2, 3, 2]})
    >>> acids = pd.DataFrame({"molecule": ["a", "b"], "acid": ["yes", "no"]})
    >>> load_graphs(bonds, labels=acids, columns=Columns(graph_id="molecule", label="acid"))
    graphs: 2 graphs of 2.5 nodes and 3.0 edges on average, 3 features, 2 classes
    """
    columns, problems = columns or Columns(), Problems()
    read = dict[str, Table]()
    for name, given in (("edges", edges), ("nodes", nodes), ("labels", labels)):
        if given is not None:
            with problems.gather():
                read[name] = as_table(given, name)
    problems.raise_all()
    read["edges"] = with_header(read["edges"], columns)
    _check(read, columns, answered)
    found = _grouped(read["edges"], read.get("nodes"), columns)
    kinds = found.edges.kinds
    if kinds is not None and like is not None:
        found = replace(found, edges=replace(found.edges, kinds=_renamed(kinds, like[TYPES], found.edges)))
    data = _assembled(read["edges"].path, found, columns)
    return with_labels(data, read, columns) if answered else data


def read_graphs(path: Path, columns: Columns | None = None) -> NodeDataset | GraphDataset:
    """Read graphs from a table of edges and those that `columns` names, of molecules, or from a TU folder.

    Without a `graph_id` it is one graph, see `load_own`.

    Raises:
        DataError: a file is missing or damaged; a bad line is named by its number.
    """
    columns = columns or Columns()
    if columns.smiles is not None:
        return load_smiles(as_table(path, "molecules"), columns)
    if columns.graph_id is None or is_there(path, Path.is_dir):
        if columns.graph_labels is not None and not is_there(path, Path.is_dir):
            raise DataError(
                f"graph_labels is {columns.graph_labels!r}, but graph_id is not given: the column that says "
                "which graph a row is of"
            )
        return load_own(path, columns)
    if not is_table(path):
        raise DataError(
            f"graph_id is {columns.graph_id!r}, but {path} is no table: it should be CSV or Parquet"
        )
    data = load_graphs(path, columns.nodes, columns.graph_labels, columns)
    return replace(data, name=path.name.split(".")[0])


@dataclass(frozen=True)
class _Grouped:
    """Nodes by graph, and edges by the nodes' names, to which that of the graph is added: `1 of a`."""

    edges: EdgeList
    names: list[str]
    sizes: dict[str, int]
    table: Table | None
    used: set[str | None]


def _check(read: dict[str, Table], columns: Columns, answered: bool) -> None:
    """All names of columns at once."""
    problems = Problems()
    columns.refuse(("part", "edge_label", "features_file"), "graphs have no such columns")
    if columns.graph_id is None:
        raise DataError("graph_id is not given: it is the column that says which graph a row is of")
    labels = [] if columns.label is None or not answered else label_columns(read["edges"], columns.label)
    with problems.gather():
        check_names(read["edges"], columns, OF_EDGES)
    header = {name: table.header for name, table in read.items()}
    everywhere = [name for names in header.values() for name in names]
    if columns.graph_id not in [*header["edges"], *header.get("nodes", [])]:
        problems.append(
            f"neither the edges nor the nodes have the column {columns.graph_id!r}, which is graph_id"
            + nearest(columns.graph_id, everywhere)
        )
    if columns.node_id is not None and columns.node_id not in header.get("nodes", []):
        problems.append(f"node_id is {columns.node_id!r}, which no table of nodes has")
    if answered and not labels:
        problems.append("label is not given: it is the column that says what is to be learned of a graph")
    where = [header["labels"]] if "labels" in header else list(header.values())
    for label in labels:
        if not any(label in names for names in where):
            names = [name for names in where for name in names]
            problems.append(f"no table has the column {label!r}, which is label" + nearest(label, names))
    if answered:
        with problems.gather():
            check_ignored(columns, everywhere)
    problems.raise_all()


def _grouped(edges: Table, nodes: Table | None, columns: Columns) -> _Grouped:
    """Find the graph of each edge and node, in the order in which graphs are named first."""
    labels = [] if columns.label is None else label_columns(edges, columns.label)
    listed = edges_of_table(edges, columns, labels)
    ends, graph_id = [tuple(pair) for pair in listed.ends], str(columns.graph_id)
    owners = edges.column(graph_id) if graph_id in edges.header else None
    if nodes is None:
        assert owners is not None
        rows = dict.fromkeys((owner, end) for owner, pair in zip(owners, ends, strict=True) for end in pair)
        place = {name: k for k, name in enumerate(listed.names)}
        there = sorted(rows, key=lambda row: place[row[1]])  # stable: then by graph, as they come
        first = {owner: k for k, owner in enumerate(dict.fromkeys(owners))}
        there.sort(key=lambda row: first[row[0]])
        return _named(listed, owners, there, None, set())
    chosen = replace(columns, node_id=_name_column(nodes, columns, owners, ends))
    used = no_features(nodes, chosen)
    names = nodes.column(str(chosen.node_id))
    if graph_id in nodes.header:
        of_nodes = nodes.column(graph_id)
    else:
        assert owners is not None
        of_nodes = _owners_by_edges(nodes, names, owners, ends, graph_id)
    if owners is None:
        owner = dict(zip(names, of_nodes, strict=True))
        owners = [owner.get(pair[0], owner.get(pair[1], "")) for pair in ends]
    order, _ = by_graph(of_nodes)
    arranged = nodes.arranged(order)
    there = [(of_nodes[row], names[row]) for row in order]
    seen: dict[tuple[str, str], int] = {}
    for row, key in enumerate(there):
        if seen.setdefault(key, row) != row:
            raise DataError(
                f"{arranged.place(row)}: node {key[1]!r} of {graph_id} {key[0]!r} is there already, in "
                f"{arranged.unit} {arranged.lines[seen[key]]}"
            )
    return _named(listed, owners, there, arranged, used)


def _named(
    listed: EdgeList,
    owners: Sequence[str],
    there: list[tuple[str, str]],
    table: Table | None,
    used: set[str | None],
) -> _Grouped:
    names = [f"{name} of {owner}" for owner, name in there]
    if len({*names}) < len({*there}):
        raise DataError(f"{listed.path}: names of nodes and graphs with ' of ' in them are not told apart")
    ends = [(f"{i} of {owner}", f"{j} of {owner}") for owner, (i, j) in zip(owners, listed.ends, strict=True)]
    _, sizes = by_graph([owner for owner, _ in there])
    return _Grouped(replace(listed, ends=ends, names=names), names, sizes, table, used)


def _name_column(
    nodes: Table, columns: Columns, owners: Sequence[str] | None, ends: Sequence[tuple[str, ...]]
) -> str:
    """The column that names the nodes: asked for, or the first that holds all ends of edges, by graph."""
    graph_id = str(columns.graph_id)
    if columns.node_id is not None:
        return columns.node_id
    if owners is None or graph_id not in nodes.header:
        others = [name for name in nodes.header if name != graph_id]
        bare = replace(nodes, frame=nodes.frame[others])
        return name_column(bare, columns, {end for pair in ends for end in pair})
    wanted = {(owner, end) for owner, pair in zip(owners, ends, strict=True) for end in pair}
    of_nodes = nodes.column(graph_id)
    others = [name for name in nodes.header if name != graph_id]
    if not others:
        raise DataError(f"{nodes.path} has the column {graph_id!r} alone, but should name nodes too")
    within = {name: [*zip(of_nodes, nodes.column(name), strict=True)] for name in others}
    return naming_column(within, wanted)


def _owners_by_edges(
    nodes: Table, names: list[str], owners: Sequence[str], ends: Sequence[tuple[str, ...]], graph_id: str
) -> list[str]:
    """The graph of each node, which is that of its edges."""
    of = dict[str, str]()
    for owner, pair in zip(owners, ends, strict=True):
        for end in pair:
            if of.setdefault(end, owner) != owner:
                raise DataError(
                    f"{nodes.path} has no column {graph_id!r}, and node {end!r} has edges in {of[end]!r} and "
                    f"in {owner!r}: add the column, so that each graph has nodes of its own"
                )
    for row, name in enumerate(names):
        if name not in of:
            raise DataError(
                f"{nodes.place(row)}: node {name!r} has no edge, so its graph is not known: add the column "
                f"{graph_id!r} to the table of nodes"
            )
    return [of[name] for name in names]


def _assembled(path: Path, found: _Grouped, columns: Columns) -> GraphDataset:
    """Connect all graphs as one, and take them apart."""
    problems, attr, x = Problems(), found.edges.attr, None
    table = None if found.table is None else found.table.features(found.used)
    with problems.gather():
        x = features_of(table, path if found.table is None else found.table.path)
    with problems.gather():
        made = features_of(found.edges.table, found.edges.path)
        attr = attr if made is None else made
    problems.raise_all()
    sizes = list(found.sizes.values())
    connected = connect(path, found.edges, found.names, columns, sizes, attr)
    owner = torch.arange(len(sizes)).repeat_interleave(torch.tensor(sizes))[connected.graph.dst]
    order = owner.argsort(stable=True)  # edges by graph, as `unbatch` has them
    rows = connected.rows[order]
    graphs = tuple(connected.graph.unbatch())
    counts = [graph.num_edges for graph in graphs]
    highest = max(int(graph.in_degree.max()) if graph.num_nodes else 0 for graph in graphs)
    parts = (
        [degree_one_hot(graph.in_degree, highest) for graph in graphs] if x is None else torch.split(x, sizes)
    )
    edge_table = found.edges.table
    return GraphDataset(
        path.name.split(".")[0] if path.suffix else "graphs",
        graphs,
        tuple(parts),
        torch.zeros(len(graphs), dtype=torch.int64),
        NOT_KNOWN,
        None if attr is None else torch.split(attr[rows], counts),
        graph_names=tuple(found.sizes),
        derived=("x",) if x is None else (),
        read_as={} if found.edges.kinds is None else {TYPES: list(found.edges.kinds.names)},
        table=table,
        edge_table=None if edge_table is None else edge_table.iloc[rows.tolist()],
    )


def _renamed(kinds: Answers, names: Sequence[str], edges: EdgeList) -> Answers:
    """The types of edges with the numbers that these names have."""
    number = {name: k for k, name in enumerate(names)}
    for name in kinds.names:
        if name not in number:
            edge = int((kinds.y == kinds.names.index(name)).nonzero()[0])
            raise DataError(
                f"{edges.path}{edges.line(edge)}: the edge is {name!r}, which is none of the types "
                f"{', '.join(names)} that the model was trained with"
            )
    table = torch.tensor([number[name] for name in kinds.names])
    return Answers(table[kinds.y], tuple(names), kinds.known)
