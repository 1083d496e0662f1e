"""Softmaxes over edges whose scores, values or weights are at the ends of what a float can be."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

import mpnn
from mpnn import Graph, propagate
from mpnn.backends.triton import has_triton, tiles
from tests.compare import assert_close
from tests.core.graphs import random_graph
from tests.core.running import assert_like_eager

BACKENDS = [
    "cpu",
    "eager",
    pytest.param("triton", marks=pytest.mark.skipif(not has_triton(), reason="Triton is not installed")),
]
# Three messages to node 3, one to node 2, none to the others.
star = Graph(torch.tensor([[0, 1, 2, 0], [3, 3, 3, 2]]), 4)
generator = torch.Generator().manual_seed(6)


def device_of(backend: str) -> str:
    return "cuda" if backend == "triton" and torch.cuda.is_available() else "cpu"


def weighted(score: Tensor, value: Tensor) -> tuple[Tensor, Tensor]:
    return score, value


def run(backend: str, score: Tensor, value: Tensor, graph: Graph = star) -> tuple[Tensor, Tensor, Tensor]:
    """The aggregate, and the gradients of its sum at the scores and the values."""
    place = device_of(backend)
    given = [t.to(place).requires_grad_() for t in (score, value)]
    with mpnn.backend(backend):
        out = propagate(graph.to(place), weighted, "softmax", score=given[0], value=given[1])
    return out.detach(), *torch.autograd.grad(out.sum(), given)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("size", [1.0, 1e6, 1e7, 1e8, -1e8, 1e30])
def test_equal_scores_share_the_gradient_however_large_they_are(size: float, backend: str) -> None:
    value = torch.randn(4, 2, generator=generator)
    out, _, gradient = run(backend, torch.full((4,), size), value)
    assert_close(out[3].cpu(), value[:3].mean(0), 1e-6)
    assert_close(gradient.cpu(), torch.tensor([1 / 3, 1 / 3, 1 / 3, 1])[:, None].expand(4, 2), 1e-6)


@pytest.mark.parametrize("backend", BACKENDS)
def test_values_near_the_largest_float_have_a_mean(backend: str) -> None:
    # Their sum, 3e38, and that of more edges, is beyond it.
    many = Graph(torch.tensor([[0] * 100, [1] * 100]), 2)
    out, *_ = run(backend, torch.zeros(100), torch.full((100, 3), 1e38), many)
    assert_close(out[1].cpu() / 1e38, torch.ones(3), 1e-6)


@pytest.mark.skipif(not has_triton(), reason="Triton is not installed")
def test_values_near_the_largest_float_have_a_mean_over_the_parts_of_a_hub(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(tiles, "HUB", 128)
    hub = Graph(torch.tensor([[0] * 300, [1] * 300]), 2)
    out, *_ = run("triton", torch.zeros(300), torch.full((300, 3), 1e38), hub)
    assert_close(out[1].cpu() / 1e38, torch.ones(3), 1e-6)


@pytest.mark.parametrize("aggr", ["softmax"])
def test_so_it_does_where_a_hub_is_shared_out_in_c(aggr: str) -> None:
    hub = Graph(torch.stack([torch.zeros(20_000, dtype=torch.int64)] * 2), 1)
    score, value = torch.full((20_000,), 1e8), torch.full((20_000, 2), 1e38)
    out, _, gradient = run("cpu", score, value, hub)
    assert_close(out[0] / 1e38, torch.ones(2), 1e-5)
    assert_close(gradient * 20_000, torch.ones(20_000, 2), 1e-5)


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_receiver_whose_scores_are_all_minus_infinity_gets_nothing(backend: str) -> None:
    score = torch.tensor([-torch.inf, -torch.inf, -torch.inf, 1.0])
    out, of_score, of_value = run(backend, score, torch.randn(4, 2, generator=generator))
    assert bool((out[:2] == 0).all()) and bool((out[3] == 0).all())
    assert bool((of_score == 0).all())
    assert_close(of_value.cpu(), torch.tensor([0.0, 0, 0, 1])[:, None].expand(4, 2))


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_score_of_minus_infinity_among_others_weighs_nothing(backend: str) -> None:
    score = torch.tensor([-torch.inf, 2.0, 2.0, 1.0])
    value = torch.randn(4, 2, generator=generator)
    out, of_score, of_value = run(backend, score, value)
    assert_close(out[3].cpu(), value[1:3].mean(0), 1e-6)
    assert bool(of_score.isfinite().all()) and bool((of_value[0] == 0).all())


@pytest.mark.parametrize("seed", range(3))
def test_attention_over_large_features_has_the_gradient_of_plain_pytorch(seed: int) -> None:
    torch.manual_seed(seed)
    graph = Graph(torch.randperm(2500)[:300].unsqueeze(0).repeat(2, 1) // torch.tensor([[50], [1]]) % 50, 50)
    layer = mpnn.models.TransformerConv(32, 16, heads=2)
    x = torch.randn(50, 32) * 300

    def gradient(backend: str) -> Tensor:
        own = x.clone().requires_grad_()
        with mpnn.backend(backend):
            return torch.autograd.grad(layer(own, graph).square().sum(), own)[0]

    ours, theirs = gradient("cpu"), gradient("eager")
    assert float((ours - theirs).norm() / theirs.norm()) < 1e-5


@pytest.mark.parametrize("heads", [(), (2,), (2, 3)])
def test_weights_of_scores_far_apart_equal_plain_pytorch(heads: tuple[int, ...]) -> None:
    graph = random_graph(9, 30)
    score = torch.randn(30, *heads, dtype=torch.float64, generator=generator) * 500
    value = torch.randn(30, *heads, 4, dtype=torch.float64, generator=generator)
    assert_like_eager(graph, weighted, "softmax", {"score": score, "value": value})
