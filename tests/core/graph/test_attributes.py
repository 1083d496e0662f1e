"""Attributes of networkx's nodes and edges become features, as PyG makes them."""

from __future__ import annotations

from typing import Any

import networkx as nx
import numpy as np
import pytest
import torch
from torch import Tensor
from torch_geometric.utils import from_networkx

from mpnn import Graph
from tests.compare import assert_close


def city(kind: type[nx.Graph]) -> nx.Graph:
    """A graph with numbers, truth values and rows of numbers; nodes have names in no order."""
    draw = np.random.default_rng(0)
    graph = kind()
    for name in draw.permutation(20).tolist():
        graph.add_node(
            f"n{name}",
            age=int(draw.integers(90)),
            tall=bool(draw.integers(2)),
            place=draw.normal(size=2).tolist(),
        )
    names = list(graph)
    for i, j in draw.integers(20, size=(50, 2)).tolist():
        graph.add_edge(names[i], names[j], length=float(draw.normal()), code=[1.0, float(draw.normal())])
    return graph


def by_edge(edge_index: Tensor, rows: Tensor) -> list[tuple[float, ...]]:
    return sorted((*edge, *row) for edge, row in zip(edge_index.T.tolist(), rows.tolist(), strict=True))


@pytest.mark.parametrize("kind", [nx.Graph, nx.DiGraph, nx.MultiGraph, nx.MultiDiGraph])
def test_attributes_are_those_that_pyg_groups(kind: type[nx.Graph]) -> None:
    graph = city(kind)
    nodes, edges = ["place", "age", "tall"], ["code", "length"]
    theirs = from_networkx(graph, group_node_attrs=nodes, group_edge_attrs=edges)
    ours, x, edge_attr = Graph.from_networkx(graph, nodes, edges)
    assert x is not None and edge_attr is not None and x.dtype == torch.get_default_dtype()
    assert_close(x, theirs.x.to(x.dtype))
    # PyG has a loop of an undirected graph twice, once for each direction.
    seen = by_edge(theirs.edge_index, theirs.edge_attr.to(x.dtype))
    mine = by_edge(ours.edge_index, edge_attr)
    assert [*dict.fromkeys(mine)] == [*dict.fromkeys(seen)]
    bare = Graph.from_networkx(graph)
    assert torch.equal(ours.edge_index, bare.edge_index) and len(edge_attr) == ours.num_edges


def test_what_is_not_asked_for_is_none() -> None:
    graph = city(nx.Graph)
    ours, x, edge_attr = Graph.from_networkx(graph, node_attrs="age")
    assert edge_attr is None and x is not None and x.shape == (20, 1) and ours.num_nodes == 20
    ours, x, edge_attr = Graph.from_networkx(graph, edge_attrs=["length"])
    assert x is None and edge_attr is not None and edge_attr.shape == (ours.num_edges, 1)
    assert isinstance(Graph.from_networkx(graph), Graph)


def test_attributes_follow_the_order_that_to_networkx_wrote() -> None:
    """Of a batch, and of a bipartite graph, in whose subgraphs networkx keeps no order."""
    draw = torch.Generator().manual_seed(0)
    batch = Graph.batch([Graph(torch.randint(4, (2, 6), generator=draw), 4) for _ in range(3)])
    sides = Graph(torch.tensor([[0, 1, 2], [1, 0, 1]]), num_nodes=(3, 2))
    for graph in (batch, sides):
        values = torch.randn(graph.num_edges, generator=draw)
        theirs = graph.to_networkx()
        for number, node in enumerate(theirs):
            theirs.nodes[node]["number"] = number
        for *_, attributes in theirs.edges(data=True):
            attributes["value"] = float(values[attributes["edge_id"]])
        back, x, edge_attr = Graph.from_networkx(theirs, "number", "value")
        assert torch.equal(back.edge_index, graph.edge_index) and edge_attr is not None and x is not None
        assert_close(edge_attr.flatten(), values)
        assert x.flatten().tolist() == [float(number) for number in range(len(theirs))]


def test_a_graph_without_nodes_or_edges_has_features_without_rows() -> None:
    _, x, edge_attr = Graph.from_networkx(nx.Graph(), ["a", "b"], "c")
    assert x is not None and edge_attr is not None
    assert x.shape == (0, 2) and edge_attr.shape == (0, 1)


BAD: list[tuple[dict[str, Any], str | list[str], type[Exception], str]] = [
    ({}, "size", ValueError, "node_attrs names 'size', which node 'b' lacks"),
    (
        {"size": "tall"},
        "size",
        TypeError,
        "names 'size', which is 'tall' at node 'b', but should be a number",
    ),
    ({"size": [[1], [2]]}, "size", TypeError, "but should be a number or a row of numbers"),
    ({"size": [[1], [2, 3]]}, "size", TypeError, "but should be a number or a row of numbers"),
    ({"size": None}, "size", TypeError, "which is None at node 'b', but should be a number"),
    ({"size": [1, 2]}, "size", ValueError, "which is 2 numbers at node 'b', but 1 at node 'a'"),
    ({"size": 2}, [], ValueError, "node_attrs is empty, but should name an attribute at least"),
]


@pytest.mark.parametrize(("attributes", "asked", "error", "sentence"), BAD)
def test_what_is_no_row_of_numbers_is_named(
    attributes: dict[str, Any], asked: str | list[str], error: type[Exception], sentence: str
) -> None:
    graph = nx.Graph()
    graph.add_node("a", size=1)
    graph.add_node("b", **attributes)
    with pytest.raises(error, match=sentence):
        Graph.from_networkx(graph, asked)


def test_an_edge_without_the_attribute_is_named() -> None:
    graph = nx.Graph([("a", "b"), ("b", "c")])
    graph.edges["a", "b"]["w"] = 1.0
    with pytest.raises(ValueError, match=r"edge_attrs names 'w', which edge \('b', 'c'\) lacks"):
        Graph.from_networkx(graph, edge_attrs="w")
