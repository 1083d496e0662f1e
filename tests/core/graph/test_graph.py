"""Graph: structure, derived graphs, batches, Python's protocols."""

from __future__ import annotations

import copy
import itertools
import pickle
import threading
from collections.abc import Callable
from typing import Any

import networkx
import numpy as np
import pytest
import scipy.sparse
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor
from torch_geometric import utils

import mpnn
from mpnn import CSR, Graph, as_graph, scatter
from mpnn.graph.csr import smallest_type
from tests.core.graphs import graphs, random_graph, same


def rows_by_brute_force(rows: list[int], columns: list[int], num_rows: int) -> list[list[tuple[int, int]]]:
    """Per row: (other end, edge) in edge order."""
    return [
        [(c, e) for e, (r, c) in enumerate(zip(rows, columns, strict=True)) if r == k]
        for k in range(num_rows)
    ]


def rows_of(csr: CSR) -> list[list[tuple[int, int]]]:
    bounds = csr.indptr.tolist()
    slots = list(zip(csr.indices.tolist(), csr.edge_ids.tolist(), strict=True))
    return [slots[begin:end] for begin, end in itertools.pairwise(bounds)]


# Structure -----------------------------------------------------------------------------------------------


@given(graphs())
def test_csr_lists_the_edges_of_each_row_in_their_order(graph: Graph) -> None:
    src, dst = graph.edge_index.tolist()
    assert rows_of(graph.by_dst) == rows_by_brute_force(dst, src, graph.num_dst)
    assert rows_of(graph.by_src) == rows_by_brute_force(src, dst, graph.num_src)
    assert {
        t.dtype for csr in (graph.by_dst, graph.by_src) for t in (csr.indptr, csr.indices, csr.edge_ids)
    } == {torch.int32}
    assert graph.by_dst.num_rows == graph.num_dst


def test_csr_of_a_large_graph_equals_a_stable_sort() -> None:
    graph = Graph(torch.randint(1000, (2, 50_000)), 1001)
    assert torch.equal(graph.by_dst.edge_ids.long(), torch.sort(graph.dst, stable=True).indices)
    assert torch.equal(graph.by_dst.indices.long(), graph.src[graph.by_dst.edge_ids.long()])
    assert torch.equal(graph.by_dst.indptr.long().diff(), graph.in_degree)


@given(graphs())
def test_degrees_count_the_edges_as_scipy_does(graph: Graph) -> None:
    matrix = scipy.sparse.coo_array(
        (np.ones(graph.num_edges, dtype=np.int64), tuple(graph.edge_index.numpy())), shape=graph.size
    )
    assert graph.in_degree.tolist() == np.asarray(matrix.sum(axis=0)).tolist()
    assert graph.out_degree.tolist() == np.asarray(matrix.sum(axis=1)).tolist()
    assert graph.in_degree.dtype == graph.out_degree.dtype == torch.int64


@pytest.mark.parametrize("dtype", [torch.int32, torch.int16, torch.int8, torch.uint8])
def test_any_integer_type_makes_the_same_graph(dtype: torch.dtype) -> None:
    graph = Graph(torch.tensor([[0, 1], [1, 2]], dtype=dtype))
    assert graph.edge_index.dtype == torch.int64
    assert graph.num_nodes == 3


def test_the_number_of_nodes_may_be_numpys() -> None:
    assert Graph(torch.tensor([[0], [1]]), np.int64(5)).num_nodes == 5


def test_a_graph_without_nodes_has_everything_of_length_zero() -> None:
    graph = Graph(torch.empty(2, 0, dtype=torch.int64))
    assert (graph.num_nodes, graph.num_edges, graph.in_degree.numel()) == (0, 0, 0)
    assert graph.by_dst.indptr.tolist() == [0]
    assert graph.with_self_loops().num_edges == graph.coalesce()[0].num_edges == 0
    assert graph.graph_index.numel() == 0
    assert graph.subgraph(torch.empty(0, dtype=torch.int64))[0].num_nodes == 0


# Derived graphs ------------------------------------------------------------------------------------------


