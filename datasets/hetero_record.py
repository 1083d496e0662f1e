"""A graph with several types of nodes and edges, as files hold it: names, and columns as features."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import torch
from torch import Tensor

from mpnn import HeteroGraph
from mpnn.datasets.record import DataError
from mpnn.graph.hetero import EdgeType


@dataclass(frozen=True)
class HeteroTables:
    """A typed graph, and what its files say of nodes and edges.

    Args:
        graph: the topology.
        names: of each node type, what its nodes are called, in their order.
        x: of the node types with further columns `[num_nodes, channels]`.
        edge_attr: of the edge types with further columns `[num_edges, channels]`.
    """

    graph: HeteroGraph
    names: Mapping[str, Sequence[str]]
    x: Mapping[str, Tensor] = field(default_factory=dict)
    edge_attr: Mapping[EdgeType, Tensor] = field(default_factory=dict)

    def check(self) -> None:
        """Raise DataError unless every node has a name of its own within its type."""
        for node_type, count in self.graph.num_nodes_dict.items():
            names = self.names.get(node_type, ())
            if len(names) != count or len(set(names)) != count:
                raise DataError(
                    f"names[{node_type!r}] holds {len(set(names))} different names, but there are {count} "
                    "nodes of that type"
                )


class Names:
    """The nodes of each type in the order in which they are met."""

    def __init__(self) -> None:
        self._numbers: dict[str, dict[str, int]] = {}

    def number(self, node_type: str, name: str) -> int:
        """The number of a node within its type; a new one's is the next."""
        known = self._numbers.setdefault(node_type, {})
        return known.setdefault(name, len(known))

    def names(self) -> dict[str, list[str]]:
        """Of each type the names of its nodes."""
        return {node_type: list(known) for node_type, known in self._numbers.items()}


def edge_tensor(ends: Sequence[tuple[int, int]]) -> Tensor:
    """`[2, num_edges]` of pairs (source, destination)."""
    return torch.tensor(ends, dtype=torch.int64).reshape(-1, 2).t().contiguous()


def as_path(path: str | Path) -> Path:
    """A path from its name."""
    if not isinstance(path, str | Path):
        raise DataError(f"path must be the name of a file, got {type(path).__name__}")
    return Path(path)
