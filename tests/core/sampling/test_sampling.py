"""Sampled neighbours: each subset as likely as any other, and with all of them the whole graph's answer."""

from __future__ import annotations

from itertools import combinations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import chisquare
from torch import Tensor
from torch_geometric.utils import k_hop_subgraph

import mpnn
from mpnn import Graph, NeighborLoader, models, sample_neighbors
from tests.compare import assert_close
from tests.core.graphs import graphs, random_graph
from tests.elsewhere import elsewhere

FANOUTS = st.lists(st.integers(-1, 3), max_size=3)


@given(graphs(bipartite=False), FANOUTS, st.data())
def test_a_node_hears_as_many_of_its_edges_as_it_may(
    graph: Graph, fanouts: list[int], data: st.DataObject
) -> None:
    chosen = data.draw(st.permutations(range(graph.num_nodes)))[: data.draw(st.integers(0, graph.num_nodes))]
    seeds = torch.tensor(chosen, dtype=torch.int64)
    sample = sample_neighbors(graph, seeds, fanouts)
    nodes, edges, part = sample.nodes, sample.edges, sample.graph
    assert torch.equal(nodes[: sample.num_seeds], seeds) and sample.num_seeds == len(chosen)
    assert len(set(nodes.tolist())) == part.num_nodes == nodes.numel()
    assert len(set(edges.tolist())) == part.num_edges == edges.numel()
    assert torch.equal(nodes[part.edge_index], graph.edge_index[:, edges])
    if graph.edge_type is not None and part.edge_type is not None:
        assert torch.equal(part.edge_type, graph.edge_type[edges])
    assert part.is_typed == graph.is_typed
    # Hop by hop, as the definition says.
    known, frontier = set(chosen), set(chosen)
    degree, kept = graph.in_degree.tolist(), dict(zip(nodes.tolist(), part.in_degree.tolist(), strict=True))
    ends = graph.edge_index[:, edges].T.tolist()
    for fanout in fanouts:
        for node in frontier:
            assert kept[node] == (degree[node] if fanout < 0 else min(degree[node], fanout))
        frontier = {src for src, dst in ends if dst in frontier} - known
        known |= frontier
    assert known == set(nodes.tolist())
    assert not any(kept[node] for node in frontier if fanouts)


def test_every_subset_is_equally_likely() -> None:
    copies, degree, fanout = 6000, 5, 2
    dst = torch.arange(copies).repeat_interleave(degree)
    src = copies + torch.arange(degree).repeat(copies)
    sample = sample_neighbors(
        Graph(torch.stack([src, dst]), copies + degree), torch.arange(copies), [fanout], seed=3
    )
    drawn = sample.edges.view(copies, fanout) % degree
    subsets = list(combinations(range(degree), fanout))
    times = [int((drawn == torch.tensor(one)).all(1).sum()) for one in subsets]
    assert sum(times) == copies
    assert chisquare(times).pvalue > 1e-3


@pytest.mark.parametrize("hops", [1, 2])
def test_all_neighbours_are_those_of_pyg(hops: int) -> None:
    graph, seeds = random_graph(40, 60), torch.tensor([3, 17, 5])
    sample = sample_neighbors(graph, seeds, [-1] * hops)
    nodes, *_ = k_hop_subgraph(seeds, hops, graph.edge_index, num_nodes=40)
    assert torch.equal(sample.nodes.sort().values, nodes)


@pytest.mark.parametrize("conv", ["sage", "gat", "gin"])
def test_with_all_neighbours_a_network_computes_what_it_does_on_the_whole_graph(conv: str) -> None:
    graph, seeds = random_graph(40, 90), torch.tensor([3, 17, 5])
    model = models.GNN(4, 8, 3, num_layers=2, conv=conv).double().eval()
    x = torch.randn(40, 4, dtype=torch.float64)
    sample = sample_neighbors(graph, seeds, [-1, -1])
    assert sample.graph.num_nodes < 40
    assert_close(model(x[sample.nodes], sample.graph)[: sample.num_seeds], model(x, graph)[seeds])


def test_a_seed_decides_whatever_else_is_asked_for() -> None:
    graph = random_graph(40, 400)
    drawn: list[set[int]] = []
    for seeds in ([7], [3, 7, 9]):
        sample = sample_neighbors(graph, torch.tensor(seeds), [3], seed=5)
        drawn.append({e for e in sample.edges.tolist() if graph.edge_index[1, e] == 7})
    assert drawn[0] == drawn[1]
    others = [sample_neighbors(graph, torch.arange(40), [3], seed=s).edges for s in (5, 6)]
    assert not torch.equal(*others)
    torch.manual_seed(1)
    first, second = (sample_neighbors(graph, torch.arange(40), [3]).edges for _ in range(2))
    torch.manual_seed(1)
    assert torch.equal(first, sample_neighbors(graph, torch.arange(40), [3]).edges)
    assert not torch.equal(first, second)


def test_a_mask_and_a_tensor_of_edges_will_do() -> None:
    graph, mask = Graph(random_graph().edge_index), torch.arange(7) % 4 == 1
    ours = sample_neighbors(graph, mask.nonzero().flatten(), [2], seed=1)
    theirs = sample_neighbors(graph.edge_index, mask, [2], seed=1)
    assert torch.equal(ours.edges, theirs.edges) and torch.equal(ours.nodes, theirs.nodes)