@given(graphs())
def test_reverse_turns_every_edge_and_swaps_the_sorted_structures(graph: Graph) -> None:
    by_dst, by_src = graph.by_dst, graph.by_src
    turned = graph.reverse()
    assert torch.equal(turned.edge_index, graph.edge_index.flip(0))
    assert turned.size == graph.size[::-1]
    assert turned.by_src is by_dst
    assert turned.by_dst is by_src
    assert graph.reverse() is turned
    assert same(turned.reverse(), graph)


@given(graphs(bipartite=False, typed=False))
def test_self_loop_operations_equal_pygs(graph: Graph) -> None:
    edge_index, n = graph.edge_index, graph.num_nodes
    assert torch.equal(graph.with_self_loops().edge_index, utils.add_self_loops(edge_index, num_nodes=n)[0])
    assert torch.equal(
        graph.with_remaining_self_loops().edge_index,
        utils.add_remaining_self_loops(edge_index, num_nodes=n)[0],
    )
    assert torch.equal(graph.without_self_loops().edge_index, utils.remove_self_loops(edge_index)[0])
    assert bool(graph.self_loop_mask.any()) == utils.contains_self_loops(edge_index)
    assert graph.with_self_loops().num_nodes == n
    assert graph.with_self_loops() is graph.with_self_loops()


@given(graphs(typed=True, bipartite=False))
def test_removing_self_loops_keeps_the_other_edges_types(graph: Graph) -> None:
    rest = graph.without_self_loops()
    assert graph.edge_type is not None and rest.edge_type is not None
    assert torch.equal(rest.edge_type, graph.edge_type[~graph.self_loop_mask])


@given(graphs(typed=False))
def test_coalesce_equals_pygs_and_says_where_each_edge_went(graph: Graph) -> None:
    merged, position = graph.coalesce()
    weight = torch.arange(graph.num_edges, dtype=torch.float64)
    # PyG counts one set of nodes, sorted by row: sort_by_row=False sorts by destination first, as ours does.
    theirs, their_weight = utils.coalesce(
        graph.edge_index, weight, num_nodes=max(graph.size), sort_by_row=False
    )
    assert torch.equal(merged.edge_index, theirs)
    assert torch.equal(scatter(weight, position, merged.num_edges), their_weight)
    assert merged.size == graph.size


@given(graphs(typed=True))
def test_coalesce_keeps_edges_of_different_types_apart(graph: Graph) -> None:
    assert graph.edge_type is not None
    merged, position = graph.coalesce()
    assert merged.edge_type is not None
    old = list(zip(*graph.edge_index.tolist(), graph.edge_type.tolist(), strict=True))
    new = list(zip(*merged.edge_index.tolist(), merged.edge_type.tolist(), strict=True))
    assert sorted(set(old), key=lambda e: (e[1], e[0], e[2])) == new
    assert [new[p] for p in position.tolist()] == old
    assert merged.num_edge_types == graph.num_edge_types


@given(graphs(bipartite=False, typed=True), st.data())
def test_a_subgraph_equals_pygs(graph: Graph, data: st.DataObject) -> None:
    assert graph.edge_type is not None
    nodes = torch.tensor(data.draw(st.permutations(range(graph.num_nodes))), dtype=torch.int64)
    nodes = nodes[: data.draw(st.integers(0, graph.num_nodes))]
    part, edges = graph.subgraph(nodes)
    mask = torch.zeros(graph.num_nodes, dtype=torch.bool)
    mask[nodes] = True
    theirs, _, their_edges = utils.subgraph(
        mask, graph.edge_index, torch.empty(graph.num_edges), num_nodes=graph.num_nodes, return_edge_mask=True
    )
    assert torch.equal(nodes[part.edge_index], theirs)
    assert torch.equal(edges, their_edges.nonzero().squeeze(1))
    assert part.edge_type is not None
    assert torch.equal(part.edge_type, graph.edge_type[edges])
    assert part.num_nodes == nodes.numel()
    assert same(graph.subgraph(mask)[0], graph.subgraph(mask.nonzero().squeeze(1))[0])


