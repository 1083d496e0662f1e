"""Wherever an integer is asked for, numpy's is taken as Python's is."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

import mpnn
from mpnn import Graph, as_graph, topology
from mpnn.datasets import synthetic
from mpnn.models import Node2Vec, SkipGram
from tests.core.graphs import random_graph

GRAPH = random_graph()
EDGES, TYPES, SEEDS = GRAPH.edge_index, torch.zeros(GRAPH.num_edges, dtype=torch.int64), torch.arange(4)


def edges(graph: Graph) -> Tensor:
    return torch.cat([graph.edge_index.flatten(), torch.tensor(graph.size)])


def parameters(model: torch.nn.Module) -> Tensor:
    return torch.cat([value.flatten().double() for value in model.state_dict().values()])


def first_windows(batch_size: Any) -> Tensor:
    torch.manual_seed(0)
    model = Node2Vec(GRAPH, 3, walk_length=4, context_size=2)
    return torch.cat(next(iter(model.loader(batch_size=batch_size))))


ASKED: dict[str, tuple[int, Callable[[Any], Tensor]]] = {
    "num_nodes": (9, lambda n: edges(Graph(EDGES, n))),
    "num_nodes of two sides": (9, lambda n: edges(Graph(EDGES, (n, n)))),
    "num_nodes of a tensor": (9, lambda n: edges(as_graph(EDGES.clone(), n))),
    "num_edge_types": (5, lambda n: torch.tensor(Graph(EDGES, 9, TYPES, num_edge_types=n).num_edge_types)),
    "fan-out": (2, lambda n: edges(mpnn.sample_neighbors(GRAPH, SEEDS, [n, n], seed=1).graph)),
    "fan-out of a padded sample": (
        2,
        lambda n: edges(mpnn.sample_neighbors(GRAPH, SEEDS, [n], seed=1, padded=True).graph),
    ),
    "seed of a sample": (3, lambda n: edges(mpnn.sample_neighbors(GRAPH, SEEDS, [2], seed=n).graph)),
    "seed of a padded sample": (
        3,
        lambda n: edges(mpnn.sample_neighbors(GRAPH, SEEDS, [2], seed=n, padded=True).graph),
    ),
    "batch size": (2, lambda n: next(iter(mpnn.NeighborLoader(GRAPH, [-1], batch_size=n))).nodes),
    "length of walks": (5, lambda n: mpnn.random_walks(GRAPH, SEEDS, n, seed=1)),
    "seed of walks": (5, lambda n: mpnn.random_walks(GRAPH, SEEDS, 6, seed=n, p=0.5)),
    "rows of scatter": (9, lambda n: mpnn.scatter(torch.ones(30), GRAPH.dst[:30], n)),
    "rows of softmax": (9, lambda n: mpnn.softmax(torch.ones(30), GRAPH.dst[:30], n)),
    "size of propagate": (
        9,
        lambda n: mpnn.propagate(EDGES.clone(), lambda x_j: x_j, x=torch.ones(9, 2), size=(n, n)),
    ),
    "nodes of a chain": (4, lambda n: edges(topology.chain(n))),
    "extent of a grid": (4, lambda n: edges(topology.grid((n, n), n - 1))),
    "seed of a skip-gram": (7, lambda n: parameters(SkipGram(GRAPH, 3, seed=n))),
    "batch size of node2vec": (2, first_windows),
    "seed of a grid": (3, lambda n: synthetic.load_grid(4, 4, seed=n).x),
    "seed of crowds": (3, lambda n: synthetic.load_crowds(8, seed=n).x),
    "seed of cycles": (3, lambda n: torch.cat(synthetic.load_cycles(8, seed=n).x)),
}


@pytest.mark.parametrize("kind", [np.int64, np.int32, np.uint8])
@pytest.mark.parametrize("name", ASKED)
def test_an_integer_of_numpys_is_one(name: str, kind: Callable[[int], Any]) -> None:
    number, ask = ASKED[name]
    assert torch.equal(ask(kind(number)), ask(number))


def test_an_array_of_numpys_is_a_sequence_of_integers() -> None:
    two: Any = np.array([2, 3])
    assert torch.equal(edges(topology.chain(two)), edges(topology.chain([2, 3])))
    assert torch.equal(edges(topology.grid(two + 2, two)), edges(topology.grid((4, 5), (2, 3))))
    assert torch.equal(edges(topology.lattice(two)), edges(topology.lattice((2, 3))))
    sampled = [mpnn.sample_neighbors(GRAPH, SEEDS, fanouts, seed=1).edges for fanouts in (two, [2, 3])]
    assert torch.equal(*sampled)


def test_a_fan_out_beyond_all_edges_takes_them_all_and_no_more_room() -> None:
    everything = mpnn.sample_neighbors(GRAPH, SEEDS, [-1, -1], seed=1)
    for fanout in (65, 10**9, 10**18):
        sample = mpnn.sample_neighbors(GRAPH, SEEDS, [fanout, fanout], seed=1)
        assert torch.equal(sample.edges, everything.edges)
