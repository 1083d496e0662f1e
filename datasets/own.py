"""Your own graph, from files that other programs write."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import networkx as nx
import numpy as np
import scipy.io
import scipy.sparse
import torch
from torch import Tensor

from mpnn.datasets.features import degree_one_hot
from mpnn.datasets.files import is_there
from mpnn.datasets.graph_record import GraphDataset
from mpnn.datasets.planetoid_npz import DAMAGE
from mpnn.datasets.pyg_file import read_pyg
from mpnn.datasets.record import DataError, NodeDataset, in_a_line
from mpnn.datasets.tables import Answers, Table, answers, label_columns, numbers, read_table
from mpnn.datasets.text import read_numbers
from mpnn.datasets.tu import read_tu
from mpnn.graph.distinct import first_of_each
from mpnn.graph.graph import Graph
from mpnn.graph.matrix import check_matrix

ENTRY = "value"  # what the entries of a matrix are called


@dataclass(frozen=True)
class Columns:
    """Which column, or attribute, is what.

    Args:
        nodes: a table (CSV or TSV with a header) with a row for each node.
        source, target: columns of the edge table; by default those of these names, else its first two.
        node_id: column of the node table; by default its first.
        label: column of the node table, or attribute of the nodes, that is to be learned; several divided by
            commas, of 0 and 1, are labels that a node may have any of.
        graph_id: column of the node table that says which of several graphs a node is in.
        part: column of the node table that says what a node is for: train, val, test, or nothing.
        edge_label: column of the edge table, or attribute of the edges, that is to be learned.
        edge_type: column of the edge table, or attribute of the edges, that says which relation an edge is.
        edge_weight: column of the edge table, or attribute of the edges, that weighs them; other numbers of
            edges are to be named in `ignore` then.
        ignore: columns of either table that are not to be features, divided by commas; of a file of PyTorch
            Geometric, `edge_attr`, `edge_weight` or `edge_type`.
        directed: leave edges as they are; by default each is there in both directions.
    """

    nodes: str | None = None
    source: str | None = None
    target: str | None = None
    node_id: str | None = None
    label: str | None = None
    graph_id: str | None = None
    part: str | None = None
    edge_label: str | None = None
    edge_type: str | None = None
    edge_weight: str | None = None
    ignore: str | None = None
    directed: bool = False


@dataclass
class _Edges:
    """What a file says of edges: their ends as node names, and how many nodes or which names there are."""

    ends: list[tuple[str, str]] | np.ndarray
    names: list[str]
    attr: Tensor | None = None
    y: Answers | None = None
    kind: Answers | None = None
    node_table: Table | None = None
    lines: list[int] | None = None
    header: tuple[str, ...] = ()


def load_own(path: Path, columns: Columns | None = None) -> NodeDataset | GraphDataset:
    """Read a graph from a file, or graphs from a folder in the TU text format.

    Edge tables are `.csv` (commas) or `.tsv` (tabs) with a header; every column of numbers besides those that
    are named is a feature, of edges here, of nodes in the node table; a first column of edges without a name,
    where pandas writes its index, is left out. `.txt` and `.edges`, also `.gz`, are SNAP edge lists: two node
    numbers a line, `#` before comments. `.graphml` and `.gml` are read by networkx, and numbers at the nodes
    and edges are features. `.pt` holds data of PyTorch Geometric, see `read_pyg`. `.mtx` is a Matrix Market
    file, `.npz` a matrix that `scipy.sparse.save_npz` wrote; their entries are a feature of the edges, if
    they are not all the same, or with `edge_weight="value"` weigh them. Nodes without features have their
    one-hot degrees.

    Labels that are all numbers with a decimal point are numbers to predict; others are classes. A node whose
    label is empty is not known: it takes part in messages, but not in learning or testing.

    Raises:
        DataError: a file is missing or damaged; a bad line is named by its number.
    """
    columns = columns or Columns()
    if is_there(path, Path.is_dir):
        names = [file.name.removesuffix("_A.txt") for file in path.glob("*_A.txt")]
        if len(names) != 1:
            raise DataError(f"{path} holds {len(names)} files *_A.txt, but should hold one, of a TU data set")
        if columns != Columns():
            raise DataError(f"{path} is a TU folder, whose files say what is what: name no columns")
        return read_tu(path, names[0])
    if not is_there(path, Path.is_file):
        raise DataError(f"{path} does not exist, or may not be read")
    if path.suffix == ".pt":
        if columns != Columns(ignore=columns.ignore):
            raise DataError(f"{path} says itself what is what: name no columns but those to ignore")
        return read_pyg(path, _ignored(columns))
    suffix = path.with_suffix("").suffix if path.suffix == ".gz" else path.suffix
    if suffix not in READERS:
        raise DataError(f"{path} is of no known kind: its name should end in {', '.join(ENDINGS)}")
    table = None if columns.nodes is None else read_table(Path(columns.nodes))
    edges = READERS[suffix](path, columns)
    if edges.node_table is not None and table is not None:
        raise DataError(f"nodes is {columns.nodes!r}, but {path} says itself what its nodes are")
    return _assemble(path, columns, edges, edges.node_table or table)


def _assemble(path: Path, columns: Columns, edges: _Edges, table: Table | None) -> NodeDataset:
    names = edges.names
    if table is not None:
        names = table.column(columns.node_id or table.header[0])
        seen: dict[str, int] = {}
        for row, name in enumerate(names):
            if seen.setdefault(name, row) != row:
                raise DataError(
                    f"{table.place(row)}: node {name!r} is there already, in {table.unit} "
                    f"{table.lines[seen[name]]}"
                )
    else:
        for name in ("label", "node_id", "graph_id", "part"):
            if getattr(columns, name) is not None:
                raise DataError(
                    f"{name} is {getattr(columns, name)!r}, but there is no table of nodes: give nodes too"
                )
    for name in _ignored(columns) - {*edges.header, *([] if table is None else table.header)}:
        raise DataError(f"ignore names column {name!r}, which no table has")
    order: list[int] | None = None
    of_graphs: list[tuple[int, int]] = []
    if table is not None and columns.graph_id is not None:  # the nodes of a graph come one after the other
        order, of_graphs = _by_graph(table, columns.graph_id)
        table = Table(
            table.path, table.header, [table.rows[k] for k in order], [table.lines[k] for k in order]
        )
        names = [names[k] for k in order]
    edge_index = _numbered(path, edges, names)
    if order is not None:
        _check_within(path, columns, edges, names, edge_index, of_graphs)
    attr, y, count = edges.attr, edges.y, max(edge_index.size(1), 1)
    if not columns.directed:
        edge_index = torch.cat([edge_index, edge_index.flip(0)], dim=1)
    # Of several equal edges one is kept, so that a file may list both directions, or only one.
    kinds = None if edges.kind is None else edges.kind.y.repeat(1 if columns.directed else 2)
    first, original = each_once(
        edge_index, len(names), kinds, 1 if edges.kind is None else len(edges.kind.names)
    )
    _check_equal(path, edges, names, edge_index, original, count)
    rows = first % count
    graph = Graph(
        edge_index[:, first].contiguous(),
        len(names),
        None if edges.kind is None else edges.kind.y[rows],
        num_edge_types=None if edges.kind is None else len(edges.kind.names),
    )
    if order is not None:
        graph = graph.as_batch(of_graphs)
    known = answers(table, columns.label) if table is not None and columns.label is not None else None
    x = None
    if table is not None:
        x = numbers(table, _used_of_nodes(table, columns))
    if x is None:
        x = degree_one_hot(graph.in_degree, int(graph.in_degree.max()) if len(names) else 0)
    return NodeDataset(
        **_parts(table, columns, known),
        name=path.name.split(".")[0],
        graph=graph,
        x=x,
        y=None if known is None else known.y,
        class_names=() if known is None else known.names,
        known=None if known is None or bool(known.known.all()) else known.known,
        edge_attr=None if attr is None else attr[rows],
        edge_y=None if y is None else y.y[rows],
        edge_class_names=() if y is None else y.names,
        node_names=tuple(names),
    )


def each_once(
    edge_index: Tensor, num_nodes: int, kinds: Tensor | None, num_kinds: int
) -> tuple[Tensor, Tensor]:
    """Of edges with equal ends and types the first, in the file's order; and for each edge its first."""
    columns, sizes = [*edge_index], [num_nodes, num_nodes]
    if kinds is not None:  # edges of different types are different edges
        columns, sizes = [*columns, kinds], [*sizes, num_kinds]
    first, which = first_of_each(columns, sizes)
    return first.sort().values, first[which]