@given(graphs(bipartite=False, typed=False), st.data())
def test_a_subgraph_has_networkxs_edges(graph: Graph, data: st.DataObject) -> None:
    nodes = sorted(
        data.draw(st.sets(st.integers(0, max(graph.num_nodes - 1, 0)))) if graph.num_nodes else set()
    )
    part, _ = graph.subgraph(torch.tensor(nodes, dtype=torch.int64))
    theirs = networkx.MultiDiGraph()
    theirs.add_nodes_from(range(graph.num_nodes))
    theirs.add_edges_from(zip(*graph.edge_index.tolist(), strict=True))
    ours = [(nodes[j], nodes[i]) for j, i in zip(*part.edge_index.tolist(), strict=True)]
    assert sorted(ours) == sorted(theirs.subgraph(nodes).edges())


def test_a_bipartite_subgraph_keeps_edges_with_both_ends_chosen() -> None:
    graph = Graph(torch.tensor([[0, 1, 2, 0], [1, 0, 1, 0]]), (3, 2))
    part, edges = graph.subgraph((torch.tensor([2, 0]), torch.tensor([1])))
    assert part.edge_index.tolist() == [[1, 0], [0, 0]]
    assert edges.tolist() == [0, 2]
    assert part.size == (2, 1)


@given(graphs(), st.data())
def test_an_edge_subgraph_keeps_nodes_and_follows_the_given_order(graph: Graph, data: st.DataObject) -> None:
    kept = data.draw(st.lists(st.integers(0, graph.num_edges - 1)) if graph.num_edges else st.just([]))
    part = graph.edge_subgraph(torch.tensor(kept, dtype=torch.int64))
    assert torch.equal(part.edge_index, graph.edge_index[:, kept])
    assert part.size == graph.size
    if graph.edge_type is not None and part.edge_type is not None:
        assert torch.equal(part.edge_type, graph.edge_type[kept])


# Batches -------------------------------------------------------------------------------------------------

DERIVATIONS: dict[str, Callable[[Graph], Graph]] = {
    "nothing": lambda g: g,
    "reverse": Graph.reverse,
    "coalesce": lambda g: g.coalesce()[0],
    "half of the edges": lambda g: g.edge_subgraph(torch.arange(0, g.num_edges, 2)),
    "pickle": lambda g: pickle.loads(pickle.dumps(g)),
}
ONE_NODE_SET: dict[str, Callable[[Graph], Graph]] = {
    "with_self_loops": Graph.with_self_loops,
    "with_remaining_self_loops": Graph.with_remaining_self_loops,
    "without_self_loops": Graph.without_self_loops,
    "half of the nodes": lambda g: g.subgraph(torch.arange(g.num_nodes) % 2 == 0)[0],
}


@given(st.booleans(), st.booleans(), st.data())
def test_batch_and_unbatch_are_inverse(bipartite: bool, typed: bool, data: st.DataObject) -> None:
    parts = data.draw(st.lists(graphs(bipartite=bipartite, typed=typed), min_size=1, max_size=4))
    batch = Graph.batch(parts)
    assert batch.num_graphs == len(parts)
    assert batch.graph_sizes == [g.size for g in parts]
    assert all(map(same, batch.unbatch(), parts))
    assert batch.graph_index.tolist() == [k for k, g in enumerate(parts) for _ in range(g.num_dst)]
    assert batch.node_ptr.tolist() == np.cumsum([0, *(g.num_dst for g in parts)]).tolist()


@given(st.data(), st.sampled_from(sorted(DERIVATIONS)))
def test_a_derived_batch_is_the_batch_of_derived_graphs(data: st.DataObject, name: str) -> None:
    derive = DERIVATIONS[name]
    batch = data.draw(graphs(batched=True))
    derived = derive(batch)
    assert derived.graph_sizes == [derive(g).size for g in batch.unbatch()]
    if name != "half of the edges":
        assert all(map(same, derived.unbatch(), map(derive, batch.unbatch())))


@given(graphs(batched=True, bipartite=False, typed=False), st.sampled_from(sorted(ONE_NODE_SET)))
def test_loops_and_subgraphs_of_a_batch_stay_in_their_graphs(batch: Graph, name: str) -> None:
    derive = ONE_NODE_SET[name]
    derived = derive(batch)
    assert derived.num_graphs == batch.num_graphs
    if name != "half of the nodes":
        assert all(map(same, derived.unbatch(), map(derive, batch.unbatch())))
        return
    kept = torch.arange(batch.num_nodes) % 2 == 0
    assert torch.equal(derived.graph_index, batch.graph_index[kept])
    masks = kept.split([g.num_nodes for g in batch.unbatch()])
    parts = [g.subgraph(mask)[0] for g, mask in zip(batch.unbatch(), masks, strict=True)]
    assert all(map(same, derived.unbatch(), parts))


