"""Tensors that are keys of a cache and are written into: results from the old content are not used."""

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
from mpnn import Graph, as_graph
from mpnn.graph.contents import MOST_COPIED, SMALL, OfTensors, contents
from mpnn.graph.recent import Recent
from mpnn.models import GCNConv, RGCNConv, SGConv
from mpnn.native import checksum as native
from mpnn.plan.typed import typed_linear
from tests.core.graphs import random_graph

FEW, MANY = 30, SMALL  # edges: kept as they are, and by their sum
NODES = 9


def replaced(edge_index: Tensor, new: Tensor) -> None:
    edge_index.data = new


def written_through_data(edge_index: Tensor, new: Tensor) -> None:
    edge_index.data[...] = new


def written_through_numpy(edge_index: Tensor, new: Tensor) -> None:
    edge_index.numpy()[...] = new.numpy()


def written(edge_index: Tensor, new: Tensor) -> None:
    edge_index.copy_(new)


def written_in_one_place(edge_index: Tensor, new: Tensor) -> None:
    edge_index.numpy()[1, -1] = (edge_index[1, -1] + 1) % NODES


WRITES = [replaced, written_through_data, written_through_numpy, written, written_in_one_place]
LAYOUTS: dict[str, Callable[[Tensor], Tensor]] = {
    "rows": Tensor.clone,
    "columns": lambda e: e.t().contiguous().t(),
    "strided": lambda e: e.repeat_interleave(2, dim=1)[:, ::2],
}


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("num_edges", [FEW, MANY])
@pytest.mark.parametrize("write", WRITES)
def test_layers_use_what_an_edge_index_holds_now(
    write: Callable[[Tensor, Tensor], None], num_edges: int, layout: str
) -> None:
    before, after = (random_graph(NODES, num_edges, seed).edge_index for seed in (1, 2))
    edge_index = LAYOUTS[layout](before)
    conv, x = GCNConv(3, 2).double(), torch.randn(NODES, 3, dtype=torch.float64)
    assert torch.equal(conv(x, edge_index), conv(x, Graph(before, NODES)))
    assert as_graph(edge_index, NODES) is as_graph(edge_index, NODES)
    write(edge_index, after)
    now = Graph(edge_index.clone(), NODES)
    assert not torch.equal(now.edge_index, before)
    assert torch.equal(conv(x, edge_index), conv(x, now))
    assert torch.equal(as_graph(edge_index, NODES).edge_index, now.edge_index)


@pytest.mark.parametrize("num_edges", [FEW, MANY])
def test_a_bad_index_written_behind_the_cache_is_named(num_edges: int) -> None:
    edge_index = random_graph(NODES, num_edges).edge_index.clone()
    as_graph(edge_index, NODES)
    edge_index.numpy()[0, 5] = NODES
    with pytest.raises(IndexError, match=rf"edge_index\[0, 5\] is {NODES}"):
        as_graph(edge_index, NODES)


def test_a_layer_that_caches_and_one_by_relations_see_a_write_through_data() -> None:
    graph, x = random_graph(), torch.randn(NODES, 3)
    weight = torch.rand(graph.num_edges)
    cached, plain = SGConv(3, 2, K=2, cached=True), SGConv(3, 2, K=2)
    plain.load_state_dict(cached.state_dict())
    with torch.no_grad():
        cached(x, graph, weight)
        weight.data.mul_(torch.rand(graph.num_edges))
        assert torch.equal(cached(x, graph, weight), plain(x, graph, weight))
    types, conv = torch.arange(graph.num_edges) % 3, RGCNConv(3, 2, num_relations=3)
    conv(x, graph, types)
    types.numpy()[...] = types.flip(0).numpy()
    assert torch.equal(conv(x, graph, types), conv(x, graph, types.clone()))
    matrices, rows = torch.randn(3, 3, 2), torch.randn(graph.num_edges, 3)
    typed_linear(rows, matrices, types)
    types.data[...] = types.flip(0)
    assert torch.equal(typed_linear(rows, matrices, types), typed_linear(rows, matrices, types.clone()))


def test_walks_weigh_edges_as_they_weigh_now() -> None:
    graph = Graph(torch.tensor([[0, 0], [1, 2]]), 3)
    weight = torch.tensor([1.0, 0.0])
    start = torch.zeros(20, dtype=torch.int64)
    assert set(mpnn.random_walks(graph, start, 1, weight=weight)[:, 1].tolist()) == {1}
    weight.numpy()[...] = [0.0, 1.0]
    assert set(mpnn.random_walks(graph, start, 1, weight=weight)[:, 1].tolist()) == {2}


def test_the_last_graphs_of_an_accelerated_model_are_found_by_what_edges_hold() -> None:
    recent, edge_index = Recent(2), random_graph().edge_index.clone()
    graph = recent.graph(edge_index, NODES)
    assert recent.graph(edge_index.clone(), NODES) is graph
    edge_index.data[...] = edge_index.flip(1)
    assert torch.equal(recent.graph(edge_index, NODES).edge_index, edge_index)
    assert recent.graph(edge_index.flip(1), NODES) is graph


