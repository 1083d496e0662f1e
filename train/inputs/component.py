"""The largest part of a graph in which every node is reached from every other."""

from __future__ import annotations

import torch
from scipy.sparse.csgraph import connected_components
from torch import Tensor

from mpnn import Graph
from mpnn.datasets import NodeDataset


def largest_component(data: NodeDataset) -> NodeDataset:
    """Return the data of the largest connected component, its nodes in the same order.

    Edges are followed both ways. Of several components of that size the one with the lowest node is taken.

    >>> from mpnn.datasets import load
    >>> largest_component(load("karate")).num_nodes
    34
    """
    return data.with_nodes(component_nodes(data.graph))


def component_nodes(graph: Graph) -> Tensor:
    """Positions of the nodes of the largest connected component, int64 `[num_kept]`."""
    _, owner = connected_components(graph.to_scipy(), directed=True, connection="weak")
    component = torch.from_numpy(owner).to(graph.device)
    return (component == component.bincount().argmax()).nonzero().flatten()
