"""Typed graphs go to PyG and networkx and come back as they were."""

from __future__ import annotations

from typing import Any

import networkx
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch_geometric.data import HeteroData

from mpnn import HeteroGraph
from tests.core.graph.hetero_graphs import RELATIONS, TYPES, hetero_graph, hetero_graphs, same_hetero

anything = st.one_of(hetero_graphs(), hetero_graphs(batched=True))


@given(anything)
def test_networkx_and_back_loses_nothing(graph: HeteroGraph) -> None:
    assert same_hetero(HeteroGraph.from_networkx(graph.to_networkx()), graph)


@given(anything)
def test_pyg_and_back_loses_nothing(graph: HeteroGraph) -> None:
    assert same_hetero(HeteroGraph.from_pyg(graph.to_pyg()), graph)


def test_pyg_gets_every_type_and_relation() -> None:
    graph = hetero_graph(timed=True)
    data = graph.to_pyg()
    assert data.metadata() == (TYPES, RELATIONS) and data.validate()
    assert {name: data[name].num_nodes for name in TYPES} == graph.num_nodes_dict
    for edge_type in RELATIONS:
        assert torch.equal(data[edge_type].edge_index, graph[edge_type].edge_index)
        assert torch.equal(data[edge_type].edge_time, graph[edge_type].edge_time)  # type: ignore[arg-type]


def test_an_undirected_networkx_graph_has_every_edge_both_ways() -> None:
    net = networkx.Graph()
    net.add_nodes_from(["Emmy", "Max"], kind="author")
    net.add_nodes_from(["paper 1", "paper 2"], kind="paper")
    net.add_edge("Emmy", "paper 2", link="with")
    net.add_edge("Emmy", "Max")
    graph = HeteroGraph.from_networkx(net, "kind", "link")
    assert graph.num_nodes_dict == {"author": 2, "paper": 2}
    assert {edge_type: graph[edge_type].edge_index.tolist() for edge_type in graph.edge_types} == {
        ("author", "with", "paper"): [[0], [1]],
        ("paper", "with", "author"): [[1], [0]],
        ("author", "to", "author"): [[0, 1], [1, 0]],
    }


def _without_a_type() -> HeteroGraph:
    net = networkx.Graph()
    net.add_node("Emmy")
    return HeteroGraph.from_networkx(net)


def _with_a_number_for_a_relation() -> HeteroGraph:
    net = networkx.Graph()
    net.add_nodes_from([0, 1], node_type="a")
    net.add_edge(0, 1, relation=3)
    return HeteroGraph.from_networkx(net)


def _without_edges() -> HeteroGraph:
    data = HeteroData()
    data["a"].num_nodes = 1
    data["a", "to", "a"].edge_attr = torch.ones(1)
    return HeteroGraph.from_pyg(data)


@pytest.mark.parametrize(
    ("make", "error", "words"),
    [
        (lambda: HeteroGraph.from_pyg(3), TypeError, "data must be PyG's HeteroData, got int"),
        (_without_edges, ValueError, r"data\[\('a', 'to', 'a'\)\] has no edge_index"),
        (lambda: HeteroGraph.from_networkx(3), TypeError, "graph must be a networkx graph, got int"),
        (_without_a_type, ValueError, "node_type must be a string at every node, but is None at node 'Emmy'"),
        (_with_a_number_for_a_relation, ValueError, r"relation must be a string, but is 3 at edge \(0, 1\)"),
        (
            lambda: hetero_graph().to_networkx(edge_attr="edge_id"),
            ValueError,
            "edge_attr is 'edge_id', which",
        ),
    ],
)
def test_bad_input_gets_one_sentence(make: Any, error: type[Exception], words: str) -> None:
    with pytest.raises(error, match=words):
        make()
