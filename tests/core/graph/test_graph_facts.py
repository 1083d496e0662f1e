"""What a graph made from another keeps of it: types, batch, fleetingness, edges without loops."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Callable

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

import mpnn
from mpnn import Graph
from mpnn.graph.facts import Facts
from tests.core.graphs import graphs, random_graph

# How a graph is made of another, and which of its edges each edge is then: -1 for new ones.
Derivation = Callable[[Graph], tuple[Graph, Tensor]]


def everything(graph: Graph) -> Tensor:
    return torch.arange(graph.num_edges)


def some(graph: Graph) -> Tensor:
    return torch.arange(0, graph.num_edges, 2).flip(0)


def first_of_merged(graph: Graph) -> tuple[Graph, Tensor]:
    made, merged = graph.coalesce()
    edges = [merged.tolist().index(k) for k in range(made.num_edges)]
    return made, torch.tensor(edges, dtype=torch.int64)


def types_of_edges(graph: Graph) -> Tensor:
    return everything(graph) % 3


ANY: dict[str, Derivation] = {
    "reverse": lambda g: (g.reverse(), everything(g)),
    "edge_subgraph": lambda g: (g.edge_subgraph(some(g)), some(g)),
    "coalesce": first_of_merged,
    "pickle": lambda g: (pickle.loads(pickle.dumps(g)), everything(g)),
    "deepcopy": lambda g: (copy.deepcopy(g), everything(g)),
    "as_batch": lambda g: (g.as_batch(g.graph_sizes), everything(g)),
    "to": lambda g: (g.to("meta"), everything(g)),
}
ONE_NODE_SET: dict[str, Derivation] = {
    **ANY,
    "without_self_loops": lambda g: g.relooped("none"),
    "subgraph": lambda g: g.subgraph(torch.arange(g.num_nodes) % 2 == 0),
}


def check_kept(graph: Graph, made: Graph, origin: Tensor) -> None:
    assert made.is_fleeting == graph.is_fleeting
    assert made.is_bipartite == graph.is_bipartite
    assert made.num_edge_types == graph.num_edge_types
    assert made.num_graphs == graph.num_graphs
    assert made.is_typed == graph.is_typed
    if graph.edge_type is not None and made.edge_type is not None and not made.edge_type.is_meta:
        assert torch.equal(made.edge_type, graph.edge_type[origin])


@given(st.booleans(), st.data(), st.sampled_from(sorted(ANY)))
def test_what_is_made_of_a_graph_keeps_its_types_its_batch_and_its_time(
    batched: bool, data: st.DataObject, name: str
) -> None:
    graph = data.draw(graphs(batched=batched))
    check_kept(graph, *ANY[name](graph))


@given(st.booleans(), st.data(), st.sampled_from(sorted(ONE_NODE_SET)))
def test_what_is_made_of_a_graph_with_one_set_of_nodes_keeps_them_too(
    batched: bool, data: st.DataObject, name: str
) -> None:
    graph = data.draw(graphs(bipartite=False, batched=batched))
    check_kept(graph, *ONE_NODE_SET[name](graph))


@given(graphs(batched=True, typed=False))
def test_types_given_to_a_batch_leave_it_a_batch(batch: Graph) -> None:
    typed = batch.carrying(edge_type=types_of_edges(batch), num_edge_types=5)
    assert typed.graph_sizes == batch.graph_sizes and typed.is_fleeting
    assert typed.num_edge_types == 5
    assert [one.num_edge_types for one in typed.unbatch()] == [5] * batch.num_graphs


@given(graphs(batched=True, bipartite=False))
def test_a_graph_of_a_batch_is_as_fleeting_as_the_batch(batch: Graph) -> None:
    assert batch.is_fleeting
    assert all(one.is_fleeting and one.num_graphs == 1 for one in batch.unbatch())


LOOPLESS: dict[str, Derivation] = {
    name: derive for name, derive in ANY.items() if name not in ("to", "as_batch")
} | {
    "reordered": lambda g: (g.reordered("degree")[0], everything(g)),
    "typed": lambda g: (g.carrying(edge_type=types_of_edges(g)), everything(g)),
    "as_batch": lambda g: (g.as_batch([g.size]), everything(g)),
}


@pytest.mark.parametrize("name", sorted(LOOPLESS))
def test_the_edges_without_loops_of_a_padded_sample_follow_its_edges(name: str) -> None:
    whole = Graph(torch.cat([random_graph(12, 60).edge_index, torch.arange(12).expand(2, -1)], dim=1), 12)
    sample = mpnn.sample_neighbors(whole, torch.arange(4), [3, 2], seed=1, padded=True)
    assert sample.edge_mask is not None
    made, origin = LOOPLESS[name](sample.graph)
    loopless = made._facts.loopless
    assert loopless is not None and loopless.shape == made.edge_index.shape
    assert not bool((loopless[0] == loopless[1]).any())
    stays = (sample.edge_mask & (sample.graph.src != sample.graph.dst))[origin]
    assert stays.any() and torch.equal(loopless[:, stays], made.edge_index[:, stays])
    assert torch.equal(made.relooped("none")[0].edge_index, loopless)


@given(graphs(bipartite=False))
def test_a_graph_without_loops_is_known_to_have_none(graph: Graph) -> None:
    rest = graph.without_self_loops()
    assert torch.equal(rest.without_self_loops().edge_index, rest.edge_index)
    assert not bool(rest.self_loop_mask.any())


def test_a_graph_moved_to_another_device_keeps_its_edges_without_loops() -> None:
    sample = mpnn.sample_neighbors(random_graph(), torch.arange(3), [2], seed=0, padded=True)
    moved = sample.graph.to("meta")._facts.loopless
    assert moved is not None and moved.is_meta


def test_facts_cannot_be_changed() -> None:
    with pytest.raises(AttributeError):
        Facts((1, 1), bipartite=False).size = (2, 2)  # type: ignore[misc]
