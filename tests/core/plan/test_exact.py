"""A maximum's gradient goes to the message that won, however the message was summed up over its features."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from mpnn import Graph, propagate
from mpnn.backends.triton import has_triton
from tests.core.graphs import random_graph
from tests.core.running import assert_like_eager

NUM_NODES, NUM_EDGES = 9, 30
graph = random_graph(NUM_NODES, NUM_EDGES)
generator = torch.Generator().manual_seed(8)
# As each vector register fills another way, and each number is another sum.
WIDTHS = (*range(1, 10), 15, 16, 17, 31, 33)
FEW = (3, 8, 17)  # a compiler takes up to a second for each

REDUCTIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "sum": lambda m: m.sum(-1),
    "mean": lambda m: m.mean(-1),
    "1-norm": lambda m: m.abs().sum(-1),
    "2-norm": lambda m: torch.linalg.vector_norm(m, dim=-1),
    "3-norm": lambda m: torch.linalg.vector_norm(m, 3, dim=-1),
    "logsumexp": lambda m: m.logsumexp(-1),
    "softmax": lambda m: m.softmax(-1)[:, -1],
    "log_softmax": lambda m: m.log_softmax(-1)[:, 0],
    "layer_norm": lambda m: F.layer_norm(m, m.shape[1:])[:, 0] * m[:, 0],
    "largest": lambda m: m.amax(-1) + m.amin(-1),
    "sum of two dimensions": lambda m: torch.stack([m, m * m], 1).sum((1, 2)),
}


def randn(*shape: int, dtype: torch.dtype = torch.float64) -> Tensor:
    return torch.randn(*shape, dtype=torch.float64, generator=generator).to(dtype)


def of_widths(reduction: Callable[[Tensor], Tensor], widths: tuple[int, ...]) -> Callable[..., Tensor]:
    """A message of one number for each width, the sum of a product over that many features."""

    def message(x_i: Tensor, x_j: Tensor, e: Tensor) -> Tensor:
        product = x_i * x_j - e
        return torch.stack([reduction(product[:, :width]) for width in widths], -1)

    return message


def fields(width: int, dtype: torch.dtype = torch.float64) -> dict[str, Tensor]:
    return {"x": randn(NUM_NODES, width, dtype=dtype), "e": randn(NUM_EDGES, width, dtype=dtype)}


@pytest.mark.parametrize("name", ["1-norm", "logsumexp", "softmax"])
def test_the_winner_of_a_reduction_of_any_width_gets_the_gradient(name: str) -> None:
    assert_like_eager(graph, of_widths(REDUCTIONS[name], WIDTHS), "max", fields(max(WIDTHS)))


@pytest.mark.parametrize("aggr", ["max", "min"])
@pytest.mark.parametrize("name", REDUCTIONS)
def test_the_winner_of_every_reduction_gets_the_gradient(name: str, aggr: str) -> None:
    assert_like_eager(graph, of_widths(REDUCTIONS[name], FEW), aggr, fields(max(FEW)))


@pytest.mark.parametrize("name", ["1-norm", "softmax"])
def test_in_float32_the_winner_of_a_reduction_gets_the_gradient(name: str) -> None:
    widths = (*FEW, 16, 31, 33)
    given = fields(max(widths), torch.float32)
    assert_like_eager(graph, of_widths(REDUCTIONS[name], widths), "max", given, atol=2e-5)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
@pytest.mark.parametrize(("depth", "width"), [(3, 16), (6, 16), (16, 32), (33, 16), (8, 5), (8, 128)])
def test_the_winner_of_a_product_with_a_matrix_gets_the_gradient(
    depth: int, width: int, dtype: torch.dtype
) -> None:
    given = fields(depth, dtype) | {"w": randn(depth, width, dtype=dtype)}
    atol = 1e-10 if dtype == torch.float64 else 2e-5
    assert_like_eager(graph, lambda x_i, x_j, e, w: (x_i * x_j - e).relu() @ w, "max", given, atol=atol)
    # Here the backward pass needs the product's factors again, and so has other loop nests.
    assert_like_eager(
        graph, lambda x_i, x_j, e, w: ((x_i * x_j - e).tanh() @ w).softmax(-1), "min", given, atol=atol
    )


@pytest.mark.parametrize("width", [3, 8, 16, 17, 64])
def test_the_winner_of_a_sum_over_the_first_of_two_dimensions_gets_the_gradient(width: int) -> None:
    def message(x_i: Tensor, x_j: Tensor, e: Tensor) -> Tensor:
        product = x_i * x_j
        return (torch.stack([product, product * product, e.sin(), e], 1) * x_j.unsqueeze(1)).sum(1)

    assert_like_eager(graph, message, "max", fields(width))


@pytest.mark.parametrize("width", [3, 16, 17, 64])
def test_the_winner_beside_a_softmax_gets_the_gradient(width: int) -> None:
    assert_like_eager(graph, lambda x_j, e: x_j + e.softmax(-1), "max", fields(width))


@pytest.mark.parametrize("aggr", ["max", ["max", "mean", "min"]], ids=str)
def test_messages_that_tie_share_the_gradient(aggr: object) -> None:
    # Every edge three times; equal edges send equal messages.
    tripled = Graph(graph.edge_index.repeat(1, 3), NUM_NODES)
    x, e = fields(17).values()

    def message(x_i: Tensor, x_j: Tensor, e: Tensor) -> Tensor:
        return torch.stack([(x_i - x_j).abs().sum(-1), (x_i * e).logsumexp(-1)], -1)

    assert_like_eager(tripled, message, aggr, {"x": x, "e": e.repeat(3, 1)})


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_every_receiver_hands_on_all_of_its_gradient_in_half_precision(dtype: torch.dtype) -> None:
    widths = (3, 8, 16, 17, 33)
    x = randn(NUM_NODES, 33).to(dtype)
    e = randn(NUM_EDGES, 1).to(dtype).requires_grad_()

    def message(x_i: Tensor, x_j: Tensor, e: Tensor) -> Tensor:
        return torch.stack([(x_i - x_j)[:, :w].abs().sum(-1) for w in widths], -1) + e * 0.125

    out = propagate(graph, message, "max", x=x, e=e)
    (gradient,) = torch.autograd.grad(out, [e], torch.ones_like(out))
    reached = int((graph.in_degree > 0).sum())
    # A gradient of 1 for each receiver and width, times 0.125; shares of ties are halves and quarters.
    assert abs(float(gradient.double().sum()) - reached * len(widths) * 0.125) < 0.05


@pytest.mark.skipif(not has_triton(), reason="Triton is not installed")
@pytest.mark.parametrize("name", ["1-norm", "softmax", "sum of two dimensions", "layer_norm"])
def test_in_triton_the_winner_of_a_reduction_gets_the_gradient(name: str) -> None:
    device = "cuda" if torch.cuda.is_available() else "cpu"
    given = {key: value.to(device) for key, value in fields(64).items()}
    message = of_widths(REDUCTIONS[name], (2, 3, 8, 16, 17, 33, 64))
    assert_like_eager(graph.to(device), message, "max", given, backend="triton")
