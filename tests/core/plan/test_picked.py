"""Messages that multiply with a matrix which each edge picks from a table: one product per matrix."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

import mpnn
from tests.compare import assert_close
from tests.core.graphs import random_graph
from tests.core.running import CHUNKS, assert_like_eager, assert_runs

DTYPE = torch.float64
EDGES, TYPES, IN, OUT = 120, 3, 4, 5
graph = random_graph(20, EDGES)
generator = torch.Generator().manual_seed(3)
kind = torch.randint(TYPES, (EDGES,), generator=generator)


def randn(*shape: int) -> Tensor:
    return torch.randn(*shape, dtype=DTYPE, generator=generator)


x, table, square = randn(20, IN), randn(TYPES, IN, OUT), randn(TYPES, IN, IN)

# What a message makes of the matrix of an edge and the features of its ends, and with which table.
PRODUCTS: dict[str, tuple[Callable[..., Tensor], Tensor]] = {
    "bmm": (lambda x_i, x_j, w, t: torch.bmm(x_j.unsqueeze(1), w.index_select(0, t)).squeeze(1), table),
    "matmul": (lambda x_i, x_j, w, t: (x_j.unsqueeze(1) @ w[t]).squeeze(-2), table),
    "einsum": (lambda x_i, x_j, w, t: torch.einsum("ei,eio->eo", x_j, w[t]), table),
    "turned": (lambda x_i, x_j, w, t: (x_j.unsqueeze(1) @ w[t].transpose(1, 2)).squeeze(1), square),
    "turned twice": (lambda x_i, x_j, w, t: (x_j.unsqueeze(1) @ w.mT[t].mT).squeeze(1), table),
    "both ends": (
        lambda x_i, x_j, w, t: (
            torch.bmm((x_i * x_j).unsqueeze(1), w[t]).tanh() * torch.bmm(x_j.unsqueeze(1), w[t])
        ),
        table,
    ),
    "read otherwise too": (lambda x_i, x_j, w, t: (x_j.unsqueeze(1) @ w[t]).squeeze(1) + w[t].sum(1), table),
    "counted from the end": (lambda x_i, x_j, w, t: (x_j.unsqueeze(1) @ w[t - 2]).squeeze(1), table),
    "several rows": (lambda x_i, x_j, w, t: torch.stack([x_i, x_j], 1) @ w[t], table),
    "from the left": (lambda x_i, x_j, w, t: (w[t] @ x_j.unsqueeze(2)).squeeze(2), square),
}


@pytest.mark.parametrize("product", PRODUCTS)
@pytest.mark.parametrize("aggr", ["sum", "softmax"])
def test_a_product_with_a_picked_matrix_is_the_same(product: str, aggr: str) -> None:
    message, matrices = PRODUCTS[product]
    assert_like_eager(graph, message, aggr, {"x": x, "w": matrices, "t": kind}, way=CHUNKS)


def test_a_table_with_more_matrices_than_edges_is_the_same() -> None:
    message, _ = PRODUCTS["bmm"]
    many = {"x": x, "w": randn(2 * EDGES, IN, OUT), "t": 2 * torch.arange(EDGES)}
    assert_like_eager(graph, message, "sum", many, way=CHUNKS)


def test_second_derivatives_follow() -> None:
    def out(x: Tensor, w: Tensor) -> Tensor:
        return mpnn.propagate(graph, PRODUCTS["both ends"][0], x=x, w=w, t=kind)

    assert_runs(CHUNKS, lambda: out(x, table))
    inputs = (x.clone().requires_grad_(), table.clone().requires_grad_())
    assert torch.autograd.gradgradcheck(out, inputs)


@pytest.mark.parametrize("index", [TYPES, -1])
def test_a_matrix_that_is_not_there_is_an_error(index: int) -> None:
    wrong = kind.clone()
    wrong[7] = index
    with pytest.raises((IndexError, RuntimeError)):
        mpnn.propagate(graph, PRODUCTS["bmm"][0], x=x, w=table, t=wrong)


class Largest(TorchDispatchMode):
    """The number of entries of the largest tensor that an operation makes."""

    def __init__(self) -> None:
        super().__init__()
        self.numbers = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = func(*args, **(kwargs or {}))
        if isinstance(out, Tensor):
            self.numbers = max(self.numbers, out.untyped_storage().nbytes() // out.element_size())
        return out


@pytest.mark.parametrize("product", ["bmm", "matmul", "einsum", "turned twice"])
def test_no_tensor_has_a_matrix_for_each_edge(product: str) -> None:
    def step() -> tuple[Tensor, ...]:
        own = (x.clone().requires_grad_(), table.clone().requires_grad_())
        out = mpnn.propagate(graph, PRODUCTS[product][0], x=own[0], w=own[1], t=kind)
        return (out, *torch.autograd.grad(out.square().sum(), own))

    expected = step()
    with Largest() as largest:
        found = step()
    assert largest.numbers < EDGES * IN * OUT / 2
    for ours, theirs in zip(found, expected, strict=True):
        assert_close(ours, theirs)
