"""Named edges become a graph: each edge once, in both directions unless it is directed."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from mpnn.datasets.own.columns import Columns
from mpnn.datasets.own.edge_list import EdgeList
from mpnn.datasets.record import DataError
from mpnn.graph.distinct import first_of_each
from mpnn.graph.graph import Graph


class Connected(NamedTuple):
    """A graph, and for each of its edges the one of the file that it stands for, int64 `[num_edges]`."""

    graph: Graph
    rows: Tensor


def connect(
    path: Path,
    edges: EdgeList,
    names: list[str],
    columns: Columns,
    sizes: Sequence[int] | None = None,
    features: Tensor | None = None,
) -> Connected:
    """Make the graph of the edges of a file.

    A file may list an edge in both directions or in one: of equal edges the first is kept.

    Args:
        path: the file, for sentences.
        edges: what it says.
        names: the nodes in the order of the graph.
        columns: whether edges are directed, and what `graph_id` is, for sentences.
        sizes: how many nodes each of several graphs has, or None for one graph.
        features: of the edges of the file, `[count, channels]`, or their weights, or None.

    Raises:
        DataError: an edge ends at an unknown node or in another graph, or equal edges say different things.
    """
    edge_index = _numbered(path, edges, names)
    if sizes is not None:
        _check_within(path, edges, names, edge_index, columns.graph_id, sizes)
    count = max(edge_index.size(1), 1)
    if not columns.directed:
        edge_index = torch.cat([edge_index, edge_index.flip(0)], dim=1)
    kinds = None if edges.kinds is None else edges.kinds.y.repeat(1 if columns.directed else 2)
    num_kinds = 1 if edges.kinds is None else len(edges.kinds.names)
    first, original = each_once(edge_index, len(names), kinds, num_kinds)
    _check_equal(path, edges, features, names, edge_index, original, count)
    graph = Graph(
        edge_index[:, first].contiguous(),
        len(names),
        None if kinds is None else kinds[first],
        num_edge_types=None if kinds is None else num_kinds,
    )
    if sizes is not None:
        graph = graph.as_batch([(size, size) for size in sizes])
    return Connected(graph, first % count)


def each_once(
    edge_index: Tensor, num_nodes: int, kinds: Tensor | None, num_kinds: int
) -> tuple[Tensor, Tensor]:
    """Of edges with equal ends and types the first, in the file's order; and for each edge its first."""
    columns, sizes = [*edge_index], [num_nodes, num_nodes]
    if kinds is not None:  # edges of different types are different edges
        columns, sizes = [*columns, kinds], [*sizes, num_kinds]
    first, which = first_of_each(columns, sizes)
    return first.sort().values, first[which]


def _numbered(path: Path, edges: EdgeList, names: list[str]) -> Tensor:
    """Names of nodes become their numbers, `[2, num_edges]`."""
    listed = edges.ends
    if isinstance(listed, np.ndarray):
        if names is edges.names:
            return torch.from_numpy(listed)
        listed = [(edges.names[i], edges.names[j]) for i, j in listed.T.tolist()]
    number = {name: k for k, name in enumerate(names)}
    found = []
    for k, ends in enumerate(listed):
        for name in ends:
            if name not in number:
                raise DataError(f"{path}{edges.line(k)}: node {name!r} is not in the table of nodes")
        found.append([number[name] for name in ends])
    return torch.tensor(found, dtype=torch.int64).reshape(-1, 2).T.contiguous()


def _check_within(
    path: Path,
    edges: EdgeList,
    names: list[str],
    edge_index: Tensor,
    graph_id: str | None,
    sizes: Sequence[int],
) -> None:
    """Edges should not go from one of several graphs to another."""
    owner = torch.arange(len(sizes)).repeat_interleave(torch.tensor(sizes))
    leaves = (owner[edge_index[0]] != owner[edge_index[1]]).nonzero()
    if len(leaves):
        k = int(leaves[0])
        i, j = (names[node] for node in edge_index[:, k].tolist())
        raise DataError(
            f"{path}{edges.line(k)}: the edge {i} - {j} goes from one {graph_id} to another, but graph_id is "
            f"{graph_id!r}, so it should stay within one"
        )


def _check_equal(
    path: Path,
    edges: EdgeList,
    features: Tensor | None,
    names: list[str],
    edge_index: Tensor,
    first: Tensor,
    count: int,
) -> None:
    """Edges between the same nodes should say the same; `first` is the first of those equal to each."""
    values = {"features": features, "answers": None if edges.answers is None else edges.answers.y}
    for what, value in values.items():
        if value is None:
            continue
        row = torch.arange(len(first)) % count
        differs = (value[row] != value[first % count]).reshape(len(row), -1).any(dim=1)
        if differs.any():
            k = int(differs.nonzero()[0])
            rows = sorted((k % count, int(first[k]) % count))
            earlier, later = (edges.line(row) for row in rows)
            i, j = (names[node] for node in edge_index[:, k].tolist())
            raise DataError(
                f"{path}{later}: the edge {i} - {j} is there already{earlier and ', in' + earlier}, with "
                f"other {what}: keep one of them, or let edges be directed if they go two ways"
            )
