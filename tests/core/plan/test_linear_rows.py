"""Products below each other in one tensor are those that PyTorch joins, to every derivative."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from mpnn.plan.typed import linear_rows
from tests.compare import assert_close, assert_same


def joined(xs: list[Tensor], weights: list[Tensor], biases: list[Tensor] | None = None) -> Tensor:
    plus: list[Any] = list(biases) if biases else [None] * len(xs)
    return torch.cat([F.linear(x, w, b) for x, w, b in zip(xs, weights, plus, strict=True)])


def given(rows: int, dtype: torch.dtype = torch.float64) -> tuple[list[Tensor], list[Tensor], list[Tensor]]:
    generator = torch.Generator().manual_seed(0)

    def normal(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=generator, dtype=torch.float64).to(dtype)

    x, other = normal(rows, 5), normal(0, 3)
    return [x, other, x, normal(7, 2)], [normal(4, k) for k in (5, 3, 5, 2)], [normal(4) for _ in range(4)]


@pytest.mark.parametrize("biased", [False, True])
def test_values_and_gradients_are_those_of_joined_products(biased: bool) -> None:
    xs, weights, biases = given(6)
    assert_same(linear_rows, joined, [xs, weights, *([biases] if biased else [])])


def test_many_rows_run_on_the_products_for_many_rows() -> None:
    xs, weights, biases = given(40_000, torch.float32)
    assert_same(linear_rows, joined, [xs, weights, biases], atol=1e-4)


def test_second_derivatives_are_those_of_joined_products() -> None:
    xs, weights, biases = given(3)
    leaves = [t.requires_grad_() for t in (xs[0], xs[3], *weights, *biases)]

    def rows(x: Tensor, last: Tensor, *rest: Tensor) -> Tensor:
        return linear_rows([x, xs[1], x, last], rest[:4], rest[4:])

    assert torch.autograd.gradgradcheck(rows, leaves)


def test_several_gradients_at_once_are_those_one_after_the_other() -> None:
    xs, weights, _ = given(3)
    weight = weights[0].requires_grad_()
    out = linear_rows([xs[0]], [weight])
    along = torch.randn(4, *out.shape, dtype=torch.float64)
    (together,) = torch.autograd.grad(out, weight, along, is_grads_batched=True, retain_graph=True)
    apart = [torch.autograd.grad(out, weight, one, retain_graph=True)[0] for one in along]
    assert_close(together, torch.stack(apart))


def test_autocast_computes_in_its_type() -> None:
    xs, weights, _ = given(3, torch.float32)
    with torch.autocast("cpu", torch.bfloat16):
        assert linear_rows(xs, weights).dtype == torch.bfloat16