def test_a_batch_in_a_batch_counts_as_its_graphs() -> None:
    one, two = random_graph(3, 5), random_graph(4, 6)
    batch = Graph.batch([Graph.batch([one, two]), one])
    assert batch.num_graphs == 3
    assert all(map(same, batch.unbatch(), [one, two, one]))


def test_a_graph_that_was_never_batched_is_a_batch_of_one() -> None:
    graph = random_graph(4)
    assert graph.num_graphs == 1
    assert graph.unbatch() == [graph]
    assert graph.node_ptr.tolist() == [0, 4]
    assert graph.graph_index.tolist() == [0] * 4


# Caches and Python's protocols ---------------------------------------------------------------------------


def test_what_is_memoised_is_computed_once_and_the_same_for_all_threads() -> None:
    graph = random_graph(50, 400)
    results: list[Any] = []
    barrier = threading.Barrier(8)

    def ask() -> None:
        barrier.wait()
        results.append((graph.by_dst, graph.in_degree, graph.with_self_loops(), graph.src))

    threads = [threading.Thread(target=ask) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(results) == 8
    assert all(a is b for result in results for a, b in zip(result, results[0], strict=True))
    calls: list[int] = []
    for _ in range(3):
        graph.memo("mine", lambda: calls.append(1))
    assert len(calls) == 1


def root_of_in_degree(graph: Graph) -> Tensor:
    return graph.memo("weight", lambda: graph.in_degree.double().rsqrt())


def test_what_inference_mode_left_behind_serves_training() -> None:
    with torch.inference_mode():
        graph = Graph(torch.tensor([[0, 1, 2], [1, 2, 0]]))
        derived = [graph, graph.reverse(), graph.with_self_loops(), Graph.batch([graph, graph])]
        derived += [graph.coalesce()[0], graph.edge_subgraph(torch.tensor([0]))]
        weights = [root_of_in_degree(g) for g in derived]
        cached = as_graph(torch.tensor([[0], [1]]), 3)
    for g, weight in [*zip(derived, weights, strict=True), (cached, torch.ones(3))]:
        x = torch.ones(g.num_nodes, dtype=torch.float64, requires_grad=True)
        (x[g.src] * weight[g.dst]).sum().backward()
        assert x.grad is not None


@given(graphs(batched=True))
def test_pickle_and_deepcopy_keep_the_graph_and_leave_the_cache(graph: Graph) -> None:
    before = pickle.dumps(graph)
    graph.by_dst  # noqa: B018 - fills the cache
    assert pickle.dumps(graph) == before
    for twin in (pickle.loads(pickle.dumps(graph)), copy.deepcopy(graph), copy.copy(graph)):
        assert same(twin, graph)
        assert torch.equal(twin.by_dst.edge_ids, graph.by_dst.edge_ids)


@pytest.mark.parametrize(
    "name",
    ["edge_index", "edge_type", "num_nodes", "size", "src", "by_dst", "in_degree", "num_graphs", "device"],
)
def test_no_attribute_of_a_graph_can_be_set(name: str) -> None:
    with pytest.raises(AttributeError, match=name):
        setattr(random_graph(), name, None)


def test_a_csr_cannot_be_changed() -> None:
    with pytest.raises(AttributeError):
        random_graph().by_dst.indptr = torch.zeros(1)  # type: ignore[misc]


@pytest.mark.parametrize("by", ["neighbours", "degree"])
def test_reordering_renumbers_and_nothing_else(by: str) -> None:
    graph = random_graph(30, 80)
    moved, order = graph.reordered(by)
    assert torch.equal(order[moved.edge_index], graph.edge_index)
    assert torch.equal(order.sort().values, torch.arange(30))
    if by == "degree":
        assert torch.equal(moved.out_degree, graph.out_degree.sort(descending=True).values)


def test_reordering_brings_neighbours_together() -> None:
    shuffle = dict(enumerate(np.random.default_rng(0).permutation(400).tolist()))
    grid = networkx.relabel_nodes(
        networkx.convert_node_labels_to_integers(networkx.grid_2d_graph(20, 20)), shuffle
    )
    ordered = networkx.Graph()
    ordered.add_nodes_from(range(400))
    ordered.add_edges_from(grid.edges)
    graph = Graph.from_networkx(ordered)
    moved, _ = graph.reordered()
    assert int((graph.src - graph.dst).abs().max()) > 300
    assert int((moved.src - moved.dst).abs().max()) <= 40  # a 20 x 20 grid has bandwidth 20


def test_reordering_a_batch_or_by_an_unknown_rule_is_an_error() -> None:
    graph = random_graph(5, 6)
    with pytest.raises(ValueError, match="would mix the graphs of this batch"):
        Graph.batch([graph, graph]).reordered()
    with pytest.raises(ValueError, match="by is 'size', but must be 'neighbours' or 'degree'"):
        graph.reordered("size")


def test_repr_says_what_the_graph_is() -> None:
    typed = Graph(torch.tensor([[0], [1]]), (2, 3), torch.tensor([4]))
    assert repr(typed) == "Graph(num_nodes=(2, 3), num_edges=1, num_edge_types=5)"
    assert repr(Graph.batch([typed, typed])).endswith("num_edge_types=5, num_graphs=2)")
    assert repr(random_graph(4, 6).to("meta")) == "Graph(num_nodes=4, num_edges=6, device=meta)"


def test_a_graph_moves_to_a_device_with_all_it_has() -> None:
    graph = Graph.batch([Graph(torch.tensor([[0], [1]]), 3, torch.tensor([2]))] * 2)
    assert graph.to("cpu") is graph
    moved = graph.to("meta")
    assert moved.device.type == "meta"
    assert moved.edge_type is not None and moved.edge_type.is_meta
    assert moved.node_ptr.is_meta
    assert (moved.size, moved.num_edges, moved.num_edge_types, moved.num_graphs) == (graph.size, 2, 3, 2)
    assert moved.reverse().device.type == "meta"


def test_a_graph_can_be_made_on_the_meta_device() -> None:
    graph = Graph(torch.empty(2, 7, dtype=torch.int64, device="meta"), 4)
    assert (graph.num_nodes, graph.num_edges) == (4, 7)


# Tensors in place of graphs ------------------------------------------------------------------------------


def test_a_tensor_becomes_the_same_graph_until_it_is_written_to() -> None:
    edge_index = torch.tensor([[0, 1], [1, 0]])
    graph = as_graph(edge_index, 3)
    assert as_graph(edge_index, 3) is graph
    assert as_graph(edge_index, 4) is not graph
    edge_index[0, 0] = 2
    assert as_graph(edge_index, 3).src.tolist() == [2, 1]
    edge_index[0, 0] = 3
    with pytest.raises(IndexError, match=r"edge_index\[0, 0\] is 3"):
        as_graph(edge_index, 3)


def test_the_cache_of_tensors_lets_go_of_them() -> None:
    import gc
    import weakref

    edge_index = torch.tensor([[0, 1], [1, 0]])
    graph = weakref.ref(as_graph(edge_index, 2))
    assert graph() is not None
    del edge_index
    gc.collect()
    assert graph() is None


def test_a_graph_first_met_inside_a_transform_serves_outside_of_it() -> None:
    edge_index, x = random_graph().edge_index.clone(), torch.randn(9, 2)
    torch.func.grad(lambda x: mpnn.propagate(edge_index, lambda x_j: x_j, x=x).sum())(x)
    graph = mpnn.as_graph(edge_index, 9)
    assert graph.edge_index.data_ptr() and graph.dst.data_ptr() and graph.by_dst.indptr.data_ptr()
    assert mpnn.propagate(edge_index, lambda x_j: x_j, x=x).shape == x.shape


def test_indices_are_narrow_where_a_tile_behind_the_last_edge_still_fits() -> None:
    assert smallest_type(5, 2**31 - 2**13) == torch.int32
    assert smallest_type(2**31 - 100, 5) == smallest_type(2**31) == torch.int64
