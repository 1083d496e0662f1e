"""One immutable record: many graphs, the features of their nodes and edges, what is to be learned of each."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import pandas as pd
import torch
from torch import Tensor

from mpnn.datasets.record import DataError, check_features, check_target, kind_of, wanted
from mpnn.graph.graph import Graph


@dataclass(frozen=True, eq=False, repr=False)
class GraphDataset:
    """Many graphs, each with a class, several labels, or numbers.

    Args:
        name: what it is called in tables and pictures.
        graphs: the edges of each.
        x: features of each graph's nodes `[num_nodes, channels]`, equally wide in all.
        y: classes int64 `[num_graphs]`, or several labels each bool `[num_graphs, num_labels]`, or numbers
            floating point `[num_graphs, num_targets]`.
        class_names: the classes in the order of their numbers, the labels, or the targets.
        edge_attr: features of each graph's edges `[num_edges, channels]`, or their weights `[num_edges]`, or
            None.
        known: bool `[num_graphs]`: the graphs whose y is known, None for all; the others are in no part.
        graph_names: what the graphs are called in their file; empty if they are called by their numbers.
        derived: `("x",)` if the features are one-hot degrees.
        read_as: how a folder in the TU format was read, see `read_tu`; of tables the `edge_types` in the
            order of their numbers, if there are such.
        table, edge_table: columns of your own table that `x` and `edge_attr` are made of, a row for each node
            or edge of all graphs, or None; a run makes them anew, by what it is trained on.

    Raises:
        DataError: shapes, types or class numbers do not fit together.
    """

    name: str
    graphs: tuple[Graph, ...]
    x: tuple[Tensor, ...]
    y: Tensor
    class_names: tuple[str, ...]
    edge_attr: tuple[Tensor, ...] | None = None
    known: Tensor | None = None
    graph_names: tuple[str, ...] = ()
    derived: tuple[str, ...] = ()
    read_as: Mapping[str, Any] = field(default_factory=dict)
    table: pd.DataFrame | None = None
    edge_table: pd.DataFrame | None = None

    def __post_init__(self) -> None:
        if not self.graphs:
            raise DataError("graphs is empty, but should hold at least one graph")
        if self.known is not None and (self.known.dtype, self.known.shape) != (
            torch.bool,
            (len(self.graphs),),
        ):
            raise DataError(f"known is {kind_of(self.known)}, but should be torch.bool [{len(self.graphs)}]")
        check_target("y", self.y, len(self.graphs), self.class_names, self.known)
        if len(self.graph_names) not in (0, self.num_graphs):
            raise DataError(
                f"graph_names holds {len(self.graph_names)} names, but should hold {self.num_graphs}"
            )
        for name, table, rows in (
            ("table", self.table, sum(graph.num_nodes for graph in self.graphs)),
            ("edge_table", self.edge_table, sum(graph.num_edges for graph in self.graphs)),
        ):
            if table is not None and len(table) != rows:
                raise DataError(f"{name} has {len(table)} rows, but should have {rows}")
        self._check_parts("x", self.x, [graph.num_nodes for graph in self.graphs])
        if self.edge_attr is not None:
            attr = tuple(part.unsqueeze(1) for part in self.edge_attr) if self.weighted else self.edge_attr
            self._check_parts("edge_attr", attr, [graph.num_edges for graph in self.graphs])

    def _check_parts(self, name: str, parts: tuple[Tensor, ...], rows: list[int]) -> None:
        if len(parts) != len(rows):
            raise DataError(f"{name} is of {len(parts)} graphs, but should be of {len(rows)}")
        for number, (part, count) in enumerate(zip(parts, rows, strict=True)):
            check_features(f"{name}[{number}]", part, count)
            if part.size(1) != parts[0].size(1):
                raise DataError(
                    f"{name}[{number}] is {part.size(1)} wide, but {name}[0] is {parts[0].size(1)} wide"
                )

    @property
    def what(self) -> str:
        """What the data is, for sentences."""
        return f"{self.num_graphs} graphs"

    @property
    def num_graphs(self) -> int:
        """Number of graphs."""
        return len(self.graphs)

    @property
    def num_features(self) -> int:
        """Width of every `x`."""
        return self.x[0].size(1)

    @property
    def weighted(self) -> bool:
        """Whether `edge_attr` is the weight of each edge."""
        return self.edge_attr is not None and all(part.dim() == 1 for part in self.edge_attr)

    @property
    def edge_dim(self) -> int | None:
        """Width of the edge features, None without."""
        return None if self.edge_attr is None or self.weighted else self.edge_attr[0].size(1)

    def to(self, device: torch.device | str) -> GraphDataset:
        """Copy on another device."""
        return replace(
            self,
            graphs=tuple(graph.to(device) for graph in self.graphs),
            x=tuple(x.to(device) for x in self.x),
            y=self.y.to(device),
            edge_attr=None if self.edge_attr is None else tuple(part.to(device) for part in self.edge_attr),
            known=None if self.known is None else self.known.to(device),
        )

    def with_graphs(self, graphs: Tensor) -> GraphDataset:
        """Some of the graphs in the order given.

        Args:
            graphs: positions of the graphs to keep, int64 `[num_kept]`.
        """
        chosen, kept = graphs.tolist(), dict[str, Any]()
        for name, of in (("table", "num_nodes"), ("edge_table", "num_edges")):
            if (table := getattr(self, name)) is not None:
                sizes = torch.tensor([getattr(graph, of) for graph in self.graphs])
                rows = torch.split(torch.arange(len(table)), sizes.tolist())
                kept[name] = table.iloc[torch.cat([rows[k] for k in chosen]).tolist()]
        for name in ("graphs", "x", "edge_attr", "graph_names"):
            if parts := getattr(self, name):
                kept[name] = tuple(parts[k] for k in chosen)
        known = None if self.known is None else self.known[graphs]
        return replace(self, y=self.y[graphs], known=known, **kept)

    def __repr__(self) -> str:
        nodes = sum(graph.num_nodes for graph in self.graphs) / self.num_graphs
        edges = sum(graph.num_edges for graph in self.graphs) / self.num_graphs
        return (
            f"{self.name}: {self.num_graphs} graphs of {nodes:.1f} nodes and {edges:.1f} edges on average, "
            f"{self.num_features} features, {wanted(self.y, self.class_names)}"
        )