def _check_within(
    path: Path,
    columns: Columns,
    edges: _Edges,
    names: list[str],
    edge_index: Tensor,
    sizes: list[tuple[int, int]],
) -> None:
    """Edges should not go from one of several graphs to another."""
    owner = torch.arange(len(sizes)).repeat_interleave(torch.tensor([size for size, _ in sizes]))
    leaves = (owner[edge_index[0]] != owner[edge_index[1]]).nonzero()
    if len(leaves):
        k = int(leaves[0])
        line = "" if edges.lines is None else f" line {edges.lines[k]}"
        i, j = (names[node] for node in edge_index[:, k].tolist())
        raise DataError(
            f"{path}{line}: the edge {i} - {j} goes from one {columns.graph_id} to another, but graph_id is "
            f"{columns.graph_id!r}, so it should stay within one"
        )


def _check_equal(
    path: Path, edges: _Edges, names: list[str], edge_index: Tensor, first: Tensor, count: int
) -> None:
    """Edges between the same nodes should say the same; `first` is where each was named first."""
    values = {"features": edges.attr, "answers": None if edges.y is None else edges.y.y}
    for what, value in values.items():
        if value is None:
            continue
        row = torch.arange(len(first)) % count
        differs = (value[row] != value[first % count]).reshape(len(row), -1).any(dim=1)
        if differs.any():
            k = int(differs.nonzero()[0])
            rows = sorted((k % count, int(first[k]) % count), reverse=True)
            line = [""] * 2 if edges.lines is None else [f" line {edges.lines[at]}" for at in rows]
            i, j = (names[node] for node in edge_index[:, k].tolist())
            raise DataError(
                f"{path}{line[0]}: the edge {i} - {j} is there already{line[1] and ', in' + line[1]}, with "
                f"other {what}: keep one of them, or let edges be directed if they go two ways"
            )


