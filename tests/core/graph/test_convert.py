"""Graphs go to networkx, scipy and PyG and come back as they were."""

from __future__ import annotations

import warnings

import networkx
import numpy as np
import pytest
import scipy.sparse
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch_geometric.data import Batch, Data, HeteroData
from torch_geometric.utils import from_networkx, to_networkx

from mpnn import Graph
from tests.core.graphs import graphs, random_graph, same

anything = st.one_of(graphs(timed=None), graphs(batched=True, timed=None))


@given(anything)
def test_networkx_and_back_loses_nothing(graph: Graph) -> None:
    assert same(Graph.from_networkx(graph.to_networkx()), graph)


@given(anything)
def test_pyg_and_back_loses_nothing(graph: Graph) -> None:
    back = Graph.from_pyg(graph.to_pyg())
    if graph.num_graphs == 1:
        assert same(back, graph)
        return
    # A batch comes back with its edges in the order of its graphs, as `unbatch` has them.
    assert back.graph_sizes == graph.graph_sizes
    assert all(map(same, back.unbatch(), graph.unbatch()))


@given(graphs())
def test_scipy_and_back_loses_nothing_but_what_a_matrix_cannot_say(graph: Graph) -> None:
    values = torch.arange(graph.num_edges, dtype=torch.float64)
    back, returned = Graph.from_scipy(graph.to_scipy(values))
    assert torch.equal(back.edge_index, graph.edge_index)
    assert torch.equal(returned, values)
    assert back.size == graph.size
    assert back.is_bipartite == (graph.num_src != graph.num_dst)


@given(graphs(typed=True))
def test_scipy_gets_the_edge_types_for_values(graph: Graph) -> None:
    assert graph.edge_type is not None
    assert graph.to_scipy().data.tolist() == graph.edge_type.tolist()


@given(graphs(typed=False, bipartite=False))
def test_networkx_graphs_equal_pygs(graph: Graph) -> None:
    data = Data(edge_index=graph.edge_index, num_nodes=graph.num_nodes)
    theirs = to_networkx(data, to_multi=isinstance(graph.to_networkx(), networkx.MultiDiGraph))
    assert networkx.utils.graphs_equal(networkx.DiGraph(theirs), _bare(networkx.DiGraph(graph.to_networkx())))
    assert theirs.number_of_edges() == graph.to_networkx().number_of_edges() == graph.num_edges


def _bare(graph: networkx.DiGraph) -> networkx.DiGraph:
    bare = networkx.DiGraph()
    bare.add_nodes_from(graph.nodes)
    bare.add_edges_from(graph.edges)
    return bare


@pytest.mark.parametrize(
    "theirs",
    [networkx.karate_club_graph(), networkx.les_miserables_graph(), networkx.scale_free_graph(30, seed=1)],
)
def test_a_networkx_graph_has_the_edges_that_pyg_finds(theirs: networkx.Graph) -> None:
    ours = Graph.from_networkx(theirs)
    bare = networkx.MultiDiGraph(theirs) if theirs.is_directed() else networkx.Graph(theirs.edges)
    assert ours.num_nodes == theirs.number_of_nodes()
    expected = from_networkx(networkx.relabel.convert_node_labels_to_integers(bare)).edge_index
    assert ours.num_edges == expected.size(1)
    if theirs.is_directed():
        assert torch.equal(
            ours.coalesce()[0].edge_index, Graph(expected, ours.num_nodes).coalesce()[0].edge_index
        )


def test_an_undirected_edge_becomes_two_and_an_undirected_loop_one() -> None:
    graph = Graph.from_networkx(networkx.Graph([("a", "b"), ("b", "b")]))
    assert graph.edge_index.tolist() == [[0, 1, 1], [1, 0, 1]]


def test_a_batch_with_loops_at_its_end_keeps_that_order_in_networkx() -> None:
    batch = Graph.batch([random_graph(3, 5), random_graph(4, 6)]).with_self_loops()
    assert same(Graph.from_networkx(batch.to_networkx()), batch)


def test_networkx_names_the_two_node_sets() -> None:
    theirs = Graph(torch.tensor([[0, 1], [0, 0]]), (2, 1)).to_networkx()
    assert networkx.is_bipartite(theirs)
    assert theirs.nodes(data="bipartite")[2] == 1
    assert sorted(theirs.edges) == [(0, 2), (1, 2)]


@pytest.mark.parametrize("form", ["coo", "csr", "csc", "lil", "dok", "bsr"])
def test_every_sparse_format_makes_the_same_graph(form: str) -> None:
    dense = np.array([[0, 2.0, 0], [1.0, 0, 3.0]])
    graph, values = Graph.from_scipy(scipy.sparse.coo_array(dense).asformat(form))
    matrix = torch.zeros(graph.size, dtype=torch.float64).index_put(tuple(graph.edge_index), values)
    assert matrix.numpy().tolist() == dense.tolist()
    assert graph.is_bipartite


def test_the_older_matrix_class_of_scipy_works_too() -> None:
    graph, _ = Graph.from_scipy(scipy.sparse.eye(3, format="csr"))
    assert graph.edge_index.tolist() == [[0, 1, 2], [0, 1, 2]]


def test_stored_zeros_are_edges_and_entries_stored_twice_are_two() -> None:
    matrix = scipy.sparse.coo_array(([0.0, 1.0, 2.0], ([0, 1, 1], [1, 0, 0])), shape=(2, 2))
    graph, values = Graph.from_scipy(matrix)
    assert (graph.num_edges, values.tolist()) == (3, [0.0, 1.0, 2.0])


