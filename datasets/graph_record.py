"""One immutable record: many graphs, the features of their nodes and edges, what is to be learned of each."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from mpnn.datasets.record import DataError, check_features, check_target, wanted
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

    Raises:
        DataError: shapes, types or class numbers do not fit together.
    """

    name: str
    graphs: tuple[Graph, ...]
    x: tuple[Tensor, ...]
    y: Tensor
    class_names: tuple[str, ...]
    edge_attr: tuple[Tensor, ...] | None = None

    def __post_init__(self) -> None:
        if not self.graphs:
            raise DataError("graphs is empty, but should hold at least one graph")
        check_target("y", self.y, len(self.graphs), self.class_names)
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
        )

    def __repr__(self) -> str:
        nodes = sum(graph.num_nodes for graph in self.graphs) / self.num_graphs
        edges = sum(graph.num_edges for graph in self.graphs) / self.num_graphs
        return (
            f"{self.name}: {self.num_graphs} graphs of {nodes:.1f} nodes and {edges:.1f} edges on average, "
            f"{self.num_features} features, {wanted(self.y, self.class_names)}"
        )
