"""Softmaxes over edges whose scores, values or weights are near the largest or the smallest float."""

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
    of_score, of_value = torch.autograd.grad(out.sum(), given)
    return out.detach(), of_score, of_value


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
    assert_close(out[1].cpu() / 1e38, torch.ones(3), 1e-5)


def test_in_c_values_near_the_largest_float_have_a_mean_over_the_parts_of_a_hub() -> None:
    hub = Graph(torch.stack([torch.zeros(20_000, dtype=torch.int64)] * 2), 1)
    score, value = torch.full((20_000,), 1e8), torch.full((20_000, 2), 1e38)
    out, _, gradient = run("cpu", score, value, hub)
    # Thousands of equal numbers added one by one: each addition rounds, and to the same side.
    assert_close(out[0] / 1e38, torch.ones(2), 1e-4)
    assert_close(gradient * 20_000, torch.ones(20_000, 2), 1e-4)


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


@pytest.mark.parametrize("scale", [1, 30, 300])
def test_attention_over_large_features_is_as_exact_as_plain_pytorch(scale: float) -> None:
    def error(backend: str, seed: int) -> float:
        """The largest difference between the gradients in float32 and in float64."""
        torch.manual_seed(seed)
        pairs = torch.randperm(2500)[:300]
        graph = Graph(torch.stack([pairs // 50, pairs % 50]), 50)
        layer, x = mpnn.models.TransformerConv(32, 16, heads=2), torch.randn(50, 32) * scale

        def gradient(backend: str, dtype: torch.dtype) -> Tensor:
            own = x.to(dtype).requires_grad_()
            with mpnn.backend(backend):
                return torch.autograd.grad(layer.to(dtype)(own, graph).square().sum(), own)[0].double()

        right = gradient("eager", torch.float64)
        return float((gradient(backend, torch.float32) - right).norm() / right.norm())

    for seed in range(4):
        assert error("cpu", seed) < 3 * error("eager", seed) + 1e-6


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("width", [3, 16, 17, 64])
def test_scores_that_are_large_sums_weigh_the_same_on_the_way_back(width: int, backend: str) -> None:
    # The last digit of such a score is worth exp(8): the weights, which the gradient at the values adds up to
    # one, must be of the very same scores.
    place = device_of(backend)
    graph = random_graph(9, 30).to(place)
    x = (torch.randn(9, width, generator=generator) * 1e4).to(place)
    value = torch.randn(30, 1, generator=generator).to(place).requires_grad_()

    def message(x_i: Tensor, x_j: Tensor, value: Tensor) -> tuple[Tensor, Tensor]:
        return (x_i * x_j).sum(-1), value

    with mpnn.backend(backend):
        out = propagate(graph, message, "softmax", x=x, value=value)
    (gradient,) = torch.autograd.grad(out.sum(), value)
    total = torch.zeros(9, 1, device=place).index_add(0, graph.dst, gradient)
    assert_close(total, (graph.in_degree > 0).float()[:, None], 1e-5)


@pytest.mark.parametrize("heads", [(), (2,), (2, 3)])
def test_weights_of_scores_far_apart_equal_plain_pytorch(heads: tuple[int, ...]) -> None:
    graph = random_graph(9, 30)
    score = torch.randn(30, *heads, dtype=torch.float64, generator=generator) * 500
    value = torch.randn(30, *heads, 4, dtype=torch.float64, generator=generator)
    assert_like_eager(graph, weighted, "softmax", {"score": score, "value": value})
