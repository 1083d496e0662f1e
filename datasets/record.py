"""One immutable record: a graph, what is known about its nodes and edges, and which nodes are for what."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from torch import Tensor

from mpnn.datasets.errors import DataError as DataError
from mpnn.datasets.features import degree_one_hot
from mpnn.files import free_memory
from mpnn.graph.graph import Graph

MASKS = ("train_mask", "val_mask", "test_mask")
DERIVED = ("x", "nodes")
OF_EDGES = ("edge_attr", "edge_y")


def damage(path: Path, error: Exception) -> DataError:
    """The error of a file whose content cannot be used, from what was found wrong with it."""
    said = in_a_line(error)
    if said.startswith(str(path)):
        return DataError(said)
    return DataError(f"{path} is damaged or of another format: {said}")


MOST_DECLARED = 1 << 20  # that a file of any size may declare
PER_BYTE = 64  # that a file may declare for each of its bytes


def check_declared(path: Path, count: int, what: str) -> None:
    """Refuse a file that declares far more than it holds: a list of these would take all memory.

    Raises:
        DataError: it declares more than a million, and more than 64 for each of its bytes.
    """
    size = path.stat().st_size
    if count > max(MOST_DECLARED, PER_BYTE * size):
        raise DataError(f"{path} declares {count:,} {what}, but holds only {size:,} bytes")


def check_dense(path: Path, rows: int, columns: int) -> None:
    """Refuse a matrix that, dense, would not fit into memory.

    Raises:
        DataError: it would not.
    """
    size, free = 8 * rows * columns, free_memory()
    if size > free:
        raise DataError(
            f"{path}: a matrix [{rows:,}, {columns:,}], dense as models take it, holds {size:,} bytes, but "
            f"only {free:,} bytes of memory are free"
        )


def classes_of(y: Tensor) -> int:
    """How many classes there are, from 0 to the highest that occurs.

    Raises:
        DataError: there are far fewer items, so that y is no number of a class.

    >>> classes_of(torch.tensor([0, 2, 1]))
    3
    """
    count = int(y.max()) + 1 if y.numel() else 0
    if count > max(MOST_CLASSES, y.numel()):
        raise DataError(
            f"y holds class {count - 1:,}, but there are {y.numel():,} items: number the classes from 0 on"
        )
    return count


MOST_CLASSES = 10_000  # of a data set with fewer items


@dataclass(frozen=True, eq=False, repr=False)
class NodeDataset:
    """One graph: classes, labels or numbers of its nodes, or of its edges.

    Args:
        name: what it is called in tables and pictures.
        graph: the edges; a graph made by `Graph.batch` is several graphs, some of them to train on.
        x: features `[num_nodes, channels]`.
        y: what is to be learned of the nodes: classes int64 `[num_nodes]`, or several labels each bool
            `[num_nodes, num_labels]`, or numbers floating point `[num_nodes, num_targets]`, or None.
        train_mask, val_mask, test_mask: bool `[num_nodes]`; a node is in one of them at most. All three are
            None if no split is published.
        class_names: the classes in the order of their numbers, the labels, or the targets.
        edge_attr: features of the edges `[num_edges, channels]`, or their weights `[num_edges]`, or None.
        edge_y: what is to be learned of the edges, in one of the forms of y, or None.
        edge_class_names: what its numbers or columns stand for.
        known: bool `[num_nodes]`: the nodes whose y is known, None for all; the others are in no part.
        node_names: what the nodes are called in their file; empty if they are called by their numbers.
        node_column: the column of your own table that holds these names, if one does.
        derived: what is known from the links alone: `"x"`, if the features are one-hot degrees, which
            `with_edges` derives anew, and `"nodes"`, if a node is there because a link names it.
        array: features that are no columns of a table, `[num_nodes, channels]`, which are the last ones of
            `x`; or None.
        table, edge_table: columns of your own table that `x` and `edge_attr` are made of, a row for each node
            or edge, or None; a run makes them anew, by what it is trained on.

    Raises:
        DataError: shapes, types or class numbers do not fit together.

    >>> from mpnn.datasets import load
    >>> load("karate")
    karate: 34 nodes, 156 edges, 34 features, 2 classes, 2/8/24 nodes to train/validate/test on
    """

    name: str
    graph: Graph
    x: Tensor
    y: Tensor | None = None
    train_mask: Tensor | None = None
    val_mask: Tensor | None = None
    test_mask: Tensor | None = None
    class_names: tuple[str, ...] = ()
    edge_attr: Tensor | None = None
    edge_y: Tensor | None = None
    edge_class_names: tuple[str, ...] = ()
    known: Tensor | None = None
    node_names: tuple[str, ...] = ()
    node_column: str | None = None
    derived: tuple[str, ...] = ()
    array: Tensor | None = None
    table: pd.DataFrame | None = None
    edge_table: pd.DataFrame | None = None

    def __post_init__(self) -> None:
        num_nodes, num_edges = self.graph.num_nodes, self.graph.num_edges
        check_features("x", self.x, num_nodes)
        if self.known is not None and (self.known.dtype != torch.bool or self.known.shape != (num_nodes,)):
            raise DataError(f"known is {kind_of(self.known)}, but should be torch.bool [{num_nodes}]")
        if self.array is not None:
            check_features("array", self.array, num_nodes)
        check_target("y", self.y, num_nodes, self.class_names, self.known)
        if self.edge_attr is not None:
            attr = self.edge_attr.unsqueeze(1) if self.weighted else self.edge_attr
            check_features("edge_attr", attr, num_edges)
        check_target("edge_y", self.edge_y, num_edges, self.edge_class_names)
        for name, table, rows in (
            ("table", self.table, num_nodes),
            ("edge_table", self.edge_table, num_edges),
        ):
            if table is not None and len(table) != rows:
                raise DataError(f"{name} has {len(table)} rows, but should have {rows}")
        if len(self.node_names) not in (0, num_nodes):
            raise DataError(f"node_names holds {len(self.node_names)} names, but should hold {num_nodes}")
        if not {*self.derived} <= {*DERIVED}:
            raise DataError(f"derived is {self.derived}, but should hold {' or '.join(map(repr, DERIVED))}")
        if any(getattr(self, name) is not None for name in MASKS):
            self._check_masks(num_nodes)

    def _check_masks(self, num_nodes: int) -> None:
        taken = torch.zeros(num_nodes, dtype=torch.int64, device=self.x.device)
        for name in MASKS:
            mask: Tensor | None = getattr(self, name)
            if mask is None or mask.dtype != torch.bool or mask.shape != (num_nodes,):
                found = "None" if mask is None else kind_of(mask)
                raise DataError(f"{name} is {found}, but should be torch.bool [{num_nodes}]")
            if not mask.any():
                raise DataError(f"{name} selects no node, but should select at least one")
            taken += mask
        if (taken > 1).any():
            node = int((taken > 1).nonzero()[0])
            raise DataError(f"node {node} is in several of {', '.join(MASKS)}, but should be in at most one")

    @property
    def what(self) -> str:
        """What the data is, for sentences."""
        return "one graph"

    @property
    def num_nodes(self) -> int:
        """Number of nodes of the graph."""
        return self.graph.num_nodes

    @property
    def num_features(self) -> int:
        """Width of `x`."""
        return self.x.size(1)

    @property
    def weighted(self) -> bool:
        """Whether `edge_attr` is the weight of each edge."""
        return self.edge_attr is not None and self.edge_attr.dim() == 1

    @property
    def edge_dim(self) -> int | None:
        """Width of the edge features, None without."""
        return None if self.edge_attr is None or self.weighted else self.edge_attr.size(1)

    @property
    def num_classes(self) -> int:
        """Number of classes, which may be more than occur in `y`."""
        return len(self.class_names)

    def with_edges(self, edges: Tensor) -> NodeDataset:
        """The same nodes with some of the edges; features that are degrees are those of this graph.

        Args:
            edges: positions of the edges to keep, int64 `[num_kept]`.
        """
        graph = self.graph.edge_subgraph(edges)
        kept: dict[str, Any] = {
            name: value[edges] for name in OF_EDGES if (value := getattr(self, name)) is not None
        }
        if "x" in self.derived:
            kept["x"] = degree_one_hot(graph.in_degree)
        if self.edge_table is not None:
            kept["edge_table"] = self.edge_table.iloc[edges.tolist()]
        return replace(self, graph=graph, **kept)

    def with_nodes(self, nodes: Tensor) -> NodeDataset:
        """Some of the nodes in the order given, and the edges among them; features stay as they are.

        Args:
            nodes: positions of the nodes to keep, int64 `[num_kept]`.
        """
        graph, edges = self.graph.subgraph(nodes)
        kept: dict[str, Any] = {
            field.name: value[edges if field.name in OF_EDGES else nodes]
            for field in fields(self)
            if isinstance(value := getattr(self, field.name), Tensor)
        }
        if self.node_names:
            kept["node_names"] = tuple(self.node_names[node] for node in nodes.tolist())
        for name, rows in (("table", nodes), ("edge_table", edges)):
            if (table := getattr(self, name)) is not None:
                kept[name] = table.iloc[rows.tolist()]
        return replace(self, graph=graph, **kept)

    def to(self, device: torch.device | str) -> NodeDataset:
        """Copy on another device."""
        tensors = {
            field.name: getattr(self, field.name).to(device)
            for field in fields(self)
            if isinstance(getattr(self, field.name), Tensor | Graph)
        }
        return replace(self, **tensors)

    def __repr__(self) -> str:
        parts = [
            f"{self.name}: {self.num_nodes} nodes"
            + (f" in {self.graph.num_graphs} graphs" if self.graph.num_graphs > 1 else ""),
            f"{self.graph.num_edges} edges",
            f"{self.num_features} features",
        ]
        if self.y is not None:
            parts.append(wanted(self.y, self.class_names))
        if self.edge_y is not None:
            parts.append(f"{wanted(self.edge_y, self.edge_class_names)} of edges")
        if self.train_mask is not None:
            split = "/".join(str(int(getattr(self, name).sum())) for name in MASKS)
            parts.append(f"{split} nodes to train/validate/test on")
        return ", ".join(parts)


def check_features(name: str, x: Tensor, rows: int) -> None:
    """Raise DataError unless x is floating point `[rows, channels]`."""
    if x.dim() != 2 or x.size(0) != rows or not x.is_floating_point():
        raise DataError(f"{name} is {kind_of(x)}, but should be floating point [{rows}, channels]")


def check_target(
    name: str, y: Tensor | None, rows: int, names: tuple[str, ...], known: Tensor | None = None
) -> None:
    """Raise DataError unless y is classes, labels or numbers, with a name for each class or column.

    Where y is not known, it may be anything.
    """
    if y is None:
        return
    if y.dim() == 2 and y.size(0) == rows and (y.dtype == torch.bool or y.is_floating_point()):
        if y.size(1) != len(names):
            raise DataError(f"{name} has {y.size(1)} columns, but there are {len(names)} names for them")
        bad = ~y.isfinite().all(dim=1) if known is None else known & ~y.isfinite().all(dim=1)
        if bad.any():
            row = int(bad.nonzero()[0])
            raise DataError(f"{name}[{row}] is {y[row].tolist()}, but should be finite")
        return
    if y.dtype != torch.int64 or y.shape != (rows,):
        raise DataError(
            f"{name} is {kind_of(y)}, but should be torch.int64 [{rows}], or torch.bool [{rows}, labels], or "
            f"floating point [{rows}, targets]"
        )
    outside = (y < 0) | (y >= len(names))
    wrong = (outside if known is None else outside & known).nonzero()
    if wrong.numel():
        row, last = int(wrong[0]), len(names) - 1
        raise DataError(f"{name}[{row}] is {int(y[row])}, but should be a class, 0..{last}")


def wanted(y: Tensor, names: tuple[str, ...]) -> str:
    """How many classes, labels or targets there are, for sentences."""
    one, many = ("class", "classes") if y.dim() == 1 else ("label", "labels")
    if y.is_floating_point():
        one, many = "target", "targets"
    return f"{len(names)} {one if len(names) == 1 else many}"


def row_normalise(x: Tensor) -> Tensor:
    """Divide every row by its sum, as the papers on citation graphs do; a row of zeros stays as it is.

    >>> row_normalise(torch.tensor([[1.0, 1.0], [0.0, 0.0]]))
    tensor([[0.5000, 0.5000],
            [0.0000, 0.0000]])
    """
    total = x.sum(dim=1, keepdim=True)
    return x / torch.where(total == 0, torch.ones_like(total), total)


def in_a_line(error: BaseException) -> str:
    r"""What another library says of a damaged file, as the end of a sentence.

    >>> in_a_line(ValueError("bad magic.\nThis is an internal error. Call us."))
    'bad magic'
    """
    said = str(error.args[0]) if isinstance(error, KeyError) and error.args else str(error)
    first = said.strip().split("\n")[0].split(". ")[0]
    return first.strip(" .:") or type(error).__name__


def kind_of(tensor: Tensor) -> str:
    """Type and shape, for sentences."""
    return f"{tensor.dtype} {list(tensor.shape)}"
