"""Colours for nodes, so that neighbours have others: then all nodes of a colour may be updated at once."""

from __future__ import annotations

import networkx as nx
import torch
from torch import Tensor

from mpnn.graph.graph import Graph


def colouring(graph: Graph) -> Tensor:
    """A colour for each node, `[num_nodes]` int64 from 0; nodes that an edge joins have different ones.

    By networkx's greedy colouring, the nodes with most neighbours first: two colours on a tree and on a
    lattice of even sides, at most one more than the highest degree on any graph. Self loops do not count.

    Raises:
        ValueError: the graph is bipartite in the sense of two sets of nodes.

    >>> from mpnn import topology
    >>> topology.colouring(topology.lattice(4)).tolist()
    [1, 0, 1, 0]
    """
    graph.require_one_node_set("colouring()")
    known: Tensor = graph.memo("colouring", lambda: _coloured(graph))
    return known


def _coloured(graph: Graph) -> Tensor:
    plain = nx.Graph()
    plain.add_nodes_from(range(graph.num_nodes))
    plain.add_edges_from((i, j) for i, j in graph.edge_index.T.tolist() if i != j)
    strategy = "DSATUR" if graph.num_nodes <= DSATUR else "largest_first"
    found = nx.bipartite.color(plain) if nx.is_bipartite(plain) else nx.greedy_color(plain, strategy)
    return torch.tensor([found[node] for node in range(graph.num_nodes)], device=graph.device)


DSATUR = 2000  # nodes up to which the better, slower order is taken
