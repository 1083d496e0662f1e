"""Padded samples equal plain samples, have sizes that are known before, and do not wait for a GPU."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

import mpnn
from mpnn import Graph, NeighborLoader, models, sample_neighbors
from mpnn.backends.triton import has_triton
from mpnn.testing import Data, Subject
from tests.compare import assert_close
from tests.core.graphs import graphs, random_graph
from tests.core.waiting import never_waits, no_waiting, warmed_up
from tests.elsewhere import elsewhere
from tests.laws import SUBJECTS, carrying

DEVICE = "cuda" if torch.cuda.is_available() else "cpu"
LAYERS = [subject for subject in SUBJECTS if subject.name in models.CONVS]


@given(graphs(bipartite=False), st.lists(st.integers(0, 3), max_size=3), st.data())
def test_without_its_padding_a_padded_sample_equals_the_sample(
    graph: Graph, fanouts: list[int], data: st.DataObject
) -> None:
    chosen = data.draw(st.permutations(range(graph.num_nodes)))[: data.draw(st.integers(0, graph.num_nodes))]
    seeds = torch.tensor(chosen, dtype=torch.int64)
    plain = sample_neighbors(graph, seeds, fanouts, seed=5)
    padded = sample_neighbors(graph, seeds, fanouts, seed=5, padded=True)
    nodes, edges, part = padded.node_mask, padded.edge_mask, padded.graph
    assert nodes is not None and edges is not None
    assert torch.equal(padded.nodes[nodes], plain.nodes) and torch.equal(padded.edges[edges], plain.edges)
    assert padded.num_seeds == plain.num_seeds and padded.nodes[~nodes].eq(0).all()
    number = nodes.cumsum(0) - 1
    assert torch.equal(number[part.edge_index[:, edges]], plain.graph.edge_index)
    if part.edge_type is not None and plain.graph.edge_type is not None:
        assert torch.equal(part.edge_type[edges], plain.graph.edge_type)
    # Sizes follow from those of what is asked for.
    width, wanted_nodes, wanted_edges = len(chosen), len(chosen), 0
    for fanout in fanouts:
        wanted_edges += width * fanout
        width = width * fanout + 1
        wanted_nodes += width
    assert (part.num_nodes, part.num_edges) == (wanted_nodes, wanted_edges)
    # Padding is a few paths, without loops, and no edge leads to or from it.
    loopless = part.relooped("none")[0]
    for one in (part, loopless):
        src, dst = one.edge_index
        of_padding = ~nodes[src]
        assert torch.equal(of_padding, ~nodes[dst])
        assert not (src == dst)[of_padding].any()
        for end in (src, dst):
            assert end[of_padding].unique().numel() == of_padding.sum()
    assert loopless.num_edges == part.num_edges and not loopless.self_loop_mask.any()
    real = nodes[loopless.src]
    ends = part.edge_index[:, edges]
    assert torch.equal(loopless.edge_index[:, real], ends[:, ends[0] != ends[1]])


@pytest.mark.parametrize("subject", LAYERS, ids=str)
def test_layers_compute_the_same_at_the_other_nodes(subject: Subject) -> None:
    graph, seeds = random_graph(30, 80), torch.tensor([3, 17, 5])
    module, data = subject.make(), carrying(graph)

    def call(padded: bool) -> Tensor:
        sample = sample_neighbors(graph, seeds, [3, 2], seed=1, padded=padded)
        here = {name: value[sample.edges] for name, value in data.edges.items()}
        out: Tensor = subject.call(module, Data(sample.graph, data.x[sample.nodes], here))
        return out if sample.node_mask is None else out[sample.node_mask]

    assert graph.self_loop_mask.any()
    assert_close(call(padded=True), call(padded=False))


@pytest.mark.parametrize("subject", LAYERS, ids=str)
def test_drawing_and_the_first_step_on_what_was_drawn_never_wait(subject: Subject) -> None:
    with elsewhere() as device:
        data = carrying(random_graph(30, 80), torch.float32)
        there = data.to(device)
        graph, features = there.graph, [name for name in subject.edges if name != "edge_type"]
        assert isinstance(graph, Graph)
        if features != list(subject.edges):  # types that are not in the graph are checked
            graph = Graph(graph.edge_index, graph.num_nodes, there.edges["edge_type"])
        module = subject.make(torch.float32).to(device).train()
        loader = NeighborLoader(graph, [3, 2], batch_size=4, shuffle=True, padded=True)
        batches = iter(loader)
        next(batches)  # the whole graph is sorted
        with no_waiting():
            batch = next(batches)
            edges = {name: there.edges[name][batch.edges] for name in features}
            out = module(there.x[batch.nodes], batch.graph, **edges)[: batch.num_seeds]
            out.square().sum().backward()


@pytest.mark.skipif(not has_triton(), reason="Triton is not installed")
def test_kernels_for_what_was_drawn_never_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mpnn.graph.csr.sort_edges", lambda *_: None)  # as on a GPU, in PyTorch's operations
    graph = random_graph(30, 80).to(DEVICE)
    x, seeds = torch.randn(30, 4).to(DEVICE), torch.tensor([3, 17, 5]).to(DEVICE)
    model = models.GNN(4, 4, 2, num_layers=2, conv="gat").to(DEVICE)

    def step() -> Tensor:
        batch = sample_neighbors(graph, seeds, [3, 2], padded=True)
        out: Tensor = model(x[batch.nodes], batch.graph)[: batch.num_seeds]
        out.square().sum().backward()
        return out.detach()

    with mpnn.backend("triton"):
        step()
        with never_waits():
            step()


@pytest.mark.skipif(DEVICE == "cpu", reason="needs a GPU")
def test_a_cuda_graph_captures_the_draw_and_the_step() -> None:
    graph = random_graph(30, 80).to(DEVICE)
    x, seeds = torch.randn(30, 4).to(DEVICE), torch.tensor([3, 17, 5]).to(DEVICE)
    model = models.GNN(4, 4, 2, num_layers=2, conv="gcn").to(DEVICE)

    def step() -> tuple[Tensor, Tensor]:
        model.zero_grad(set_to_none=False)
        batch = sample_neighbors(graph, seeds, [3, 2], padded=True)
        out: Tensor = model(x[batch.nodes], batch.graph)[: batch.num_seeds]
        out.square().sum().backward()
        return out.detach(), batch.edges

    warmed_up(step)
    captured = torch.cuda.CUDAGraph()
    with torch.cuda.graph(captured):
        out, edges = step()
    drawn = []
    for _ in range(3):
        captured.replay()
        assert out.isfinite().all()
        drawn.append(edges.clone())
    assert any(not torch.equal(drawn[0], one) for one in drawn[1:])


def test_nodes_are_looked_at_when_they_are_new() -> None:
    with elsewhere() as device:
        graph, seeds = random_graph(30, 80).to(device), torch.tensor([3, 17], device=device)
        sample_neighbors(graph, seeds, [2], padded=True)
        with no_waiting():
            sample_neighbors(graph, seeds, [2], padded=True)
        seeds[1] = 30
        with pytest.raises(IndexError, match=r"nodes\[1\] is 30, but there are only 30 to choose from"):
            sample_neighbors(graph, seeds, [2], padded=True)


def test_a_mistake_gets_one_sentence() -> None:
    graph = random_graph(9, 20)
    with pytest.raises(ValueError, match=r"fanouts\[1\] is -1, for all edges, but a padded sample needs"):
        NeighborLoader(graph, [2, -1], batch_size=3, padded=True)
    with pytest.raises(ValueError, match="nodes is a mask, which does not tell how many nodes it chooses"):
        sample_neighbors(graph, torch.ones(9, dtype=torch.bool), [2], padded=True)
