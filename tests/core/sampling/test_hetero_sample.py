"""Samples of a typed graph: every relation is drawn by itself, and what is drawn is the graph's."""

from __future__ import annotations

from typing import Any

import pytest
import torch

import mpnn
from mpnn import HeteroGraph
from tests.core.graph.hetero_graphs import RELATIONS, TYPES, hetero_graph

SEEDS = {"paper": torch.tensor([4, 1]), "venue": torch.tensor([0])}


@pytest.mark.parametrize("fanouts", [[-1, -1], [2, 3], [0, 1], []])
def test_nodes_and_edges_are_those_of_the_whole_graph(fanouts: list[int]) -> None:
    graph = hetero_graph(num_edges=40, timed=True)
    sample = mpnn.sample_neighbors(graph, SEEDS, fanouts, seed=5)
    assert sample.num_seeds == {"paper": 2, "venue": 1}
    for name, seeds in SEEDS.items():
        assert torch.equal(sample.nodes[name][: seeds.numel()], seeds)
    for name in TYPES:
        assert sample.nodes[name].unique().numel() == sample.nodes[name].numel()
    for edge_type in RELATIONS:
        edges = sample.edges[edge_type]
        assert edges.unique().numel() == edges.numel()
        ends = [
            sample.nodes[edge_type[k]][row]
            for k, row in zip((0, 2), sample.graph[edge_type].edge_index, strict=True)
        ]
        assert torch.equal(torch.stack(ends), graph[edge_type].edge_index[:, edges])
        assert torch.equal(sample.graph[edge_type].edge_time, edges % 5)  # type: ignore[arg-type]


def test_all_edges_of_one_hop_are_those_that_enter_the_seeds() -> None:
    graph = hetero_graph(num_edges=40)
    sample = mpnn.sample_neighbors(graph, SEEDS, [-1])
    for edge_type in RELATIONS:
        seeds = SEEDS.get(edge_type[2], torch.empty(0, dtype=torch.int64))
        entering = torch.isin(graph[edge_type].dst, seeds).nonzero()[:, 0]
        assert torch.equal(sample.edges[edge_type].sort().values, entering)


def test_every_relation_gives_as_many_edges_as_its_fanout_allows() -> None:
    graph = hetero_graph(num_edges=60)
    each = {edge_type: [k % 3] for k, edge_type in enumerate(RELATIONS)}
    for fanouts in ([2], each):
        sample = mpnn.sample_neighbors(graph, SEEDS, fanouts, seed=3)
        for edge_type in RELATIONS:
            fanout = 2 if fanouts is not each else each[edge_type][0]
            seeds = SEEDS.get(edge_type[2], torch.empty(0, dtype=torch.int64))
            degree = graph[edge_type].in_degree[seeds]
            drawn = graph[edge_type].dst[sample.edges[edge_type]]
            counts = torch.stack([(drawn == node).sum() for node in seeds]) if seeds.numel() else degree
            assert torch.equal(counts, degree.clamp(max=fanout))


def test_one_relation_of_one_type_is_drawn_as_the_plain_graph_is() -> None:
    edge_index = torch.randint(20, (2, 90), generator=torch.Generator().manual_seed(0))
    typed = HeteroGraph({"a": 20}, {("a", "to", "a"): edge_index})
    seeds = torch.tensor([3, 7])
    ours = mpnn.sample_neighbors(typed, {"a": seeds}, [3, 2], seed=11)
    plain = mpnn.sample_neighbors(mpnn.Graph(edge_index, 20), seeds, [3, 2], seed=11)
    assert torch.equal(ours.nodes["a"], plain.nodes)
    assert torch.equal(ours.edges["a", "to", "a"], plain.edges)
    assert torch.equal(ours.graph["a", "to", "a"].edge_index, plain.graph.edge_index)


def test_every_edge_is_drawn_equally_often() -> None:
    stars = {
        ("a", r, "b"): torch.stack([torch.arange(6), torch.zeros(6, dtype=torch.int64)]) for r in ("x", "y")
    }
    graph = HeteroGraph({"a": 6, "b": 1}, stars)
    counts = torch.zeros(2, 6)
    for seed in range(600):
        sample = mpnn.sample_neighbors(graph, {"b": torch.tensor([0])}, [2], seed=seed)
        for k, r in enumerate(("x", "y")):
            counts[k, sample.edges["a", r, "b"]] += 1
    # 200 of 600 each, with a standard deviation of 11.5; both relations by themselves.
    assert (counts - 200).abs().max() < 50
    assert not torch.equal(counts[0], counts[1])


@pytest.mark.parametrize(
    ("nodes", "fanouts", "options", "error", "words"),
    [
        ({"reader": torch.tensor([0])}, [1], {}, ValueError, "nodes names 'reader', which is no node type"),
        ({"paper": torch.tensor([9])}, [1], {}, IndexError, r"nodes\['paper'\]\[0\] is 9, but there"),
        ({"paper": torch.tensor([1, 1])}, [1], {}, ValueError, "more than once: choose each node once"),
        (torch.tensor([0]), [1], {}, TypeError, "nodes must be a dictionary by node type, got Tensor"),
        (SEEDS, [-2], {}, ValueError, r"fanouts\[0\] is -2"),
        (SEEDS, {RELATIONS[0]: [1]}, {}, ValueError, r"fanouts lacks \('paper', 'rev_writes', 'author'\)"),
        (SEEDS, {("a", "b", "c"): [1]}, {}, ValueError, r"fanouts names \('a', 'b', 'c'\), which"),
        (SEEDS, {r: [1] * (1 + (r == RELATIONS[0])) for r in RELATIONS}, {}, ValueError, "equally many hops"),
        (SEEDS, [1], {"padded": True}, ValueError, "padded is True, but the sample of a HeteroGraph is not"),
    ],
)  # fmt: skip
def test_bad_input_gets_one_sentence(
    nodes: Any, fanouts: Any, options: Any, error: type[Exception], words: str
) -> None:
    with pytest.raises(error, match=words):
        mpnn.sample_neighbors(hetero_graph(), nodes, fanouts, **options)