def test_pygs_own_batch_becomes_ours() -> None:
    parts = [
        Data(edge_index=torch.tensor([[0], [k]]), num_nodes=k + 2, x=torch.ones(k + 2, 1)) for k in range(3)
    ]
    theirs = Batch.from_data_list(parts)
    ours = Graph.from_pyg(theirs)
    assert torch.equal(ours.edge_index, theirs.edge_index)
    assert torch.equal(ours.graph_index, theirs.batch)
    assert torch.equal(ours.node_ptr, theirs.ptr)
    back = ours.to_pyg()
    assert isinstance(back, Batch)
    assert torch.equal(back.batch, theirs.batch)


def test_pyg_data_without_num_nodes_counts_them_as_pyg_does() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        assert Graph.from_pyg(Data(edge_index=torch.tensor([[0], [4]]))).num_nodes == 5
    assert Graph.from_pyg(Data(x=torch.ones(7, 1), edge_index=torch.tensor([[0], [4]]))).num_nodes == 7


def test_hetero_data_with_one_node_type_is_not_bipartite() -> None:
    data = HeteroData()
    data["a"].num_nodes = 3
    data["a", "to", "a"].edge_index = torch.tensor([[0], [1]])
    assert repr(Graph.from_pyg(data)) == "Graph(num_nodes=3, num_edges=1)"


# Bad input -----------------------------------------------------------------------------------------------


def test_only_integer_edge_types_are_read_from_networkx() -> None:
    theirs = networkx.DiGraph([(0, 1, {"edge_type": 0.5})])
    with pytest.raises(TypeError, match=r"edge_type must be an integer on every edge, got 0\.5"):
        Graph.from_networkx(theirs)


def test_edge_types_on_some_edges_only_are_refused() -> None:
    theirs = networkx.DiGraph([(0, 1, {"edge_type": 1}), (1, 0, {})])
    with pytest.raises(ValueError, match="1 of 2 edges have an edge_type: give one to all or none"):
        Graph.from_networkx(theirs)


def test_a_bipartite_networkx_graph_that_has_grown_is_refused() -> None:
    theirs = Graph(torch.tensor([[0], [0]]), (2, 1)).to_networkx()
    theirs.add_node("new")
    with pytest.raises(ValueError, match=r"bipartite_size is \(2, 1\), but the networkx graph has 4 nodes"):
        Graph.from_networkx(theirs)


def test_what_is_no_sparse_matrix_is_refused() -> None:
    with pytest.raises(
        TypeError, match=r"matrix must be a two-dimensional scipy\.sparse matrix, got ndarray"
    ):
        Graph.from_scipy(np.eye(2))


def test_values_for_scipy_have_one_entry_per_edge() -> None:
    with pytest.raises(ValueError, match=r"values must have shape \[30\], got \[3\]"):
        random_graph().to_scipy(torch.ones(3))


def test_pyg_data_without_edges_is_refused() -> None:
    with pytest.raises(ValueError, match="data has no edge_index"):
        Graph.from_pyg(Data(x=torch.ones(2, 1)))
    data = HeteroData()
    data["a"].num_nodes = data["b"].num_nodes = 2
    data["a", "to", "b"].edge_attr = torch.ones(1)
    with pytest.raises(ValueError, match="data has no edge_index"):
        Graph.from_pyg(data)


def test_hetero_data_with_several_edge_types_is_refused() -> None:
    data = HeteroData()
    data["a"].num_nodes = 1
    for name in ("likes", "knows"):
        data["a", name, "a"].edge_index = torch.zeros(2, 1, dtype=torch.int64)
    with pytest.raises(ValueError, match="a Graph holds exactly one of them"):
        Graph.from_pyg(data)


@given(graphs(batched=True), st.data())
def test_a_networkx_subgraph_of_a_batch_comes_back_as_the_batch_of_subgraphs(
    batch: Graph, data: st.DataObject
) -> None:
    theirs = batch.to_networkx()
    assert same(Graph.from_networkx(theirs), batch)
    kept = sorted(data.draw(st.sets(st.sampled_from(sorted(theirs)))) if len(theirs) else set())
    for part in (theirs.subgraph(kept), theirs.subgraph(kept).copy(), type(theirs)(theirs.subgraph(kept))):
        back = Graph.from_networkx(part)
        nodes = torch.tensor([node in kept for node in range(len(theirs))], dtype=torch.bool)
        sides = (nodes[: batch.num_src], nodes[batch.num_src :]) if batch.is_bipartite else nodes
        # The order of nodes within a graph is networkx's.
        wanted, _ = batch.subgraph(sides)
        assert back.graph_sizes == wanted.graph_sizes
        assert back.num_edges == wanted.num_edges and back.num_edge_types == wanted.num_edge_types
        assert [one.num_edges for one in back.unbatch()] == [one.num_edges for one in wanted.unbatch()]
        assert networkx.is_isomorphic(back.to_networkx(), wanted.to_networkx())
    assert same(Graph.from_networkx(theirs.subgraph(list(theirs))), batch)


def test_a_networkx_subgraph_of_a_bipartite_graph_stays_bipartite() -> None:
    graph = Graph(torch.tensor([[0, 1, 2], [1, 0, 1]]), (3, 2))
    back = Graph.from_networkx(graph.to_networkx().subgraph([4, 2, 0]))
    assert back.size == (2, 1) and back.edge_index.tolist() == [[0, 1], [0, 0]]
