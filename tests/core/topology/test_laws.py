"""What holds for every topology, whatever its formula: it agrees with its own edges."""

import copy
import io
import pickle
import time
import tracemalloc
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from mpnn import Graph, topology
from mpnn.graph.csr import compress
from mpnn.topology import Implicit

PATH = Graph(torch.tensor([[0, 1, 1], [1, 2, 1]]))

FORWARD: list[Callable[[], Implicit]] = [
    lambda: topology.complete(0),
    lambda: topology.complete([]),
    lambda: topology.complete(4),
    lambda: topology.complete([3, 0, 1, 4]),
    lambda: topology.complete([3, 0, 1, 4], self_loops=False),
    lambda: topology.complete_bipartite(3, 2),
    lambda: topology.complete_bipartite([3, 0, 1, 2], [2, 4, 1, 0]),
    lambda: topology.causal(5),
    lambda: topology.causal([2, 0, 4]),
    lambda: topology.band([7, 0, 1, 3], 2),
    lambda: topology.band([9, 3], (1, 3), dilation=2),
    lambda: topology.band([9, 3], 2, causal=True, dilation=3),
    lambda: topology.band(4, 0),
    lambda: topology.band(4, 100),
    lambda: topology.chain(0),
    lambda: topology.chain([]),
    lambda: topology.chain([4, 0, 1, 3]),
    lambda: topology.star(0),
    lambda: topology.star([3, 0, 2]),
    lambda: topology.star([3, 0, 2], both_ways=True),
    lambda: topology.tree([]),
    lambda: topology.tree([-1, 0, 0, 1, -1]),
    lambda: topology.tree([[1, -1], [], [-1, 0, 1]]),
    lambda: topology.grid(5, 2),
    lambda: topology.grid((5, 4), (3, 2), (2, 1), (1, 0), (1, 2), batch=2),
    lambda: topology.grid((3, 2), 3, padding="same", batch=0),
    lambda: topology.grid((3, 4, 2), 3, padding="same", batch=2, periodic=(True, False, True)),
    lambda: topology.grid((3, 3), 5, padding=((1, 2), (4, 4))),
    lambda: topology.grid((1, 1), 1, stride=3, padding=2),
    lambda: topology.adaptive_grid((5, 4), (3, 7), batch=2),
    lambda: topology.lattice(1),
    lambda: topology.lattice((3, 4)),
    lambda: topology.lattice((2, 1, 4), torus=True),
    lambda: topology.lattice((3, 4), hexagonal=True),
    lambda: topology.lattice((1, 1), hexagonal=True),
    lambda: topology.lattice((4, 3), hexagonal=True, torus=True),
    lambda: topology.product(PATH, topology.chain(3)),
    lambda: topology.product(topology.complete([2, 3]), topology.grid(3, 3, padding=1)),
    lambda: topology.product(topology.complete(0), topology.chain(3)),
]
ALL = [make() for make in FORWARD] + [make().reverse() for make in FORWARD]


def is_enumerated(graph: Implicit) -> bool:
    return graph._edge_index is not None


@pytest.fixture(params=ALL, ids=repr)
def graph(request: pytest.FixtureRequest) -> Implicit:
    fresh: Implicit = copy.deepcopy(request.param)  # as pickling does it: without the edges
    assert not is_enumerated(fresh)
    return fresh


def test_a_topology_is_the_explicit_graph_of_its_edges(graph: Implicit) -> None:
    num_nodes = graph.size if graph.is_bipartite else graph.num_nodes
    explicit = Graph(
        graph.edge_index,
        num_nodes,
        graph.edge_type,
        num_edge_types=None if graph.edge_type is None else graph.num_edge_types,
    )
    assert graph.num_edges == explicit.num_edges
    assert graph.edge_index.dtype == torch.int64
    assert graph.device == explicit.device
    assert torch.equal(graph.in_degree, explicit.in_degree)
    assert torch.equal(graph.out_degree, explicit.out_degree)
    assert graph.num_edge_types == explicit.num_edge_types


def test_both_csr_structures_are_those_of_the_edges(graph: Implicit) -> None:
    for ours, rows, columns, num_rows, num_columns in (
        (graph.by_dst, graph.dst, graph.src, graph.num_dst, graph.num_src),
        (graph.by_src, graph.src, graph.dst, graph.num_src, graph.num_dst),
    ):
        theirs = compress(rows, columns, num_rows, num_columns)
        for name in ("indptr", "indices", "edge_ids"):
            mine, its = getattr(ours, name), getattr(theirs, name)
            assert torch.equal(mine, its), name
            assert mine.dtype == its.dtype, name


def test_what_a_formula_knows_is_told_without_enumerating(graph: Implicit) -> None:
    told = ["size", "num_edges", "num_edge_types", "edge_type", "in_degree", "out_degree", "device"]
    for name in [*told, "num_graphs", "graph_sizes", "graph_index", "node_ptr"]:
        getattr(graph, name)
    repr(graph)
    graph.reverse().reverse()
    graph.to("cpu")
    assert not is_enumerated(graph)
    factors = [factor for factor in graph.description.values() if isinstance(factor, Implicit)]
    assert not any(is_enumerated(factor) for factor in factors)


def equal(one: Tensor | None, other: Tensor | None) -> bool:
    return one is other if one is None or other is None else torch.equal(one, other)


