"""The last graphs of a model, found again by their edges where the tensor that holds these is made anew."""

from __future__ import annotations

from collections import deque
from collections.abc import Hashable

import torch
from torch import Tensor

from mpnn.graph.adjacency import as_graph
from mpnn.graph.contents import contents
from mpnn.graph.graph import Graph, Size


class Recent:
    """The last graphs, at most as many as a model has layers, found by what their `edge_index` holds.

    A layer that adds self loops makes its edges at every call, and every such layer makes the same ones. A
    graph is dropped when `most` newer ones have come. Copies and pickles are empty.
    """

    def __init__(self, most: int) -> None:
        self._known: deque[tuple[Tensor, Hashable, int | Size | None, Graph]] = deque(maxlen=most)

    def graph(self, edge_index: Tensor, num_nodes: int | Size | None = None) -> Graph:
        """`as_graph(edge_index, num_nodes)`, or a graph with the same edges and nodes from before."""
        if edge_index.is_inference():  # such a tensor counts no versions
            return as_graph(edge_index, num_nodes)
        held = contents(edge_index)
        for known, known_held, known_nodes, graph in tuple(self._known):
            if known_nodes == num_nodes and (known_held == held or _equal(known, known_held, edge_index)):
                return graph
        graph = as_graph(edge_index, num_nodes)
        self._known.append((edge_index, held, num_nodes, graph))
        return graph

    def __reduce__(self) -> tuple[type[Recent], tuple[int]]:
        return Recent, (self._known.maxlen or 0,)


def _equal(known: Tensor, known_held: Hashable, edge_index: Tensor) -> bool:
    """Whether edges on another device, where a tensor's contents are no more than its place, are the same."""
    if known.is_cpu or contents(known) != known_held:
        return False
    alike = (known.shape, known.dtype, known.device) == (
        edge_index.shape,
        edge_index.dtype,
        edge_index.device,
    )
    return alike and torch.equal(known, edge_index)