@pytest.mark.parametrize("shuffle", [False, True])
def test_an_epoch_has_every_node_once(shuffle: bool) -> None:
    wanted = torch.tensor([8, 2, 5, 1, 6])
    loader = NeighborLoader(random_graph(), [2, 2], nodes=wanted, batch_size=2, shuffle=shuffle)
    epochs = [[batch.nodes[: batch.num_seeds] for batch in loader] for _ in range(4)]
    assert len(loader) == 3 and [part.numel() for part in epochs[0]] == [2, 2, 1]
    orders = [torch.cat(parts) for parts in epochs]
    assert all(torch.equal(order.sort().values, wanted.sort().values) for order in orders)
    assert len({tuple(order.tolist()) for order in orders}) > 1 if shuffle else torch.equal(orders[0], wanted)
    assert len(list(NeighborLoader(random_graph(), [1], nodes=wanted[:0], batch_size=2))) == 0


def test_a_network_learns_from_batches() -> None:
    data = mpnn.datasets.load("karate")
    model = models.GNN(data.num_features, 16, data.num_classes, conv="sage")
    optimizer = torch.optim.Adam(model.parameters(), lr=0.02)
    loader = NeighborLoader(data.graph, [5, 5], batch_size=8, shuffle=True)
    losses: list[float] = []
    for _ in range(15):
        for batch in loader:
            optimizer.zero_grad()
            seeds = batch.nodes[: batch.num_seeds]
            out: Tensor = model(data.x[batch.nodes], batch.graph)[: batch.num_seeds]
            loss = torch.nn.functional.cross_entropy(out, data.y[seeds])
            loss.backward()
            optimizer.step()
            losses.append(loss.item())
    assert sum(losses[-5:]) < sum(losses[:5]) / 4


@pytest.mark.parametrize(
    ("nodes", "fanouts", "sentence"),
    [
        (torch.tensor([3, 9]), [1], r"nodes\[1\] is 9, but there are only 9"),
        (torch.tensor([3, 1, 3]), [1], "nodes holds 3 more than once: choose each node once"),
        (torch.tensor([0.5]), [1], "nodes must be a bool mask or integer positions, got torch.float32"),
        (torch.tensor([3]), [2, -2], r"fanouts\[1\] is -2, but should be a number of edges, or -1"),
        (torch.tensor([3]), [True], r"fanouts\[0\] is True, but should be a number of edges"),
    ],
    ids=str,
)
def test_a_mistake_gets_one_sentence(nodes: Tensor, fanouts: list[int], sentence: str) -> None:
    with pytest.raises((ValueError, TypeError, IndexError), match=sentence):
        sample_neighbors(random_graph(), nodes, fanouts)


def test_graphs_with_two_sets_of_nodes_and_empty_batches_are_refused() -> None:
    pair = Graph(torch.tensor([[0], [1]]), (1, 2))
    with pytest.raises(ValueError, match="needs one set of nodes"):
        sample_neighbors(pair, torch.tensor([0]), [1])
    with pytest.raises(ValueError, match="NeighborLoader needs one set of nodes"):
        NeighborLoader(pair, [1], batch_size=1)
    for fanouts in ([10**9], [1000, 1000, 1000]):
        with pytest.raises(
            ValueError, match=r"fanouts is \[10.*room for [\d,]+ edges, but at most 134,217,728"
        ):
            mpnn.NeighborLoader(random_graph(), fanouts, batch_size=4, padded=True)
        with pytest.raises(ValueError, match=r"padded sample of 3 nodes has room for"):
            sample_neighbors(random_graph(), torch.arange(3), fanouts, padded=True)
    with pytest.raises(TypeError, match="fanouts must be a sequence, a number of edges for each hop, got 5"):
        sample_neighbors(random_graph(), torch.arange(3), 5)  # type: ignore[call-overload]
    with pytest.raises(TypeError, match=r"batch_size is 2.5, but should be an integer"):
        mpnn.NeighborLoader(random_graph(), [2], batch_size=2.5)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="seed is 'one', but should be an integer"):
        sample_neighbors(random_graph(), torch.arange(3), [2], seed="one")  # type: ignore[call-overload]
    with pytest.raises(ValueError, match="batch_size is 0, but should be at least 1"):
        NeighborLoader(random_graph(), [1], batch_size=0)


def test_a_sample_is_on_the_device_of_the_graph() -> None:
    graph, seeds = random_graph(40, 400), torch.arange(0, 40, 3)
    expected = sample_neighbors(graph, seeds, [3, -1], seed=1)
    with elsewhere() as device:
        found = sample_neighbors(graph.to(device), seeds.to(device), [3, -1], seed=1)
        assert found.graph.device == found.nodes.device == found.edges.device == device
        assert found.nodes.tolist() == expected.nodes.tolist()
        assert found.edges.tolist() == expected.edges.tolist()
        loader = NeighborLoader(graph.to(device), [2], batch_size=16, shuffle=True)
        assert {batch.nodes.device for batch in loader} == {device}
