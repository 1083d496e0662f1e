"""The last graphs of a model, found again by their edges where the tensor that holds these is made anew."""

from __future__ import annotations

from collections import deque
from collections.abc import Hashable

import torch
from torch import Tensor

from mpnn.graph.adjacency import as_graph
from mpnn.graph.contents import OfTensors, contents
from mpnn.graph.graph import Graph, Size


class Recent:
    """As many graphs as a model has layers, say.

    A layer that adds self loops makes its edges at every call, and every such layer makes the same ones.
    Copies and pickles are empty.
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


class Seen:
    """Tensors of indices that were found right, for so many rows, as long as they live and nobody writes.

    A look at a tensor on a GPU has the host wait.
    """

    def __init__(self) -> None:
        self._known: OfTensors[int] = OfTensors()

    def knows(self, index: Tensor, num_rows: int) -> bool:
        """Whether a tensor was noted, and has not changed."""
        if not isinstance(index, Tensor) or index.is_inference():  # such a tensor counts no versions
            return False
        return self._known.get(index) == num_rows

    def note(self, index: Tensor, num_rows: int) -> None:
        """The tensor is right as it is."""
        if not index.is_inference():
            self._known.keep(index, num_rows)


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
