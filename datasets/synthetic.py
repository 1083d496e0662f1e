"""Data sets that are drawn from a seed: they need no files, and the right answers are computed."""

from __future__ import annotations

import networkx as nx
import torch
import torch.nn.functional as F
from torch import Tensor

from mpnn.datasets.features import degree_one_hot
from mpnn.datasets.graph_record import GraphDataset
from mpnn.datasets.record import NodeDataset
from mpnn.graph.checks import as_int
from mpnn.graph.graph import Graph


def load_sbm(
    blocks: int = 3, size: int = 100, within: float = 0.08, between: float = 0.01, seed: int = 0
) -> NodeDataset:
    """Draw a stochastic block model (Holland et al., 1983): nodes of a block are linked more often.

    Features are the block, one-hot, plus noise twice as large. The classes of the nodes are their blocks,
    the class of an edge is whether it stays within a block.

    >>> load_sbm(blocks=2, size=10).class_names
    ('block 0', 'block 1')
    """
    generator = torch.Generator().manual_seed(as_int("seed", seed))
    y = torch.arange(blocks * size) // size
    chance = torch.where(y[:, None] == y[None, :], within, between)
    upper = (torch.rand(chance.shape, generator=generator) < chance).triu(1)
    edge_index = (upper | upper.T).nonzero().T.contiguous()
    noise = 2 * torch.randn(len(y), blocks, generator=generator)
    return NodeDataset(
        name="sbm",
        graph=Graph(edge_index, len(y)),
        x=F.one_hot(y, blocks) + noise,
        y=y,
        class_names=tuple(f"block {number}" for number in range(blocks)),
        edge_y=(y[edge_index[0]] == y[edge_index[1]]).long(),
        edge_class_names=("between", "within"),
    )


def load_grid(rows: int = 20, columns: int = 20, seed: int = 0) -> NodeDataset:
    """Return a grid whose nodes have a random number each; the mean of its neighbours' is to be predicted.

    >>> load_grid(2, 2).graph.num_edges
    8
    """
    graph = Graph(
        _both_ways(nx.convert_node_labels_to_integers(nx.grid_2d_graph(rows, columns))), rows * columns
    )
    x = torch.randn(graph.num_nodes, 1, generator=torch.Generator().manual_seed(as_int("seed", seed)))
    received = torch.zeros_like(x).index_add_(0, graph.dst, x[graph.src])
    y = received / graph.in_degree.clamp(min=1)[:, None]
    return NodeDataset(name="grid", graph=graph, x=x, y=y, class_names=("mean of the neighbours",))


def load_crowds(count: int = 24, seed: int = 0) -> NodeDataset:
    """Draw 24 random graphs of 40 to 60 nodes, which have several labels each by their neighbours' features.

    Label k is there if the mean of feature k over the neighbours is above 0. As in the PPI data of Hamilton
    et al. (2017), 20 graphs are to train, 2 to validate and 2 to test on.

    >>> load_crowds(count=6).graph.num_graphs
    6
    """
    generator = torch.Generator().manual_seed(as_int("seed", seed))
    graphs = []
    for _ in range(count):
        size = int(torch.randint(40, 61, (), generator=generator))
        linked = (torch.rand(size, size, generator=generator) < 0.12).triu(1)
        graphs.append(Graph((linked | linked.T).nonzero().T.contiguous(), size))
    graph = Graph.batch(graphs)
    x = torch.randn(graph.num_nodes, 4, generator=generator)
    received = torch.zeros_like(x).index_add_(0, graph.dst, x[graph.src])
    place = graph.graph_index
    return NodeDataset(
        name="crowds",
        graph=graph,
        x=x,
        y=received > 0,
        class_names=tuple(f"feature {k}" for k in range(4)),
        train_mask=place < count - 4,
        val_mask=(place >= count - 4) & (place < count - 2),
        test_mask=place >= count - 2,
    )


def load_trees(count: int = 200, seed: int = 0) -> GraphDataset:
    """Draw random trees of 8 to 20 nodes (Prüfer codes), whose number of leaves is to be predicted."""
    trees = _random_trees(count, seed)
    leaves = torch.tensor([[sum(1.0 for _, degree in tree.degree if degree == 1)] for tree in trees])
    return _with_degrees("trees", trees, leaves, ("leaves",))


def load_cycles(count: int = 200, seed: int = 0) -> GraphDataset:
    """Draw random trees; an edge more closes a cycle in every second one, which is its class."""
    trees = _random_trees(count, seed)
    y = torch.arange(count) % 2
    generator = torch.Generator().manual_seed(as_int("seed", seed))
    for tree, closed in zip(trees, y.tolist(), strict=True):
        if closed:
            free = list(nx.non_edges(tree))
            tree.add_edge(*free[int(torch.randint(len(free), (), generator=generator))])
    return _with_degrees("cycles", trees, y, ("tree", "cycle"))


def _random_trees(count: int, seed: int) -> list[nx.Graph]:
    generator = torch.Generator().manual_seed(as_int("seed", seed))
    trees = []
    for _ in range(count):
        size = int(torch.randint(8, 21, (), generator=generator))
        code = torch.randint(size, (size - 2,), generator=generator)
        trees.append(nx.from_prufer_sequence(code.tolist()))
    return trees


def _with_degrees(name: str, graphs: list[nx.Graph], y: Tensor, class_names: tuple[str, ...]) -> GraphDataset:
    ours = tuple(Graph(_both_ways(graph), graph.number_of_nodes()) for graph in graphs)
    highest = max(int(graph.in_degree.max()) for graph in ours)
    x = tuple(degree_one_hot(graph.in_degree, highest) for graph in ours)
    return GraphDataset(name=name, graphs=ours, x=x, y=y, class_names=class_names)


def _both_ways(graph: nx.Graph) -> Tensor:
    ends = torch.tensor(list(graph.edges())).T
    return torch.cat([ends, ends.flip(0)], dim=1)
