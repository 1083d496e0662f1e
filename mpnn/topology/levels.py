"""The order in which a directed acyclic graph is computed: level by level, each level at once."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from mpnn.graph.csr import compress
from mpnn.graph.graph import Graph
from mpnn.topology.cycle import show_cycle
from mpnn.topology.implicit import Implicit

Integers = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Levels:
    """The nodes of a graph, sorted so that every edge leads from a lower level to a higher one.

    Level k holds the nodes `nodes[node_ptr[k] : node_ptr[k + 1]]` and, entering them, the edges
    `edges[edge_ptr[k] : edge_ptr[k + 1]]`, sorted by destination in the order of `nodes`, and within one
    destination as in the graph. The pointers are numbers on the host, ready to slice with.

    Shapes: level, nodes `[num_nodes]`, edges `[num_edges]`, pointers `[num_levels + 1]`.
    """

    level: Tensor  # of each node: edges on the longest path that ends there
    nodes: Tensor
    edges: Tensor
    node_ptr: tuple[int, ...]
    edge_ptr: tuple[int, ...]

    def __len__(self) -> int:
        return len(self.node_ptr) - 1

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        """The nodes of each level, and the edges that enter them."""
        for k in range(len(self)):
            nodes = self.nodes[self.node_ptr[k] : self.node_ptr[k + 1]]
            yield nodes, self.edges[self.edge_ptr[k] : self.edge_ptr[k + 1]]


def topological_levels(graph: Graph) -> Levels:
    """Sort a directed acyclic graph into levels; computed once per graph.

    The level of a node is the number of edges on the longest path that ends there, so that a node comes right
    after the last of those that send to it.

    Raises:
        ValueError: the graph is bipartite, or has a cycle, which the message shows.

    >>> levels = topological_levels(Graph(torch.tensor([[0, 0, 1, 3], [1, 2, 2, 2]])))
    >>> levels.level
    tensor([0, 1, 2, 0])
    >>> [(nodes.tolist(), edges.tolist()) for nodes, edges in levels]
    [([0, 3], []), ([1], [0]), ([2], [1, 2, 3])]
    """
    if graph.is_bipartite:
        raise ValueError(
            f"graph is bipartite {graph.size}, but only a graph with one set of nodes has topological levels."
        )
    return graph.memo("topological_levels", lambda: _group(graph, _node_level(graph)))


def _node_level(graph: Graph) -> Tensor:
    known = graph.node_level() if isinstance(graph, Implicit) else None
    return _longest_path(graph) if known is None else known


def _group(graph: Graph, level: Tensor) -> Levels:
    num_nodes, num_levels = graph.num_nodes, int(level.max()) + 1 if level.numel() else 0
    node = torch.arange(num_nodes, device=level.device)
    by_level = compress(level, node, num_levels, num_nodes)
    nodes = by_level.indices.long()
    place = torch.empty_like(nodes)
    place[nodes] = node
    by_place = compress(place[graph.dst], graph.src, num_nodes, num_nodes)
    edge_ptr = by_place.indptr[by_level.indptr.long()]
    return Levels(
        level, nodes, by_place.edge_ids.long(), tuple(by_level.indptr.tolist()), tuple(edge_ptr.tolist())
    )


def _longest_path(graph: Graph) -> Tensor:
    """Take away all nodes without predecessors, again and again (Kahn, 1962), a whole level at a time."""
    by_src = graph.by_src
    indptr, indices = by_src.indptr.cpu().numpy(), by_src.indices.cpu().numpy()
    num_waiting_for: Integers = graph.in_degree.cpu().numpy().copy()
    level = np.full(graph.num_nodes, -1)
    mark = np.empty(graph.num_nodes, dtype=np.int64)
    ready = np.flatnonzero(num_waiting_for == 0)
    current = 0
    while ready.size:
        level[ready] = current
        reached = indices[slots_of(indptr, ready)]
        np.subtract.at(num_waiting_for, reached, 1)
        free = reached[num_waiting_for[reached] == 0]
        # A node that several edges reach is listed several times: the last one to leave its mark stays.
        visit = np.arange(free.size)
        mark[free] = visit
        ready = free[mark[free] == visit]
        current += 1
    if (level < 0).any():
        raise ValueError(
            f"graph has a cycle, {_some_cycle(graph, level < 0)}, so it has no topological order."
        )
    return torch.from_numpy(level).to(graph.device)


def slots_of(indptr: Integers, rows: Integers) -> Integers:
    """The slots of some rows of a CSR, one row behind the other."""
    start, count = indptr[rows], indptr[rows + 1] - indptr[rows]
    end = np.cumsum(count)
    return np.repeat(start - end + count, count) + np.arange(end[-1] if end.size else 0)


def _some_cycle(graph: Graph, stuck: NDArray[np.bool_]) -> str:
    # Each node that could not be taken away receives from another such node: the way back ends in a cycle.
    src, dst = graph.edge_index.cpu().numpy()
    stays = stuck[src] & stuck[dst]
    back = np.full(graph.num_nodes, -1)
    back[dst[stays]] = src[stays]
    start = int(np.flatnonzero(stuck)[0])
    return show_cycle(back.tolist(), start, backwards=True)
