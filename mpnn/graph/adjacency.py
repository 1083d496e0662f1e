"""Wherever a layer takes a `Graph`, it also takes PyG's `edge_index` tensor."""

from __future__ import annotations

import torch
from torch import Tensor

from mpnn.graph.contents import OfTensors
from mpnn.graph.graph import Graph, Size
from mpnn.graph.lifetime import outliving
from mpnn.native.reach import traced

Topology = Graph | Tensor

# The graphs made of an edge_index tensor, by what was asked for as their number of nodes. They hold a copy of
# it, or an alias, rather than the tensor itself, which would then never be freed.
_graphs: OfTensors[dict[object, Graph]] = OfTensors()
_NONE: dict[object, Graph] = {}


def as_graph(graph: Topology, num_nodes: int | Size | None = None) -> Graph:
    """A `Graph` as it is, or the one that an `edge_index` tensor stands for.

    The graph of a tensor is validated, sorted and normalised once: later calls with the same tensor get the
    same `Graph`, as long as the tensor holds the same. On the CPU any write is seen, also one through
    `edge_index.data` or a numpy array that shares the memory; on a GPU all but `edge_index.data[...] = v`.

    Args:
        graph: a `Graph`, or an integer tensor `[2, num_edges]`.
        num_nodes: the number of nodes, `(num_src, num_dst)` for a bipartite graph; checked against a `Graph`.

    Raises:
        ValueError: a `Graph` that has another number of nodes.
        TypeError, IndexError: as `Graph` itself.
    """
    if isinstance(graph, Graph):
        if num_nodes is not None:
            wanted = num_nodes if isinstance(num_nodes, tuple) else (num_nodes, num_nodes)
            if wanted != graph.size:
                raise ValueError(
                    f"the features are for {_sizes(wanted)}, but the graph has {_sizes(graph.size)}."
                )
        return graph
    if not isinstance(graph, Tensor) or torch.compiler.is_compiling() or graph.layout is not torch.strided:
        return Graph(graph, num_nodes)
    if not traced() and num_nodes in (found := _graphs.get(graph) or _NONE):
        return found[num_nodes]
    with outliving(graph):
        if traced():
            return Graph(graph, num_nodes)
        known = _known(graph)
        if num_nodes not in known:
            known[num_nodes] = Graph(graph.detach(), num_nodes)
        return known[num_nodes]


def graph_of(edge_index: Tensor, size: Size) -> Graph:
    """The graph that a compiled function means by an `edge_index` tensor."""
    return as_graph(edge_index, size[0] if size[0] == size[1] else size)


def keep_graph(edge_index: Tensor, graph: Graph) -> None:
    """Let a tensor stand for an existing graph, which has the same edges in other memory."""
    _known(edge_index)[graph.num_src if graph.num_src == graph.num_dst else graph.size] = graph


def _known(edge_index: Tensor) -> dict[object, Graph]:
    """The graphs of a tensor, by what was asked for as their number of nodes."""
    known = _graphs.get(edge_index)
    return _graphs.keep(edge_index, {}) if known is None else known


def _sizes(size: Size) -> str:
    return f"{size[0]} nodes" if size[0] == size[1] else f"{size[0]} source and {size[1]} destination nodes"
