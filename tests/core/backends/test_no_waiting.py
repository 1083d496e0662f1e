"""After the first step, no operation of a training step makes the CPU wait for the device."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

import mpnn
from mpnn import Graph, models
from mpnn.backends.run import fused
from mpnn.backends.triton import has_triton
from mpnn.layer.typed import TypedEdges
from tests.core.graphs import random_graph
from tests.core.waiting import never_waits, no_waiting, warmed_up
from tests.elsewhere import elsewhere

if not has_triton():
    pytest.skip("Triton is not installed", allow_module_level=True)

DEVICE = "cuda" if torch.cuda.is_available() else "cpu"
CHANNELS = 4


class Dropping(mpnn.MessagePassing):
    """Drops features inside its message."""

    def __init__(self) -> None:
        super().__init__("sum")

    def forward(self, x: Tensor, graph: Any) -> Tensor:
        out: Tensor = self.propagate(graph, x=x)
        return out

    def message(self, x_i: Tensor, x_j: Tensor) -> Tensor:
        return F.dropout(x_i * x_j, 0.5)


def assert_never_waits(model: nn.Module, *inputs: Any) -> None:
    def step() -> None:
        loss = model(*inputs).square().mean()
        loss.backward()

    model.to(DEVICE)
    with mpnn.backend("triton"):
        step()
        with never_waits():
            step()


@pytest.mark.parametrize(
    "wait",
    [
        lambda x: x.tolist(),
        lambda x: x.cpu(),
        lambda x: int(x[0]),
        lambda x: x if x.sum() > 0 else -x,
        lambda x: x[x > 0],
        lambda x: x.nonzero(),
        lambda x: x.unique(),
        lambda x: torch.repeat_interleave(x.long()),
        lambda x: x.long().bincount(),
        lambda x: x + torch.tensor([1.0, 2.0], device=x.device),
        lambda x: x + torch.ones(2).to(x.device),
        lambda x: [float(one) for one in x],
    ],
)
def test_what_waits_is_noticed(wait: Callable[[Tensor], Any]) -> None:
    with elsewhere() as device:
        x = torch.ones(2, device=device)
        with no_waiting(), pytest.raises(AssertionError, match="waits for the device"):
            wait(x)
        with no_waiting(on_cpu=False):
            assert (x + torch.ones(2).sum().item()).sum().device == device


def test_a_bad_index_gets_its_sentence_on_any_device() -> None:
    sentences = []
    for place in (nullcontext(torch.device("cpu")), elsewhere()):
        with place as device:
            good, bad = (torch.tensor([[0, 1], [1, k]]).to(device) for k in (2, 3))
            assert Graph(good, 3).num_edges == 2
            for edge_index, types in ((bad, None), (good, bad[1])):
                with pytest.raises(IndexError) as error:
                    Graph(edge_index, 3, types, num_edge_types=None if types is None else 3)
                sentences.append(str(error.value))
    assert sentences[:2] == sentences[2:]
    assert sentences[0] == "edge_index[1, 1] is 3, but the graph has 3 destination nodes (0..2)."


def test_weights_of_edges_never_wait() -> None:
    x, weight = torch.randn(7, CHANNELS).to(DEVICE), torch.rand(18).to(DEVICE)
    assert_never_waits(models.GCNConv(CHANNELS, 3), x, random_graph(7, 18).to(DEVICE), weight)


def test_features_of_edges_never_wait() -> None:
    x, edge_attr = torch.randn(7, CHANNELS).to(DEVICE), torch.rand(18, 2).to(DEVICE)
    model = models.GATv2Conv(CHANNELS, 3, edge_dim=2)
    assert_never_waits(model, x, random_graph(7, 18).to(DEVICE), edge_attr)


@pytest.fixture
def _as_on_a_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make the CPU behave as a GPU: relations are not read, and seeds are tensors."""
    monkeypatch.setattr(TypedEdges, "_are_all_pairs", lambda *_: True)
    monkeypatch.setattr(fused, "draw_seed", lambda device: torch.randint(2**31, (), device=device))


@pytest.mark.usefixtures("_as_on_a_gpu")
def test_a_batch_of_graphs_never_waits() -> None:
    batch = Graph.batch([random_graph(5, 8, seed) for seed in range(3)]).to(DEVICE)
    model = models.GraphClassifier(CHANNELS, 8, 2, conv="gin")
    assert_never_waits(model, torch.randn(15, CHANNELS).to(DEVICE), batch)


