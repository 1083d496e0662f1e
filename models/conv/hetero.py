"""Wherever a layer for several types takes a `HeteroGraph`, it also takes PyG's `edge_index_dict`."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor

from mpnn import HeteroGraph
from mpnn.graph.hetero import EdgeType
from mpnn.models.parts.cache import Cache

HeteroTopology = HeteroGraph | Mapping[EdgeType, Tensor]


def as_hetero(graph: HeteroTopology, x_dict: Mapping[str, Tensor], cache: Cache) -> HeteroGraph:
    """A `HeteroGraph` as it is, or the one that tensors by edge type stand for.

    Args:
        graph: a `HeteroGraph`, or of edge types `[2, num_edges]`.
        x_dict: of node types `[num_nodes, channels]`.
        cache: of the layer, for the graph made of the last tensors.

    Raises:
        TypeError: x_dict or graph is none of that.
        ValueError, IndexError: what does not fit together, as `HeteroGraph` says it.
    """
    if not isinstance(x_dict, Mapping):
        raise TypeError(f"x_dict must be a dictionary by node type, got {type(x_dict).__name__}.")
    if isinstance(graph, HeteroGraph):
        graph.check_nodes(x_dict, "x_dict")
        return graph
    if not isinstance(graph, Mapping):
        raise TypeError(
            f"graph must be a HeteroGraph, or a dictionary of edge_index by edge type, got "
            f"{type(graph).__name__}."
        )
    sizes = {node_type: x.size(0) for node_type, x in x_dict.items()}
    edge_types = list(graph)
    made: HeteroGraph = cache(lambda: HeteroGraph(sizes, graph), *graph.values())
    if made.num_nodes_dict != sizes or made.edge_types != edge_types:
        cache.clear()
        made = cache(lambda: HeteroGraph(sizes, graph), *graph.values())
    return made
