"""Functions with an infinite slope: which are hoisted to the nodes, and which must stay at the edges."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import mpnn
from mpnn import Graph
from tests.core.running import KERNEL, assert_like_eager

lonely = Graph(torch.tensor([[0, 1, 2, 0, 2], [0, 0, 0, 1, 1]]), num_nodes=4)  # no edge reads node 3
torch.manual_seed(0)
lin = nn.Linear(3, 3).double()
STEEP: dict[str, Callable[..., Any]] = {
    "a logarithm": lambda x_j: x_j.log(),
    "a root": lambda x_j: x_j.sqrt(),
    "one over a root": lambda x_j: x_j.rsqrt(),
    "a reciprocal": lambda x_j: x_j.reciprocal(),
    "a quotient": lambda x_i, x_j: x_i / x_j,
    "a power": lambda x_j: x_j**0.3,
    "x log x": lambda x_j: torch.xlogy(x_j, x_j),
    "an overflow": lambda x_j: (x_j * 1e4).exp() * 1e-300,
    "a map of a logarithm": lambda x_j: lin(x_j.log()),
    "a logarithm of a map": lambda x_j: (lin(x_j) ** 2).log(),
    "a normalised row": lambda x_j: F.normalize(x_j, dim=-1, eps=0.0),
}


def _features() -> Tensor:
    x = torch.rand(4, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(0)) / 20
    x[3] = 0
    return x


@pytest.mark.parametrize("aggr", ["sum", "max"])
@pytest.mark.parametrize("name", STEEP)
def test_a_node_that_no_edge_reads_has_a_gradient_of_zero(name: str, aggr: str) -> None:
    assert_like_eager(lonely, STEEP[name], aggr, {"x": _features()}, way=None)
    x = _features().requires_grad_()
    lin.zero_grad()
    mpnn.propagate(lonely, STEEP[name], aggr, x=x).sum().backward()
    assert x.grad is not None
    assert torch.equal(x.grad[3], torch.zeros(3, dtype=torch.float64))
    assert lin.weight.grad is None or bool(lin.weight.grad.isfinite().all())


@pytest.mark.parametrize("aggr", ["max", "min"])
@pytest.mark.parametrize(
    "message",
    [
        lambda x_i: x_i.abs().sqrt(),
        lambda x_i: (x_i * 2).exp().log1p(),
        lambda x_i: lin(x_i.abs().sqrt()).exp(),
    ],
    ids=["a root", "a logarithm", "a map"],
)
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_all_messages_to_a_node_tie_where_they_are_of_the_node(
    message: Callable[..., Any], aggr: str, dtype: torch.dtype
) -> None:
    generator = torch.Generator().manual_seed(3)
    graph = Graph(torch.randint(0, 38, (2, 83), generator=generator), num_nodes=38)
    x = torch.randint(1, 9, (38, 3), generator=generator).to(dtype)
    lin.to(dtype)
    try:
        assert_like_eager(
            graph, message, aggr, {"x": x}, way=KERNEL, atol=1e-10 if dtype == torch.float64 else 1e-5
        )
    finally:
        lin.double()


def test_a_maximum_that_is_no_number_has_no_gradient_that_is_one() -> None:
    x = _features()
    x[1, 0] = torch.nan
    assert_like_eager(lonely, lambda x_j: x_j * 1.0, "max", {"x": x}, way=KERNEL)


def test_a_gradient_that_reads_a_count_runs_without_a_kernel() -> None:
    def message(x_j: Tensor) -> Tensor:
        return lin(((x_j.abs() + 0.5) ** 1.5).amax(dim=-1, keepdim=True).expand(-1, 3))

    assert_like_eager(lonely, message, "sum", {"x": _features()}, way=None)
