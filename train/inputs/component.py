"""The largest part of a graph in which every node is reached from every other."""

from __future__ import annotations

from dataclasses import fields, replace
from typing import Any

import torch
from scipy.sparse.csgraph import connected_components
from torch import Tensor

from mpnn.datasets import NodeDataset


def largest_component(data: NodeDataset) -> NodeDataset:
    """Return the data of the largest connected component, its nodes in the same order.

    Edges are followed both ways. Of several components of that size the one with the lowest node is taken.

    >>> from mpnn.datasets import load
    >>> largest_component(load("karate")).num_nodes
    34
    """
    _, owner = connected_components(data.graph.to_scipy(), directed=True, connection="weak")
    component = torch.from_numpy(owner).to(data.x.device)
    nodes = (component == component.bincount().argmax()).nonzero().flatten()
    graph, edges = data.graph.subgraph(nodes)
    of_nodes = ("x", "y", "train_mask", "val_mask", "test_mask", "known")
    kept: dict[str, Any] = {
        field.name: value[nodes if field.name in of_nodes else edges]
        for field in fields(data)
        if isinstance(value := getattr(data, field.name), Tensor)
    }
    if data.node_names:
        kept["node_names"] = tuple(data.node_names[node] for node in nodes.tolist())
    return replace(data, graph=graph, **kept)
