"""What a message rounds to a narrower type stays rounded."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from mpnn import Graph
from tests.core.running import CHUNKS, KERNEL, assert_like_eager

GRAPH = Graph(torch.tensor([[0, 1, 2, 3, 3, 1], [1, 1, 0, 2, 3, 0]]), 4)


def _to_float32(x_i: Tensor, x_j: Tensor) -> Tensor:
    return (x_i * x_j).to(torch.float32).to(torch.float64)


def _to_bfloat16(x_i: Tensor, x_j: Tensor) -> Tensor:
    return (x_i * x_j).bfloat16() * x_j


def _to_float16_in_between(x_i: Tensor, x_j: Tensor) -> Tensor:
    return (x_i - x_j).half().abs().double() + x_j


@pytest.mark.parametrize("message", [_to_float32, _to_bfloat16, _to_float16_in_between])
@pytest.mark.parametrize("aggr", ["sum", "max"])
def test_rounded_numbers_stay_rounded(message: Callable[..., Tensor], aggr: str) -> None:
    x = torch.randn(4, 3, dtype=torch.float64)
    assert_like_eager(GRAPH, message, aggr, {"x": x}, way=CHUNKS)


def test_numbers_that_are_computed_in_a_wider_type_than_they_have_run_on_a_kernel() -> None:
    x = torch.randn(4, 3).bfloat16()

    def widened(x_i: Tensor, x_j: Tensor) -> Tensor:
        narrow = (x_i.float() - x_j.float()).bfloat16()
        return (narrow.float() * 0.5).bfloat16()

    assert_like_eager(GRAPH, widened, "sum", {"x": x}, atol=2e-2, way=KERNEL)