def test_a_reversed_topology_has_every_edge_turned_round_in_its_place(graph: Implicit) -> None:
    reverse = graph.reverse()
    assert type(reverse) is type(graph)
    assert reverse.description == graph.description
    assert reverse.is_reversed is not graph.is_reversed
    assert reverse.size == graph.size[::-1]
    assert torch.equal(reverse.edge_index, graph.edge_index.flip(0))
    assert equal(reverse.edge_type, graph.edge_type)
    assert torch.equal(reverse.in_degree, graph.out_degree)
    assert torch.equal(reverse.reverse().edge_index, graph.edge_index)
    assert reverse.graph_sizes == [size[::-1] for size in graph.graph_sizes]


def test_a_reverse_inherits_what_is_already_known(graph: Implicit) -> None:
    by_dst, in_degree, edge_type = graph.by_dst, graph.in_degree, graph.edge_type
    reverse = graph.reverse()
    assert is_enumerated(reverse)
    assert reverse.by_src is by_dst
    assert reverse.out_degree is in_degree
    assert reverse.edge_type is edge_type


def test_a_pickled_topology_is_small_and_the_same(graph: Implicit) -> None:
    before, edge_index = len(pickle.dumps(graph)), graph.edge_index
    graph.by_dst  # noqa: B018
    pickled = pickle.dumps(graph)
    assert len(pickled) == before
    again = pickle.loads(pickled)
    assert repr(again) == repr(graph)
    assert torch.equal(again.edge_index, edge_index)
    assert torch.equal(copy.deepcopy(graph).edge_index, edge_index)


def test_a_batch_falls_apart_into_its_graphs_and_comes_together_again(graph: Implicit) -> None:
    if graph.num_graphs == 0:
        assert graph.unbatch() == []
        return
    parts = graph.unbatch()
    assert [part.size for part in parts] == graph.graph_sizes
    whole = Graph.batch(parts)
    assert whole.size == graph.size
    order = torch.argsort(graph.graph_index[graph.dst], stable=True)
    assert torch.equal(whole.edge_index, graph.edge_index[:, order])


def test_a_description_is_read_only(graph: Implicit) -> None:
    for name in [*graph.description, "is_reversed", "something_new"]:
        with pytest.raises(AttributeError, match=f"{name} is read-only"):
            setattr(graph, name, 1)
    with pytest.raises(AttributeError, match="is_reversed is read-only"):
        del graph.is_reversed


def test_derived_graphs_are_ordinary_ones(graph: Implicit) -> None:
    kept = graph.edge_subgraph(torch.arange(0, graph.num_edges, 2))
    assert type(kept) is Graph
    assert torch.equal(kept.edge_index, graph.edge_index[:, ::2])
    if graph.edge_type is not None:
        assert kept.edge_type is not None
        assert torch.equal(kept.edge_type, graph.edge_type[::2])
    merged, _ = graph.coalesce()
    assert merged.num_edges <= graph.num_edges


def test_edges_enumerated_under_inference_mode_serve_training(graph: Implicit) -> None:
    with torch.inference_mode():
        index, degree = graph.edge_index, graph.in_degree
    assert not index.is_inference()
    assert not degree.is_inference()


def test_a_topology_lives_where_it_is_told(graph: Implicit) -> None:
    expected = graph.edge_index, graph.edge_type, graph.in_degree, graph.out_degree, graph.graph_index
    fresh = copy.deepcopy(graph)
    # A tensor made without saying where would be on the meta device, and meet those on the CPU.
    with torch.device("meta"):
        found = fresh.edge_index, fresh.edge_type, fresh.in_degree, fresh.out_degree, fresh.graph_index
    for mine, its in zip(found, expected, strict=True):
        assert equal(mine, its)


def test_a_topology_moves_without_its_edges(graph: Implicit) -> None:
    assert graph.to("cpu") is graph
    moved = graph.to("meta")
    assert type(moved) is type(graph)
    assert moved.device.type == "meta"
    assert moved.num_edges == graph.num_edges
    assert moved.is_reversed is graph.is_reversed
    assert "device=meta" in repr(moved)
    assert moved.node_ptr.device.type == "meta"


HUGE = 1_000_000
GIANTS: list[Callable[[], Implicit]] = [
    lambda: topology.complete(HUGE),
    lambda: topology.complete([HUGE] * 4, self_loops=False),
    lambda: topology.complete_bipartite(HUGE, HUGE),
    lambda: topology.causal(HUGE),
    lambda: topology.band(HUGE, 1024, dilation=2),
    lambda: topology.chain(HUGE, backward=True),
    lambda: topology.star(HUGE),
    lambda: topology.grid((1000, 1000), 11, padding="same", batch=8),
    lambda: topology.grid((100, 100, 100), 5, padding=2).reverse(),
    lambda: topology.adaptive_grid(HUGE, HUGE - 1),
    lambda: topology.lattice((1000, 1000), hexagonal=True),
    lambda: topology.product(topology.complete(1000), topology.chain(1000)),
]


class Allocated(TorchDispatchMode):
    """Adds up the bytes of all tensors that are made."""

    def __init__(self) -> None:
        super().__init__()
        self.bytes = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = func(*args, **(kwargs or {}))
        self.bytes += sum(t.nbytes for t in tree_leaves(out) if isinstance(t, torch.Tensor))
        return out


@pytest.mark.parametrize("make", GIANTS, ids=lambda make: repr(make()))
def test_a_million_nodes_take_no_time_and_no_memory(make: Callable[[], Implicit]) -> None:
    with Allocated() as tensors:
        graph = make()
        assert graph.num_edges >= HUGE - 1
        repr(graph)
    assert tensors.bytes < 10_000
    tracemalloc.start()
    make()
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 200_000
    times = []
    for _ in range(50):
        started = time.perf_counter()
        make()
        times.append(time.perf_counter() - started)
    assert min(times) < 0.0002
    buffer = io.BytesIO()
    torch.save(graph, buffer)
    assert buffer.tell() < 10_000
