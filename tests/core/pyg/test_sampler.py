"""Sampled neighbourhoods: what may be drawn, how often, and with PyTorch Geometric's own loaders."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from typing import Any

import networkx as nx
import pytest
import torch
from scipy.stats import chisquare
from torch import Tensor
from torch_geometric.data import Data, HeteroData
from torch_geometric.utils import k_hop_subgraph

import mpnn
from mpnn.native import neighbors as compiled
from mpnn.pyg.partition import metis
from mpnn.pyg.sampler.hash_map import CPUHashMap
from mpnn.pyg.sampler.neighbor import hetero_neighbor_sample, neighbor_sample
from mpnn.pyg.sampler.subgraph import random_walk, subgraph

NODES, EDGES = 40, 300
ENOUGH = 1e-4  # p-value below which frequencies are wrong


@pytest.fixture(autouse=True)
def seeded() -> None:
    torch.manual_seed(0)


def graph(seed: int = 0) -> tuple[Tensor, Tensor, Tensor]:
    """Rows, pointers and columns of a random graph; the last node has no edges."""
    torch.manual_seed(seed)
    row = torch.randint(NODES - 1, (EDGES,)).sort()[0]
    return row, torch.searchsorted(row, torch.arange(NODES + 1)), torch.randint(NODES, (EDGES,))


@pytest.fixture(params=["compiled", "plain"])
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    if request.param == "plain":
        monkeypatch.setattr(compiled, "can_draw", lambda index_type: False)
    yield request.param


def same(one: Any, other: Any) -> bool:
    return torch.equal(one, other) if isinstance(one, Tensor) else bool(one == other)


OPTIONS: list[dict[str, Any]] = [
    {},
    {"replace": True},
    {"disjoint": True},
    {"disjoint": True, "replace": True},
    {"edge_weight": True},
    {"edge_weight": True, "replace": True},
    {"csc": True},
]


def options_of(given: dict[str, Any]) -> dict[str, Any]:
    weight = torch.rand(EDGES, generator=torch.Generator().manual_seed(1))
    return {**given, "edge_weight": weight} if "edge_weight" in given else given


@pytest.mark.parametrize("given", OPTIONS, ids=str)
@pytest.mark.parametrize("kind", [torch.int64, torch.int32])
def test_a_sample_is_made_of_edges_of_the_graph(way: str, given: dict[str, Any], kind: torch.dtype) -> None:
    row, rowptr, col = graph()
    seeds, counts = torch.tensor([3, 17, 39, 5]), [4, 2, -1]
    made = neighbor_sample(rowptr.to(kind), col.to(kind), seeds.to(kind), counts, **options_of(given))
    ends, others, node, edge, nodes_of_hops, edges_of_hops = made
    assert edge is not None
    assert {ends.dtype, others.dtype, node.dtype, edge.dtype} == {kind}
    assert len(node) == sum(nodes_of_hops)
    assert len(edge) == sum(edges_of_hops)
    example, name = node.unbind(1) if given.get("disjoint") else (torch.zeros_like(node), node)
    assert name[:4].tolist() == seeds.tolist()
    assert len({*zip(example.tolist(), name.tolist(), strict=True)}) == len(node)  # each node once
    if given.get("csc"):
        ends, others = others, ends
    edge = edge.long()
    assert torch.equal(name[ends].long(), row[edge])
    assert torch.equal(name[others].long(), col[edge])
    assert torch.equal(example[ends], example[others])
    # Nodes are numbered in the order in which they are found, and hop by hop each new node draws.
    assert torch.equal(others[others >= 4].unique(), torch.arange(4, len(node), dtype=kind))
    first_seen = [int((others == k).nonzero()[0]) for k in range(4, len(node))]
    assert first_seen == sorted(first_seen)
    begin = 0
    for hop, count in enumerate(counts):
        here = range(begin, begin + nodes_of_hops[hop])
        for number in here:
            degree = int(rowptr[name[number] + 1] - rowptr[name[number]])
            drawn = edge[ends == number]
            wanted = degree if count < 0 else count if given.get("replace") and degree else min(count, degree)
            assert len(drawn) == wanted
            assert given.get("replace") or len(drawn.unique()) == wanted
        begin += nodes_of_hops[hop]


def test_all_neighbours_are_the_neighbourhood_of_pytorch_geometric(way: str) -> None:
    row, rowptr, col = graph()
    seeds = torch.tensor([1, 2])
    _, _, node, edge, *_ = neighbor_sample(rowptr, col, seeds, [-1, -1])
    around, _, _, mask = k_hop_subgraph(seeds, 2, torch.stack([col, row]), num_nodes=NODES)
    assert sorted(node.tolist()) == around.tolist()
    induced = neighbor_sample(rowptr, col, seeds, [-1, -1], directed=False)
    assert induced[3] is not None
    assert sorted(induced[3].tolist()) == mask.nonzero().flatten().tolist()
    assert torch.equal(node[induced[0]], row[induced[3]])
    assert torch.equal(node[induced[1]], col[induced[3]])
    assert edge is not None
    assert set(edge.tolist()) <= set(induced[3].tolist())


@pytest.mark.parametrize("given", [one for one in OPTIONS if "edge_weight" not in one], ids=str)
def test_without_a_compiler_the_draws_are_the_same(
    given: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    _, rowptr, col = graph()
    made = []
    for _ in range(2):
        torch.manual_seed(5)
        made.append(neighbor_sample(rowptr, col, torch.arange(10), [7, 3, 5], **given))
        monkeypatch.setattr(compiled, "can_draw", lambda index_type: False)
    assert all(map(same, *made))


@pytest.mark.parametrize("given", OPTIONS, ids=str)
def test_a_seed_gives_the_same_sample_on_any_number_of_threads(given: dict[str, Any]) -> None:
    torch.manual_seed(0)
    rowptr, col = torch.arange(0, 60001, 20), torch.randint(3000, (60000,))
    weight = {"edge_weight": torch.rand(60000)} if "edge_weight" in given else {}
    made, before = [], torch.get_num_threads()
    try:
        for threads in (1, 3, 3):
            torch.set_num_threads(threads)
            torch.manual_seed(1)
            made.append(neighbor_sample(rowptr, col, torch.arange(1000), [10, 5], **{**given, **weight}))
    finally:
        torch.set_num_threads(before)
    for one in made[1:]:
        assert all(map(same, made[0], one))
    another = neighbor_sample(rowptr, col, torch.arange(1000), [10, 5], **{**given, **weight})
    assert not torch.equal(made[0][1], another[1])


def frequencies(
    draws: Callable[[Tensor], Tensor], outcomes: list[tuple[int, ...]], ordered: bool
) -> list[int]:
    """How often each set of slots is drawn, of the same row many times."""
    drawn = draws(torch.zeros(6000, dtype=torch.int64)).tolist()
    found = [tuple(one) if ordered else tuple(sorted(one)) for one in drawn]
    assert set(found) <= set(outcomes)
    return [found.count(one) for one in outcomes]


def test_each_set_of_neighbours_is_equally_likely(way: str) -> None:
    rowptr, col = torch.tensor([0, 5]), torch.zeros(5, dtype=torch.int64)

    def draws(seeds: Tensor) -> Tensor:
        edge = neighbor_sample(rowptr, col, seeds, [2], disjoint=True)[3]
        assert edge is not None
        return edge.view(-1, 2)

    assert chisquare(frequencies(draws, list(itertools.combinations(range(5), 2)), False)).pvalue > ENOUGH


def test_many_neighbours_are_drawn_without_repeats(way: str) -> None:
    rowptr, col = torch.tensor([0, 500]), torch.zeros(500, dtype=torch.int64)
    edge = neighbor_sample(rowptr, col, torch.zeros(50, dtype=torch.int64), [200], disjoint=True)[3]
    assert edge is not None
    assert all(len(one.unique()) == 200 for one in edge.view(50, 200))
    assert chisquare(torch.bincount(edge, minlength=500).tolist()).pvalue > ENOUGH


@pytest.mark.parametrize("replace", [False, True])
def test_neighbours_are_drawn_by_weight(way: str, replace: bool) -> None:
    weight = torch.tensor([1.0, 0.0, 3.0, 2.0], dtype=torch.float64)
    rowptr, col = torch.tensor([0, 4]), torch.zeros(4, dtype=torch.int64)

    def draws(seeds: Tensor) -> Tensor:
        edge = neighbor_sample(rowptr, col, seeds, [2], edge_weight=weight, replace=replace, disjoint=True)[3]
        assert edge is not None
        return edge.view(-1, 2)

    share = (weight / weight.sum()).tolist()
    if replace:
        expected = {(a, b): share[a] * share[b] for a, b in itertools.product((0, 2, 3), repeat=2)}
    else:  # one after the other, each by its share of what is left
        expected = {
            (a, b): share[a] * share[b] / (1 - share[a]) + share[b] * share[a] / (1 - share[b])
            for a, b in itertools.combinations((0, 2, 3), 2)
        }
    counts = frequencies(draws, list(expected), ordered=replace)
    assert chisquare(counts, [6000 * one for one in expected.values()]).pvalue > ENOUGH


# Times -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("strategy", ["uniform", "last"])
@pytest.mark.parametrize("of_edges", [False, True])
@pytest.mark.parametrize("own_times", [False, True])
def test_no_later_neighbour_is_drawn(way: str, strategy: str, of_edges: bool, own_times: bool) -> None:
    row, rowptr, col = graph()
    time = torch.randint(20, (EDGES if of_edges else NODES,))
    of_entry = time if of_edges else time[col]
    order = torch.argsort(of_entry, stable=True)
    order = order[torch.argsort(row[order], stable=True)]
    col, of_entry = col[order], of_entry[order]
    seeds = torch.tensor([0, 7, 7, 39])
    own = torch.tensor([5, 19, 0, 10])
    given: dict[str, Any] = {"edge_time": of_entry} if of_edges else {"node_time": time}
    if own_times or of_edges:
        given["seed_time"] = own
    limit = own if own_times or of_edges else time[seeds]
    ends, _, node, edge, nodes_of_hops, _ = neighbor_sample(
        rowptr, col, seeds, [3, 2], disjoint=True, temporal_strategy=strategy, **given
    )
    assert edge is not None
    begin = 0
    for hop, count in enumerate([3, 2]):
        for number in range(begin, begin + nodes_of_hops[hop]):
            example, name = node[number].tolist()
            slots = range(int(rowptr[name]), int(rowptr[name + 1]))
            allowed = [slot for slot in slots if of_entry[slot] <= limit[example]]
            drawn = edge[ends == number].tolist()
            assert set(drawn) <= set(allowed)
            assert len(set(drawn)) == len(drawn) == min(count, len(allowed))
            if strategy == "last":
                assert sorted(drawn) == allowed[-count:]
        begin += nodes_of_hops[hop]


# Types -----------------------------------------------------------------------------------------------


def test_one_relation_is_the_graph_without_types() -> None:
    _, rowptr, col = graph()
    kind = ("a", "to", "a")
    torch.manual_seed(3)
    plain = neighbor_sample(rowptr, col, torch.arange(5), [3, 2], disjoint=True)
    torch.manual_seed(3)
    typed = hetero_neighbor_sample(
        {kind: rowptr}, {kind: col}, {"a": torch.arange(5)}, {kind: [3, 2]}, disjoint=True
    )
    for one, by_type in zip(plain, typed, strict=True):
        (found,) = by_type.values()
        assert same(one, found)


@pytest.mark.parametrize("csc", [False, True])
@pytest.mark.parametrize("disjoint", [False, True])
def test_a_sample_with_types_is_made_of_the_relations_edges(csc: bool, disjoint: bool) -> None:
    torch.manual_seed(0)
    sizes, kinds = {"a": 30, "b": 20}, [("a", "to", "b"), ("b", "to", "a"), ("a", "likes", "a")]
    rowptr, col, rows = {}, {}, {}
    for kind in kinds:
        near, far = (kind[2], kind[0]) if csc else (kind[0], kind[2])
        rows[kind] = torch.randint(sizes[near], (150,)).sort()[0]
        rowptr[kind] = torch.searchsorted(rows[kind], torch.arange(sizes[near] + 1))
        col[kind] = torch.randint(sizes[far], (150,))
    seeds = {"a": torch.tensor([1, 2]), "b": torch.tensor([4])}
    counts = {kind: [2, 3] for kind in kinds}
    row, column, node, edge, nodes_of_hops, edges_of_hops = hetero_neighbor_sample(
        rowptr, col, seeds, counts, csc=csc, disjoint=disjoint
    )
    for kind in kinds:
        near, far = (kind[2], kind[0]) if csc else (kind[0], kind[2])
        ends, others = (column[kind], row[kind]) if csc else (row[kind], column[kind])
        assert sum(edges_of_hops[kind]) == len(edge[kind])
        of_near, of_far = (node[one] if disjoint else node[one][:, None].expand(-1, 2) for one in (near, far))
        assert torch.equal(of_near[ends, 1], rows[kind][edge[kind]])
        assert torch.equal(of_far[others, 1], col[kind][edge[kind]])
        assert not disjoint or torch.equal(of_near[ends, 0], of_far[others, 0])
        begin = 0
        for hop, count in enumerate([2, 3]):
            for number in range(begin, begin + nodes_of_hops[near][hop]):
                name = of_near[number, 1]
                degree = int(rowptr[kind][name + 1] - rowptr[kind][name])
                assert int((ends == number).sum()) == min(count, degree)
            begin += nodes_of_hops[near][hop]
    assert {kind: sum(found) for kind, found in nodes_of_hops.items()} == {k: len(v) for k, v in node.items()}


# What is near ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", [torch.int64, torch.int32])
def test_a_subgraph_is_that_of_networkx(way: str, kind: torch.dtype) -> None:
    row, rowptr, col = graph()
    nodes = torch.randperm(NODES)[:15]
    pointers, ends, edges = subgraph(rowptr.to(kind), col.to(kind), nodes.to(kind))
    assert edges is not None
    assert pointers.dtype == ends.dtype == edges.dtype == kind
    theirs = nx.MultiDiGraph(zip(row.tolist(), col.tolist(), strict=True)).subgraph(nodes.tolist())
    rows = torch.repeat_interleave(pointers.diff())
    ours = zip(nodes[rows].tolist(), nodes[ends.long()].tolist(), strict=True)
    assert sorted(ours) == sorted(theirs.edges())
    assert torch.equal(row[edges.long()], nodes[rows])
    assert subgraph(rowptr, col, nodes, return_edge_id=False)[2] is None


@pytest.mark.parametrize("biases", [(1.0, 1.0), (0.5, 2.0)])
@pytest.mark.parametrize("kind", [torch.int64, torch.int32])
def test_a_walk_goes_along_edges(biases: tuple[float, float], kind: torch.dtype) -> None:
    row, rowptr, col = graph()
    edges = {*zip(row.tolist(), col.tolist(), strict=True)}
    walks = random_walk(rowptr.to(kind), col.to(kind), torch.arange(NODES).to(kind), 6, *biases)
    assert walks.shape == (NODES, 7)
    assert walks.dtype == kind
    assert walks[:, 0].tolist() == list(range(NODES))
    for a, b in zip(walks[:, :-1].flatten().tolist(), walks[:, 1:].flatten().tolist(), strict=True):
        assert (a, b) in edges or (a == b and rowptr[a] == rowptr[a + 1])


def test_a_hash_map_finds_places() -> None:
    found = CPUHashMap(torch.tensor([5, -2, 30], dtype=torch.int16))
    assert found.get(torch.tensor([30, 7, -2], dtype=torch.int16)).tolist() == [2, -1, 1]
    assert found.keys().tolist() == [5, -2, 30]
    assert found.size() == 3
    with pytest.raises(RuntimeError, match="5 more than once"):
        CPUHashMap(torch.tensor([5, 5]))


def test_parts_are_of_equal_size_and_most_edges_are_inside() -> None:
    grid = nx.to_scipy_sparse_array(nx.grid_2d_graph(30, 30), format="csr")
    rowptr, col = torch.from_numpy(grid.indptr), torch.from_numpy(grid.indices)
    part = metis(rowptr, col, 6)
    assert torch.bincount(part, minlength=6).max() <= 1.1 * 150
    row = torch.repeat_interleave(rowptr.diff())
    assert float((part[row] == part[col.long()]).double().mean()) > 0.8  # of random parts a sixth
    assert metis(rowptr, col, 1).unique().tolist() == [0]
    heavy = torch.ones(900, dtype=torch.int64)
    heavy[:100] = 10
    weights = torch.zeros(3, dtype=torch.int64).index_add(0, metis(rowptr, col, 3, heavy), heavy)
    assert int(weights.max()) <= 1.1 * 600


# PyTorch Geometric's loaders -------------------------------------------------------------------------


def test_a_loader_of_pytorch_geometric_computes_what_the_whole_graph_does() -> None:
    from torch_geometric.loader import LinkNeighborLoader, NeighborLoader
    from torch_geometric.nn import GraphSAGE

    row, _, col = graph()
    data = Data(x=torch.randn(NODES, 4), edge_index=torch.stack([col, row]))
    model = GraphSAGE(4, 8, 2, 3).eval()
    with torch.no_grad(), mpnn.pyg.enabled():
        whole = model(data.x, data.edge_index)
        for workers in (0, 2):
            for batch in NeighborLoader(data, [-1, -1], batch_size=7, num_workers=workers):
                made = model(batch.x, batch.edge_index)[: batch.batch_size]
                assert torch.allclose(made, whole[batch.n_id[: batch.batch_size]], atol=1e-6)
        for batch in LinkNeighborLoader(data, [3, 2], batch_size=50, neg_sampling_ratio=1.0):
            assert batch.edge_label_index.max() < batch.num_nodes
            assert torch.equal(batch.x, data.x[batch.n_id])


def test_a_loader_of_types() -> None:
    from torch_geometric.loader import NeighborLoader

    data = HeteroData()
    data["a"].x, data["b"].x = torch.randn(30, 2), torch.randn(20, 2)
    data["a", "to", "b"].edge_index = torch.stack([torch.randint(30, (90,)), torch.randint(20, (90,))])
    data["b", "to", "a"].edge_index = data["a", "to", "b"].edge_index.flip(0)
    with mpnn.pyg.enabled():
        for batch in NeighborLoader(data, [3, 2], input_nodes="a", batch_size=8):
            assert torch.equal(batch["b"].x, data["b"].x[batch["b"].n_id])
            for kind in data.edge_types:
                mine, whole = batch[kind], data[kind].edge_index
                ends = torch.stack([batch[kind[k]].n_id[mine.edge_index[k // 2]] for k in (0, 2)])
                assert torch.equal(ends, whole[:, mine.e_id])


def test_node2vec_runs() -> None:
    from torch_geometric.nn import Node2Vec

    row, _, col = graph()
    with mpnn.pyg.enabled():
        model = Node2Vec(torch.stack([row, col]), 8, walk_length=5, context_size=3, num_nodes=NODES)
        positive, negative = next(iter(model.loader(batch_size=10)))
        loss = model.loss(positive, negative)
        loss.backward()
    assert loss.isfinite()


# What is wrong is said -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"seed": torch.tensor([NODES])}, IndexError, f"node {NODES} has no row"),
        ({"seed": torch.tensor([-1])}, IndexError, "seed holds -1"),
        ({"seed": torch.tensor([0.5])}, TypeError, "seed must be an integer"),
        ({"rowptr": torch.tensor([0, 5, 3])}, ValueError, "rowptr must ascend"),
        ({"col": torch.tensor([0.5])}, TypeError, "col must be an int32 or int64"),
        ({"num_neighbors": [1.5]}, TypeError, r"num_neighbors\[0\]"),
        ({"edge_weight": torch.ones(3)}, ValueError, r"edge_weight must have shape \[300\]"),
        ({"edge_weight": -torch.ones(EDGES)}, ValueError, "weights of node 0's edges must be finite"),
        ({"node_time": torch.zeros(NODES).long()}, ValueError, "needs disjoint=True"),
        ({"temporal_strategy": "first"}, ValueError, "temporal_strategy is 'first'"),
        ({"edge_time": torch.arange(EDGES), "disjoint": True}, ValueError, "without seed_time"),
        ({"node_time": torch.arange(40), "disjoint": True, "seed": torch.tensor([38])}, ValueError, "time"),
        ({"directed": False, "disjoint": True}, ValueError, "choose one of them"),
    ],
)  # fmt: skip
def test_a_bad_argument_is_named(
    way: str, change: dict[str, Any], error: type[Exception], message: str
) -> None:
    _, rowptr, col = graph()
    given = {"rowptr": rowptr, "col": col, "seed": torch.tensor([0]), "num_neighbors": [2, 2], **change}
    with pytest.raises(error, match=message):
        neighbor_sample(**given)