@pytest.mark.usefixtures("_as_on_a_gpu")
@pytest.mark.parametrize("conv", ["gin", "sage", "transformer", "pna", "mpnn", "edge", "rgcn"])
def test_not_even_the_first_step_on_a_new_batch_waits(conv: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mpnn.graph.csr.sort_edges", lambda *_: None)  # as on a GPU, in PyTorch's operations
    needed: dict[str, Any] = {"pna": {"deg": torch.tensor([0, 3, 4, 2])}, "rgcn": {"num_relations": 3}}
    options: dict[str, Any] = needed.get(conv, {})
    model = models.GraphClassifier(CHANNELS, 8, 2, conv=conv, readout="mean", **options).to(DEVICE)

    def step(seed: int) -> None:
        batch = Graph.batch([graph for graph, _ in made[seed]])
        model(torch.cat([x for _, x in made[seed]]), batch).square().sum().backward()

    def one(nodes: int, edges: int, seed: int) -> tuple[Graph, Tensor]:
        graph, types = random_graph(nodes, edges, seed), torch.arange(edges) % 3 if conv == "rgcn" else None
        typed = Graph(graph.edge_index, nodes, types, num_edge_types=None if types is None else 3)
        return typed.to(DEVICE), torch.randn(nodes, CHANNELS).to(DEVICE)

    made = [[one(5, 8, seed), one(4, 3, seed), one(9, 30, seed)] for seed in (1, 2)]
    with mpnn.backend("triton"):
        step(0)  # plans and kernels are made
        with never_waits():
            step(1)


@pytest.mark.parametrize("given", [False, True], ids=["all", "some"])
def test_numbers_of_nodes_never_wait(given: bool) -> None:
    graph = random_graph(7, 18)
    with elsewhere() as device:
        typed = Graph(graph.edge_index.to(device), 7, (torch.arange(18) % 2).to(device))
        layer = models.RGCNConv(7, 3, 2).to(device)
        x = torch.arange(7).to(device) if given else None
        layer(x, typed).sum().backward()
        with no_waiting(on_cpu=False):
            layer(x, typed).sum().backward()


@pytest.mark.parametrize("conv", ["gcn", "gat"])
def test_a_batch_that_is_put_together_on_the_cpu_never_waits_for_a_gpu(conv: str) -> None:
    parts = [random_graph(5, 8, seed) for seed in range(4)]
    model, x = models.GraphClassifier(CHANNELS, 8, 2, conv=conv).eval(), torch.randn(20, CHANNELS)
    expected = model(x, Graph.batch(parts)).detach()
    with elsewhere() as device:
        model, x = model.to(device), x.to(device)
        with no_waiting(on_cpu=False):
            found = model(x, Graph.batch(parts).to(device))
        torch.testing.assert_close(found.cpu(), expected)


def test_a_batch_of_known_graphs_gets_other_loops_without_waiting() -> None:
    parts = [random_graph(5, 8, seed) for seed in range(4)]
    assert sum(int(part.self_loop_mask.sum()) for part in parts) > 0
    expected = {loops: Graph.batch(parts).relooped(loops) for loops in ("none", "one")}
    with elsewhere() as device:
        there = [part.to(device) for part in parts]
        Graph.batch([there[k] for k in (2, 0, 1)]).relooped("one")
        Graph.batch([there[k] for k in (3, 1)]).relooped("one")
        with no_waiting(on_cpu=False):
            found = {loops: Graph.batch(there).relooped(loops) for loops in expected}
        for loops, (graph, origin) in expected.items():
            assert torch.equal(found[loops][0].edge_index.cpu(), graph.edge_index)
            assert torch.equal(found[loops][1].cpu(), origin)


@pytest.mark.usefixtures("_as_on_a_gpu")
def test_dropout_inside_a_message_never_waits() -> None:
    x = torch.randn(7, CHANNELS, device=DEVICE, requires_grad=True)
    assert_never_waits(Dropping(), x, random_graph(7, 18).to(DEVICE))


@pytest.mark.skipif(DEVICE == "cpu", reason="needs a GPU")
def test_a_cuda_graph_captures_a_step() -> None:
    graph = random_graph(7, 18).to(DEVICE)
    model, x = models.GCNConv(CHANNELS, 3).to(DEVICE), torch.randn(7, CHANNELS, device=DEVICE)

    def step() -> Tensor:
        model.zero_grad(set_to_none=False)
        loss = model(x, graph).square().mean()
        loss.backward()
        return loss

    warmed_up(step)
    wanted = step().detach().clone()
    gradients = [p.grad.clone() for p in model.parameters() if p.grad is not None]
    captured = torch.cuda.CUDAGraph()
    with torch.cuda.graph(captured):
        loss = step()
    captured.replay()
    torch.testing.assert_close(loss.detach(), wanted)
    for p, gradient in zip(model.parameters(), gradients, strict=True):
        torch.testing.assert_close(p.grad, gradient)