def _numbered(path: Path, edges: _Edges, names: list[str]) -> Tensor:
    """Names of nodes become their numbers, `[2, num_edges]`."""
    if isinstance(edges.ends, np.ndarray) and names is edges.names:
        return torch.from_numpy(edges.ends)
    number = {name: k for k, name in enumerate(names)}
    listed = edges.ends
    if isinstance(listed, np.ndarray):
        listed = [(edges.names[i], edges.names[j]) for i, j in listed.T.tolist()]
    found = []
    for k, ends in enumerate(listed):
        for name in ends:
            if name not in number:
                where = f" line {edges.lines[k]}" if edges.lines is not None else ""
                raise DataError(f"{path}{where}: node {name!r} is not in the table of nodes")
        found.append([number[name] for name in ends])
    return torch.tensor(found, dtype=torch.int64).reshape(-1, 2).T.contiguous()


def _from_table(path: Path, columns: Columns) -> _Edges:
    table = read_table(path)
    if len(table.header) < 2:
        raise DataError(f"{path} line 1: the header should name two columns at least")
    source, target = _ends(table, columns)
    ends = list(zip(table.column(source), table.column(target), strict=True))
    names = sorted({name for pair in ends for name in pair}, key=_natural)
    used = {source, target, columns.edge_label, columns.edge_type, *_ignored(columns)}
    if table.nameless and len(table.header) > 2:
        used.add(table.header[0])
    y, kind = _of_edges(table, columns)
    attr = _weights(table, columns, used) if columns.edge_weight else numbers(table, used)
    return _Edges(ends, names, attr, y, kind, lines=table.lines, header=tuple(table.header))


