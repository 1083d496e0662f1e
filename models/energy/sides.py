"""Which edges a machine of two sides has."""

from __future__ import annotations

import torch

from mpnn import Graph
from mpnn.graph.adjacency import Topology, as_graph


def between(graph: Topology, num_visible: int, num_hidden: int) -> Graph:
    """The edges from visible to hidden units, of any form in which a graph may be given.

    Args:
        graph: `bipartite` of size `(num_visible, num_hidden)`; an edge_index from visible to hidden units; or
            a graph of all units, the visible ones first, that holds each pair in both directions.
        num_visible: the number of visible units.
        num_hidden: that of hidden units.

    Raises:
        ValueError: an edge inside one side, or without its reverse, or a graph of another size.
    """
    if not isinstance(graph, Graph):
        return as_graph(graph, (num_visible, num_hidden))
    if graph.is_bipartite:
        if graph.size != (num_visible, num_hidden):
            raise ValueError(
                f"graph has size {graph.size}, but must be (num_visible, num_hidden) = "
                f"{(num_visible, num_hidden)}."
            )
        return graph
    if graph.num_nodes != num_visible + num_hidden:
        raise ValueError(
            f"graph has {graph.num_nodes} nodes, but there are {num_visible} visible and {num_hidden} hidden "
            "units."
        )
    src, dst = graph.edge_index
    inside = ((src < num_visible) == (dst < num_visible)).nonzero()
    if inside.numel():
        j, i = graph.edge_index[:, inside[0, 0]].tolist()
        side = "visible" if j < num_visible else "hidden"
        raise ValueError(f"graph is not bipartite: the edge {j} -> {i} lies between two {side} units.")
    up = src < num_visible
    pairs = [torch.stack([src[up], dst[up]]), torch.stack([dst[~up], src[~up]])]
    there, back = (torch.unique(p, dim=1) for p in pairs)
    if not torch.equal(there, back):
        raise ValueError("graph has an edge between a visible and a hidden unit without its reverse.")
    return Graph(torch.stack([src[up], dst[up] - num_visible]), (num_visible, num_hidden))
