"""Times of edges: what they may be, and that PyG keeps the same ones where it keeps times at all."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from torch import Tensor
from torch_geometric.data import Batch, Data, HeteroData

from mpnn import Graph, topology
from mpnn.models import GCNConv
from tests.core.graphs import graphs, random_graph
from tests.present import present

EDGES = torch.tensor([[0, 0, 0, 1], [1, 1, 1, 0]])


def timed(*times: float, dtype: torch.dtype = torch.float64) -> Graph:
    return Graph(EDGES, 3, edge_time=torch.tensor(times, dtype=dtype))


@pytest.mark.parametrize(
    ("dtype", "kept"),
    [(torch.int32, torch.int64), (torch.uint8, torch.int64), (torch.float16, torch.float16)],
    ids=str,
)
def test_integers_are_kept_as_int64_and_other_numbers_as_they_are(
    dtype: torch.dtype, kept: torch.dtype
) -> None:
    graph = timed(3, 1, 2, 0, dtype=dtype)
    assert graph.edge_time is not None and graph.edge_time.dtype == kept
    assert graph.edge_time.tolist() == [3, 1, 2, 0]
    assert repr(graph) == f"Graph(num_nodes=3, num_edges=4, edge_time={kept})"


def test_a_graph_does_not_share_its_times_nor_differentiates_them() -> None:
    times = torch.arange(4.0, requires_grad=True)
    graph = Graph(EDGES, 3, edge_time=times)
    other = Graph(EDGES, 3).carrying(edge_time=times)
    times.data[...] = -1
    for one in (graph, other):
        assert one.edge_time is not None and one.edge_time.tolist() == [0, 1, 2, 3]
        assert not one.edge_time.requires_grad


@pytest.mark.parametrize(
    ("given", "error", "said"),
    [
        ([1, 2, 3, 4], TypeError, r"edge_time must be a tensor of numbers \[num_edges\], got list\."),
        (torch.ones(4, dtype=torch.bool), TypeError, r"edge_time .*, got torch.bool\."),
        (torch.ones(4, dtype=torch.complex64), TypeError, r"edge_time .*, got torch.complex64\."),
        (torch.ones(3), ValueError, r"edge_time must have shape \[4\], one entry per edge, got \[3\]\."),
        (torch.ones(4, device="meta"), ValueError, "edge_time is on meta, but edge_index is on cpu"),
        (torch.tensor([0, 1, np.nan, 2]), ValueError, r"edge_time\[2\] is nan, but should be a number\."),
    ],
    ids=str,
)
def test_what_is_no_time_gets_one_sentence(given: Tensor, error: type[Exception], said: str) -> None:
    with pytest.raises(error, match=said):
        Graph(EDGES, 3, edge_time=given)
    with pytest.raises(error, match=said):
        Graph(EDGES, 3).carrying(edge_time=given)


def test_what_edges_carry_has_a_name_that_is_known() -> None:
    with pytest.raises(TypeError, match="edges carry no edge_tiem, but may carry edge_type and edge_time"):
        timed(0, 1, 2, 3).carrying(edge_tiem=None)
    with pytest.raises(ValueError, match="num_edge_types is 3, but no edge_type was given"):
        timed(0, 1, 2, 3).carrying(num_edge_types=3)


def test_a_new_loop_has_no_time() -> None:
    graph = timed(0, 1, 2, 3)
    said = r"adding self loops to a graph with edge_time: no time is known for the new edges; "
    with pytest.raises(ValueError, match=said + r"graph\.carrying\(edge_time=None\) has none"):
        graph.with_self_loops()
    conv, x = GCNConv(2, 2), torch.ones(3, 2)
    with pytest.raises(ValueError, match=said):
        conv(x, graph)
    assert torch.equal(conv(x, graph.carrying(edge_time=None)), conv(x, Graph(EDGES, 3)))


@given(graphs(timed=True))
def test_edges_are_equal_whose_ends_types_and_times_are(graph: Graph) -> None:
    made, merged = graph.coalesce()
    assert graph.edge_time is not None and made.edge_time is not None
    columns = [graph.dst, graph.src, graph.edge_type, graph.edge_time]
    rows = np.stack([c.double().numpy() for c in columns if c is not None], axis=1)
    expected, which = np.unique(rows, axis=0, return_inverse=True)  # by the columns in their order
    assert torch.equal(merged, torch.from_numpy(which.reshape(-1)))
    columns = [made.dst, made.src, made.edge_type, made.edge_time]
    assert np.array_equal(
        np.stack([c.double().numpy() for c in columns if c is not None], axis=1),
        expected.reshape(made.num_edges, rows.shape[1]),
    )


def test_graphs_of_a_batch_have_times_of_one_kind_or_none() -> None:
    with pytest.raises(ValueError, match="some graphs have edge_time and others do not"):
        Graph.batch([timed(0, 1, 2, 3), Graph(EDGES, 3)])
    with pytest.raises(ValueError, match="graphs differ in the dtype of edge_time"):
        Graph.batch([timed(0, 1, 2, 3), timed(0, 1, 2, 3, dtype=torch.int64)])


def test_a_product_refuses_times_that_it_would_lose() -> None:
    with pytest.raises(ValueError, match="first has edge_time, which a product does not keep"):
        topology.product(timed(0, 1, 2, 3), topology.chain(2))


# PyG keeps them alike ------------------------------------------------------------------------------------


def pyg(graph: Graph) -> Data:
    return Data(edge_index=graph.edge_index, num_nodes=graph.num_nodes, edge_time=graph.edge_time)


def with_times(seed: int) -> Graph:
    graph = random_graph(9, 30, seed)
    return graph.carrying(edge_time=torch.rand(30, generator=torch.Generator().manual_seed(seed)))


def check_like(ours: Graph, theirs: Data) -> None:
    assert ours.edge_time is not None and torch.equal(ours.edge_index, theirs.edge_index)
    assert torch.equal(ours.edge_time, theirs.edge_time)


def test_times_stay_with_their_edges_as_in_pyg() -> None:
    one, two = with_times(1), with_times(2)
    check_like(Graph.batch([one, two]), Batch.from_data_list([pyg(one), pyg(two)]))
    for ours, theirs in zip(
        Graph.batch([one, two]).unbatch(),
        Batch.from_data_list([pyg(one), pyg(two)]).to_data_list(),
        strict=True,
    ):
        check_like(ours, theirs)
    nodes = torch.tensor([0, 2, 3, 6])
    check_like(one.subgraph(nodes)[0], pyg(one).subgraph(nodes))
    edges = torch.tensor([4, 1, 7])
    check_like(one.edge_subgraph(edges), pyg(one).edge_subgraph(edges))


@pytest.mark.parametrize("name", ["time", "edge_time"])
def test_pygs_times_of_edges_are_read_and_those_of_nodes_are_left(name: str) -> None:
    times = torch.tensor([5, 3, 4, 1])
    data = Data(edge_index=EDGES, num_nodes=3, **{name: times})
    assert torch.equal(present(Graph.from_pyg(data).edge_time), times)
    data = HeteroData()
    data["user"].num_nodes, data["item"].num_nodes = 3, 2
    data["user", "buys", "item"].edge_index = EDGES
    data["user", "buys", "item"][name] = times
    assert torch.equal(present(Graph.from_pyg(data).edge_time), times)
    of_nodes = Data(edge_index=EDGES, num_nodes=3, time=torch.arange(3))
    assert Graph.from_pyg(of_nodes).edge_time is None


def test_edge_times_of_a_networkx_graph_are_integers_or_float64() -> None:
    theirs = timed(2, 0, 1, 3).to_networkx()
    del theirs.graph["edge_time_dtype"]
    assert torch.equal(present(Graph.from_networkx(theirs).edge_time), torch.tensor([2.0, 0, 1, 3]).double())
    for _, _, attributes in theirs.edges(data=True):
        attributes["edge_time"] = int(attributes["edge_time"])
    assert torch.equal(present(Graph.from_networkx(theirs).edge_time), torch.tensor([2, 0, 1, 3]))
    attributes["edge_time"] = "noon"
    with pytest.raises(TypeError, match="edge_time must be a number on every edge, got 'noon'"):
        Graph.from_networkx(theirs)
    del attributes["edge_time"]
    with pytest.raises(ValueError, match="3 of 4 edges have an edge_time: give one to all or none"):
        Graph.from_networkx(theirs)
