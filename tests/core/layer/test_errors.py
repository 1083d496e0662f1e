"""Bad input to Graph: one sentence each, that names the argument, what it was and what it should be."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from mpnn import Graph, as_graph, topology
from tests.core.graphs import random_graph

EDGES = torch.tensor([[0, 1, 2], [1, 2, 0]])
TYPES = torch.tensor([0, 1, 2])


@pytest.mark.parametrize(
    ("edge_index", "num_nodes", "error", "text"),
    [
        (EDGES, 2, IndexError, r"edge_index\[0, 2\] is 2, but the graph has 2 source nodes \(0\.\.1\)\."),
        (
            EDGES,
            (3, 2),
            IndexError,
            r"edge_index\[1, 1\] is 2, but the graph has 2 destination nodes \(0\.\.1\)\.",
        ),
        (EDGES, 0, IndexError, r"edge_index\[0, 0\] is 0, but the graph has 0 source nodes \(none\)\."),
        (
            EDGES - 1,
            None,
            IndexError,
            r"edge_index\[0, 0\] is -1, but the graph has 2 source nodes \(0\.\.1\)\.",
        ),
        (
            -EDGES - 1,
            None,
            IndexError,
            r"edge_index\[0, 0\] is -1, but the graph has 0 source nodes \(none\)\.",
        ),
        (EDGES.float(), None, TypeError, r"edge_index must hold integers \(int64\), got torch\.float32\."),
        (EDGES.bool(), None, TypeError, r"edge_index must hold integers \(int64\), got torch\.bool\."),
        (EDGES[0], None, ValueError, r"edge_index must have shape \[2, num_edges\], got \[3\]\."),
        (EDGES.t(), None, ValueError, r"edge_index must have shape \[2, num_edges\], got \[3, 2\]\."),
        (EDGES[None], None, ValueError, r"edge_index must have shape \[2, num_edges\], got \[1, 2, 3\]\."),
        (EDGES.tolist(), None, TypeError, r"edge_index must be a tensor \[2, num_edges\], got list\."),
        (EDGES.numpy(), None, TypeError, r"edge_index must be a tensor \[2, num_edges\], got ndarray\."),
        (
            torch.eye(3).to_sparse(),
            None,
            TypeError,
            "got a tensor of layout torch.sparse_coo: convert .*from_scipy",
        ),
        (EDGES, -3, ValueError, r"num_nodes must be one count or a pair \(num_src, num_dst\), got -3\."),
        (EDGES, (3, 3, 3), ValueError, r"num_nodes must be one count or a pair .*, got \(3, 3, 3\)\."),
        (EDGES, 3.0, ValueError, r"num_nodes must be one count or a pair .*, got 3\.0\."),
        (EDGES, True, ValueError, r"num_nodes must be one count or a pair .*, got True\."),
        (EDGES, [3, 3], ValueError, r"num_nodes must be one count or a pair .*, got \[3, 3\]\."),
        (EDGES, (3, -3), ValueError, r"num_nodes must be one count or a pair .*, got \(3, -3\)\."),
        (EDGES, np.bool_(True), ValueError, r"num_nodes must be one count or a pair .*, got .*True"),
        (EDGES, 2**63, ValueError, r"num_nodes is 9223372036854775808, but a graph has at most 2\*\*63 - 1"),
        (EDGES, (3, 2**100), ValueError, r"num_nodes is \(3, 12.*\), but a graph has at most 2\*\*63 - 1"),
        (
            EDGES.to("meta"),
            None,
            ValueError,
            "num_nodes must be given where edge_index has no data",
        ),
    ],
    ids=str,
)
def test_what_makes_no_graph_is_refused(
    edge_index: Any, num_nodes: Any, error: type[Exception], text: str
) -> None:
    with pytest.raises(error, match=text):
        Graph(edge_index, num_nodes)


@pytest.mark.parametrize(
    ("edge_type", "count", "error", "text"),
    [
        (
            TYPES.float(),
            None,
            TypeError,
            r"edge_type must be a tensor of integers \[num_edges\], got torch\.float32",
        ),
        ([0, 1, 2], None, TypeError, r"edge_type must be a tensor of integers \[num_edges\], got list"),
        (TYPES[:2], None, ValueError, r"edge_type must have shape \[3\], one entry per edge, got \[2\]"),
        (
            TYPES[:, None],
            None,
            ValueError,
            r"edge_type must have shape \[3\], one entry per edge, got \[3, 1\]",
        ),
        (TYPES - 1, None, IndexError, r"edge_type\[0\] is -1, but there are 2 types \(0\.\.1\)"),
        (TYPES, 2, IndexError, r"edge_type\[2\] is 2, but there are 2 types \(0\.\.1\)"),
        (TYPES, 0, IndexError, r"edge_type\[0\] is 0, but there are 0 types \(none\)"),
        (TYPES, -1, ValueError, r"num_edge_types must be a count, got -1"),
        (TYPES, 3.5, ValueError, r"num_edge_types must be a count, got 3\.5"),
        (TYPES, 2**63, ValueError, r"num_edge_types is 9223372036854775808, but there are at most 2\*\*63"),
        (TYPES.to("meta"), None, ValueError, "edge_type is on meta, but edge_index is on cpu"),
        (None, 2, ValueError, "num_edge_types is 2, but no edge_type was given"),
    ],
    ids=str,
)
def test_edge_types_that_do_not_fit_are_refused(
    edge_type: Any, count: Any, error: type[Exception], text: str
) -> None:
    with pytest.raises(error, match=text):
        Graph(EDGES, 3, edge_type, num_edge_types=count)


@pytest.mark.parametrize(
    ("chosen", "error", "text"),
    [
        (torch.tensor([0, 3]), IndexError, r"\[1\] is 3, but there are only 3 to choose from"),
        (torch.tensor([-1]), IndexError, r"\[0\] is -1, but there are only 3 to choose from"),
        (torch.tensor([True]), ValueError, "is a mask of 1 entries, but there are 3 to choose from"),
        (torch.tensor([0.0]), TypeError, "must be a bool mask or integer positions, got torch.float32"),
        (torch.tensor([[0]]), ValueError, r"must be one-dimensional, got shape \[1, 1\]"),
        (torch.tensor([0]).to("meta"), ValueError, "is on meta, but the graph is on cpu"),
        ([0], TypeError, "must be a tensor of positions or a bool mask, got list"),
    ],
    ids=str,
)
def test_a_choice_of_nodes_or_edges_that_does_not_fit_is_refused(
    chosen: Any, error: type[Exception], text: str
) -> None:
    graph = Graph(EDGES)
    with pytest.raises(error, match="^nodes ?" + text):
        graph.subgraph(chosen)
    with pytest.raises(error, match="^edges ?" + text):
        graph.edge_subgraph(chosen)


def test_a_subgraph_has_each_node_once() -> None:
    with pytest.raises(ValueError, match="nodes holds 1 2 times: choose each once"):
        Graph(EDGES).subgraph(torch.tensor([1, 0, 1]))


def test_a_subgraph_of_a_batch_keeps_the_graphs_in_order() -> None:
    batch = Graph.batch([Graph(EDGES), Graph(EDGES)])
    text = r"nodes\[1\] is 0, of graph 0 of the batch, behind a node of graph 1: give the nodes in the order"
    with pytest.raises(ValueError, match=text):
        batch.subgraph(torch.tensor([4, 0]))


def test_a_bipartite_graph_says_what_it_lacks() -> None:
    graph = Graph(EDGES, (3, 4))
    with pytest.raises(ValueError, match=r"two numbers: use num_src \(3\) or num_dst \(4\)"):
        graph.num_nodes  # noqa: B018
    for name in ("with_self_loops", "with_remaining_self_loops"):
        with pytest.raises(
            ValueError, match=rf"{name} needs one set of nodes, but this graph is bipartite \(3, 4\)"
        ):
            getattr(graph, name)()
    with pytest.raises(ValueError, match="without_self_loops needs one set of nodes"):
        graph.without_self_loops()
    with pytest.raises(ValueError, match="self_loop_mask needs one set of nodes"):
        graph.self_loop_mask  # noqa: B018
    with pytest.raises(
        TypeError, match=r"nodes must be a pair \(sources, destinations\) for this graph, got Tensor"
    ):
        graph.subgraph(torch.tensor([0]))
    with pytest.raises(TypeError, match="nodes must be one tensor for this graph, got tuple"):
        Graph(EDGES).subgraph((torch.tensor([0]), torch.tensor([0])))


@pytest.mark.parametrize("name", ["with_self_loops", "with_remaining_self_loops"])
def test_loops_have_no_type(name: str) -> None:
    with pytest.raises(ValueError, match="adding self loops to a graph with edge_type: no type is known"):
        getattr(Graph(EDGES, 3, TYPES), name)()


@pytest.mark.parametrize(
    ("graphs", "error", "text"),
    [
        ([], ValueError, "graphs is empty: a batch needs at least one graph"),
        ([Graph(EDGES), EDGES], TypeError, r"graphs\[1\] must be a Graph, got Tensor"),
        ([Graph(EDGES), Graph(EDGES, (3, 3))], ValueError, "graphs differ in is_bipartite"),
        ([Graph(EDGES), Graph(EDGES).to("meta")], ValueError, "graphs differ in device"),
        ([Graph(EDGES), Graph(EDGES, 3, TYPES)], ValueError, "some graphs have edge_type and others do not"),
    ],
    ids=["none", "a tensor", "bipartite", "device", "types"],
)
def test_graphs_that_make_no_batch_are_refused(graphs: Any, error: type[Exception], text: str) -> None:
    with pytest.raises(error, match=text):
        Graph.batch(graphs)


@pytest.mark.parametrize("sizes", [[(2, 2)], [(4, 4), (-1, -1)], [], [(2, 1), (1, 1)]], ids=str)
def test_sizes_of_a_batch_add_up(sizes: Any) -> None:
    with pytest.raises(ValueError, match=r"sizes must add up to \(3, 3\), got \["):
        Graph(EDGES).as_batch(sizes)


def test_no_edge_joins_two_graphs_of_a_batch() -> None:
    with pytest.raises(ValueError, match="edge 1 goes from graph 0 to graph 1 of the batch"):
        Graph(EDGES).as_batch([(2, 2), (1, 1)])


def test_a_graph_for_other_features_is_refused() -> None:
    graph = random_graph((4, 5))
    with pytest.raises(
        ValueError, match=r"features are for 9 nodes, but the graph has 4 source and 5 destination"
    ):
        as_graph(graph, 9)
    with pytest.raises(ValueError, match=r"features are for 4 source and 6 destination nodes, but"):
        as_graph(graph, (4, 6))
    assert as_graph(graph, (4, 5)) is graph
    with pytest.raises(TypeError, match="edge_index must be a tensor"):
        as_graph(np.zeros((2, 3)))  # type: ignore[arg-type]


def test_what_is_no_graph_of_another_library_is_named() -> None:
    with pytest.raises(TypeError, match=r"graph must be a networkx graph, got int\."):
        Graph.from_networkx(5)
    with pytest.raises(TypeError, match=r"data must be PyG's Data or HeteroData, got int\."):
        Graph.from_pyg(5)
    with pytest.raises(TypeError, match=r"graphs must be a sequence of graphs, got int\."):
        Graph.batch(5)  # type: ignore[arg-type]


def test_the_largest_number_of_nodes_is_taken_and_one_more_is_not() -> None:
    assert Graph(EDGES, 2**63 - 1).num_nodes == 2**63 - 1
    assert topology.complete(2**62).num_edges == 2**124
    with pytest.raises(ValueError, match=r"Complete has 9223372036854775808 nodes, but a graph has at most"):
        topology.complete(2**63)
