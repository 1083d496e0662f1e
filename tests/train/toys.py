"""Small data sets that a model learns in a second."""

from __future__ import annotations

import torch

from mpnn import Graph
from mpnn.datasets import GraphDataset


def rings_and_stars(count: int = 60) -> GraphDataset:
    """Graphs to tell apart by their shape alone."""
    graphs = []
    for number in range(count):
        size = 4 + number // 2 % 5
        nodes = torch.arange(size)
        ends = torch.stack([nodes, (nodes + 1) % size] if number % 2 else [nodes[1:], 0 * nodes[1:]])
        graphs.append(Graph(torch.cat([ends, ends.flip(0)], dim=1), size))
    return GraphDataset(
        name="toy",
        graphs=tuple(graphs),
        x=tuple(torch.ones(graph.num_nodes, 1) for graph in graphs),
        y=torch.arange(count) % 2,
        class_names=("star", "ring"),
        edge_attr=tuple(torch.ones(graph.num_edges, 2) for graph in graphs),
    )
