"""Small data sets that a model learns in a second."""

from __future__ import annotations

import torch

from mpnn import Graph
from mpnn.datasets import GraphDataset, NodeDataset


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


def two_blocks(size: int = 30) -> NodeDataset:
    """A graph of two dense blocks with some edges between them, whose edges are to be told apart."""
    generator = torch.Generator().manual_seed(4)
    block = torch.arange(2 * size) // size
    chance = torch.where(block[:, None] == block[None, :], 0.3, 0.05)
    linked = (torch.rand(2 * size, 2 * size, generator=generator) < chance).triu(1)
    edge_index = (linked | linked.T).nonzero().T.contiguous()
    within = (block[edge_index[0]] == block[edge_index[1]]).long()
    noise = torch.randn(2 * size, 4, generator=generator)
    return NodeDataset(
        name="blocks",
        graph=Graph(edge_index, 2 * size),
        x=torch.cat([torch.nn.functional.one_hot(block).float(), noise], dim=1),
        edge_attr=torch.ones(edge_index.size(1), 2),
        edge_y=within,
        edge_class_names=("between", "within"),
    )