def _ends(table: Table, columns: Columns) -> tuple[str, str]:
    """The columns of sources and of targets: named, or called so, or the first that are left."""
    named = table.header[1:] if table.nameless and len(table.header) > 2 else table.header
    ends = [
        given or (name if name in named else None)
        for given, name in ((columns.source, "source"), (columns.target, "target"))
    ]
    left = (name for name in named if name not in ends)
    source, target = (name or next(left) for name in ends)
    if source == target:
        raise DataError(f"source and target are both {source!r}, but should be two columns of {table.path}")
    return source, target


def _of_edges(table: Table, columns: Columns) -> tuple[Answers | None, Answers | None]:
    """What is to be learned of the edges, and their types."""
    found: list[Answers | None] = []
    for name in (columns.edge_label, columns.edge_type):
        one = None if name is None else answers(table, name)
        if one is not None and not bool(one.known.all()):
            raise DataError(f"{table.place(int((~one.known).nonzero()[0]))}: the edge has no {name}")
        found.append(one)
    y, kind = found
    if kind is not None and kind.y.dim() > 1:
        raise DataError(f"{table.path}: edge_type is {columns.edge_type!r}, but that holds numbers, no types")
    return y, kind


def _weights(table: Table, columns: Columns, used: set[str | None]) -> Tensor:
    """The weight of each edge, `[num_edges]`."""
    name = columns.edge_weight
    assert name is not None
    table.column(name)
    others = [column for column in table.header if column not in {name, *used}]
    if others:
        raise DataError(
            f"{table.path} has {', '.join(others)} besides edge_weight {name!r}: a model takes "
            "weights or features of edges, so name these in ignore"
        )
    weights = numbers(table, {other for other in table.header if other != name})
    assert weights is not None
    return weights.squeeze(1)


def _used_of_nodes(table: Table, columns: Columns) -> set[str | None]:
    """The columns of nodes that are no features."""
    labels = [] if columns.label is None else label_columns(table, columns.label)
    named = {columns.node_id or table.header[0], columns.graph_id, columns.part}
    return named | set(labels) | _ignored(columns)


def _by_graph(table: Table, column: str) -> tuple[list[int], list[tuple[int, int]]]:
    """The rows of each graph, graphs in the order in which they appear, and how many each has."""
    graphs: dict[str, list[int]] = {}
    for row, name in enumerate(table.column(column)):
        graphs.setdefault(name, []).append(row)
    return [row for rows in graphs.values() for row in rows], [(len(r), len(r)) for r in graphs.values()]


def _parts(table: Table | None, columns: Columns, known: Answers | None) -> dict[str, Tensor]:
    """The three masks, if a column says them; whose label is not known is in none."""
    if table is None or columns.part is None:
        return {}
    cells = table.column(columns.part)
    for row, cell in enumerate(cells):
        if cell not in ("train", "val", "test", ""):
            raise DataError(
                f"{table.place(row)}: {columns.part} is {cell!r}, but should be train, val, test or nothing"
            )
    there = torch.ones(len(cells), dtype=torch.bool) if known is None else known.known
    return {
        f"{part}_mask": there & torch.tensor([cell == part for cell in cells])
        for part in ("train", "val", "test")
    }


def _from_list(path: Path, columns: Columns) -> _Edges:
    _no_columns(path, columns, "source", "target", "edge_label", "edge_type", "edge_weight")
    ends = read_numbers(path, int, None)
    if ends.shape[1] != 2:
        raise DataError(
            f"{path} line 1: it holds {ends.shape[1]} numbers, but should hold two, the ends of an edge"
        )
    nodes, numbered = np.unique(ends, return_inverse=True)
    return _Edges(
        numbered.reshape(ends.shape).T.astype(np.int64).copy(), [str(node) for node in nodes.tolist()]
    )