@pytest.mark.parametrize("dtype", [torch.int64, torch.int32])
def test_a_graph_does_not_share_what_it_was_made_of(dtype: torch.dtype) -> None:
    edge_index, edge_type = torch.tensor([[0, 1, 2], [1, 2, 0]], dtype=dtype), torch.tensor([0, 1, 0])
    graph = Graph(edge_index, 3, edge_type)
    edge_index.numpy()[...] = 7
    edge_type.data[...] = 9
    assert graph.src.tolist() == [0, 1, 2]
    assert graph.edge_type is not None and graph.edge_type.tolist() == [0, 1, 0]
    assert graph.by_dst.indices.tolist() == [2, 0, 1]


LARGE = MOST_COPIED // 16 + 1  # edges

DERIVED: dict[str, Callable[[Graph], object]] = {
    "by_src": lambda g: g.by_src,
    "in_degree": lambda g: g.in_degree,
    "reverse": Graph.reverse,
    "coalesce": Graph.coalesce,
    "edge_subgraph": lambda g: g.edge_subgraph(torch.tensor([0])),
    "batch": lambda g: Graph.batch([g, g]),
    "types": lambda g: g.carrying(edge_type=torch.zeros(g.num_edges, dtype=torch.int64)).by_dst,
    "pickle": pickle.dumps,
    "copy": copy.copy,
}


def test_what_is_derived_of_a_large_graph_whose_memory_was_written_into_is_refused() -> None:
    edge_index = torch.randint(1000, (2, LARGE))
    graph = Graph(edge_index, 1000)
    assert graph.edge_index.data_ptr() == edge_index.data_ptr()
    by_dst, turned, twin = graph.by_dst, Graph(edge_index.flip(0), 1000), copy.copy(graph)
    edge_index.numpy()[0, 17] += 1
    for derive in DERIVED.values():
        with pytest.raises(
            RuntimeError, match=rf"edge_index was written into after a Graph of {LARGE} edges"
        ):
            derive(graph)
    with pytest.raises(RuntimeError, match="edge_index was written into"):
        _ = twin.by_dst
    assert graph.by_dst is by_dst  # what was derived before is of the graph as it was made
    assert turned.num_edges == LARGE and turned.by_src.num_rows == 1000


@given(st.integers(1, 3000), st.data())
def test_a_changed_an_exchanged_and_a_moved_entry_change_the_sum(count: int, data: st.DataObject) -> None:
    tensor = torch.arange(count) % 11
    before = native.checksum(tensor)
    assert native.checksum(tensor.clone()) == before
    i, j = data.draw(st.integers(0, count - 1)), data.draw(st.integers(0, count - 1))
    other = tensor.clone()
    other[i] += data.draw(st.sampled_from([1, -1, 2**32, -(2**63)]))
    assert native.checksum(other) != before
    swapped = tensor.clone()
    swapped[[i, j]] = swapped[[j, i]]
    assert (native.checksum(swapped) == before) == torch.equal(swapped, tensor)
    assert count < 2 or native.checksum(tensor[:-1].clone()) != before


@pytest.mark.parametrize("num_bytes", [0, 1, 7, 2047, 2048, 2049, 70_001])
def test_the_sum_of_bytes_is_the_same_for_any_number_of_threads(
    num_bytes: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    tensor = torch.randint(256, (num_bytes,), dtype=torch.uint8)
    alone = native.checksum(tensor)
    monkeypatch.setattr(native, "PARALLEL", 0)
    threads = torch.get_num_threads()
    torch.set_num_threads(3)
    try:
        assert native.checksum(tensor) == alone
    finally:
        torch.set_num_threads(threads)


def test_without_a_compiler_the_sum_tells_writes_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(native, "_summed", lambda: None)
    tensor = torch.arange(5000)
    before = contents(tensor)
    assert contents(tensor.clone()) == before
    tensor.numpy()[4321] = 0
    assert contents(tensor) != before


def test_a_value_is_kept_as_long_as_its_tensor_lives() -> None:
    kept: OfTensors[str] = OfTensors()
    one = torch.arange(3)
    kept.keep(one, "one")
    assert kept.get(one) == "one" and kept.get(one.clone()) is None
    del one
    assert not kept._known


def test_nothing_is_kept_for_a_tensor_that_counts_no_versions() -> None:
    kept: OfTensors[str] = OfTensors()
    with torch.inference_mode():
        tensor = torch.arange(3)
    assert kept.keep(tensor, "one") == "one" and kept.get(tensor) is None


def test_tensors_without_memory_of_their_own_are_told_apart_by_their_version() -> None:
    tensor = torch.empty(2, 5, device="meta")
    before = contents(tensor)
    assert contents(tensor) == before
    tensor.zero_()
    assert contents(tensor) != before
    seen = []

    def look(row: Tensor) -> Tensor:
        seen.append(contents(row) == contents(row))
        return row

    torch.func.vmap(look)(torch.ones(3, 4))
    assert seen == [True]


@pytest.mark.filterwarnings("ignore:Sparse:UserWarning")
def test_a_sparse_matrix_in_the_place_of_edge_index_is_refused_in_a_sentence() -> None:
    matrix = torch.eye(3)
    for sparse in (matrix.to_sparse_coo(), matrix.to_sparse_csr()):
        sentence = (
            rf"got a tensor of layout {sparse.layout}: convert a sparse matrix with Graph\.from_scipy\."
        )
        with pytest.raises(TypeError, match=sentence):
            as_graph(sparse, 3)