def _from_networkx(path: Path, columns: Columns) -> _Edges:
    _no_columns(path, columns, "source", "target", "node_id")
    try:
        graph = nx.read_graphml(path) if ".graphml" in path.suffixes else nx.read_gml(path)
    except Exception as error:  # its readers raise whatever their parsers do
        raise DataError(f"{path} cannot be read: {in_a_line(error)}") from error
    names = [str(node) for node in graph]
    attributes = sorted({name for _, values in graph.nodes(data=True) for name in values})
    rows = [
        [str(node), *(str(values.get(name, "")) for name in attributes)]
        for node, values in graph.nodes(data=True)
    ]
    ends = [(str(i), str(j)) for i, j in graph.edges()]
    header = sorted({name for *_, values in graph.edges(data=True) for name in values} - {"id", "key"})
    cells = [[str(values.get(name, "")) for name in header] for *_, values in graph.edges(data=True)]
    of_edges = Table(path, header, cells, list(range(1, len(cells) + 1)), "edge")
    y, kind = _of_edges(of_edges, columns)
    used = {columns.edge_label, columns.edge_type, *_ignored(columns)}
    attr = None
    if columns.edge_weight is not None:
        attr = _weights(of_edges, columns, used)
    elif cells:
        attr = numbers(of_edges, used)
    table = Table(path, ["node", *attributes], rows, list(range(1, len(rows) + 1)), "node")
    return _Edges(ends, names, attr, y, kind, node_table=table, header=tuple(header))


def _from_matrix(path: Path, columns: Columns) -> _Edges:
    _no_columns(path, columns, "source", "target", "edge_label", "edge_type")
    if columns.edge_weight not in (None, ENTRY):
        raise DataError(f"edge_weight is {columns.edge_weight!r}, but entries of {path.name} go by {ENTRY!r}")
    try:
        if path.suffix == ".npz":
            matrix = scipy.sparse.load_npz(path)
        else:
            _check_text(path)
            matrix = scipy.sparse.coo_array(scipy.io.mmread(path))
        check_matrix(matrix)
    except (*DAMAGE, OverflowError) as error:
        raise DataError(f"{path} is damaged or of another format: {in_a_line(error)}") from error
    matrix = matrix.tocoo()
    if matrix.shape[0] != matrix.shape[1]:
        raise DataError(f"{path} is a matrix {matrix.shape}, but that of a graph is as high as wide")
    there = matrix.data != 0
    ends = np.stack([matrix.row[there], matrix.col[there]]).astype(np.int64)
    weights = matrix.data[there].astype(np.float32)
    if not np.isfinite(weights).all():
        i, j = ends[:, int((~np.isfinite(weights)).argmax())]
        raise DataError(f"{path}: the entry at row {i}, column {j} should be finite")
    attr = None
    if columns.edge_weight is not None:
        attr = torch.from_numpy(weights)
    elif len(np.unique(weights)) > 1:
        attr = torch.from_numpy(weights[:, None])
    return _Edges(ends, [str(node) for node in range(matrix.shape[0])], attr)


def _check_text(path: Path) -> None:
    """A zero byte makes the reader of Matrix Market files read beyond the file."""
    place = path.read_bytes().find(0)
    if place >= 0:
        raise ValueError(f"byte {place} is 0, but the file should be text")


def _ignored(columns: Columns) -> set[str]:
    return set() if columns.ignore is None else {name.strip() for name in columns.ignore.split(",")}


def _no_columns(path: Path, columns: Columns, *names: str) -> None:
    for name in names:
        if getattr(columns, name) is not None:
            raise DataError(f"{name} is {getattr(columns, name)!r}, but {path.name} has no such columns")


def _natural(name: str) -> tuple[int, int, str]:
    """Numbers in their order, then names."""
    return (0, int(name), name) if name.isdecimal() else (1, 0, name)


READERS: dict[str, Callable[[Path, Columns], _Edges]] = {
    ".csv": _from_table,
    ".tsv": _from_table,
    ".txt": _from_list,
    ".edges": _from_list,
    ".graphml": _from_networkx,
    ".gml": _from_networkx,
    ".mtx": _from_matrix,
    ".npz": _from_matrix,
}
ENDINGS = (*READERS, ".pt")
