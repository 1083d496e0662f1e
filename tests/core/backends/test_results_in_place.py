"""The caller may write into the output of a layer, although the backward pass reads it."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

import mpnn
from mpnn import Graph
from mpnn.models import EdgeConv, SAGEConv
from tests.compare import assert_same
from tests.core.graphs import random_graph
from tests.core.running import KERNEL, assert_runs

WRITES: dict[str, Callable[[Tensor], Tensor]] = {
    "mul_": lambda y: y.mul_(2),
    "ReLU(inplace=True)": nn.ReLU(inplace=True),
    "a view": lambda y: y[:, :1].mul_(3),
    "masked": lambda y: y.masked_fill_(y > 0.1, 0.5),
}
MESSAGES: dict[str, Callable[..., object]] = {
    "max": lambda x_i, x_j: x_i * x_j,
    "min": lambda x_i, x_j: (x_i - x_j).abs(),
    "softmax": lambda x_i, x_j: ((x_i * x_j).sum(-1), x_j),
    "std": lambda x_i, x_j: x_i * x_j,
}


def _both(
    layer: Callable[[Tensor], Tensor], write: Callable[[Tensor], Tensor], x: Tensor, atol: float
) -> None:
    def by(backend: str) -> Callable[[Tensor], Tensor]:
        def run(x: Tensor) -> Tensor:
            with mpnn.backend(backend):
                y = layer(x)
            write(y)
            return y

        return run

    assert_same(by("cpu"), by("eager"), [x], atol=atol)


@pytest.mark.parametrize("write", WRITES)
@pytest.mark.parametrize("aggr", MESSAGES)
def test_a_result_may_be_written_into_before_the_way_back(aggr: str, write: str) -> None:
    graph, x = random_graph(), torch.randn(9, 4, dtype=torch.float64)

    def layer(x: Tensor) -> Tensor:
        return mpnn.propagate(graph, MESSAGES[aggr], aggr, x=x)

    with mpnn.backend("cpu"):
        assert_runs(KERNEL, lambda: layer(x.clone().requires_grad_()))
    _both(layer, WRITES[write], x, 1e-10)


@pytest.mark.parametrize("rows_at_once", [8192, 7])
def test_layers_are_followed_by_activations_in_place(
    rows_at_once: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mpnn.native.row_blocks.ROWS_AT_ONCE", rows_at_once)
    torch.manual_seed(0)
    graph = Graph(torch.randint(0, 30, (2, 120)), num_nodes=30)
    x = torch.randn(30, 4, dtype=torch.float64)
    for layer in (EdgeConv(nn.Linear(8, 4)), SAGEConv(4, 4, aggr="max")):
        layer.double()
        _both(lambda x: layer(x, graph), nn.ReLU(inplace=True), x, 1e-10)  # noqa: B023


def test_values_whose_gradient_is_not_asked_for_do_not_matter() -> None:
    graph, q, v = random_graph(), torch.randn(9, 4), torch.randn(9, 4)
    found = []
    for backend in ("cpu", "eager"):
        value = v.clone().requires_grad_()
        with mpnn.backend(backend):
            y = mpnn.propagate(
                graph, lambda q_i, q_j, v_j: ((q_i * q_j).sum(-1), v_j), "softmax", q=q, v=value
            )
        found.append(torch.autograd.grad(y.relu_().square().sum(), value)[0])
    torch.testing.assert_close(*found)


def test_a_result_that_was_written_into_serves_a_graph_that_is_retained() -> None:
    x = torch.randn(9, 4, requires_grad=True)
    y = mpnn.propagate(random_graph(), lambda x_i, x_j: x_i * x_j, "max", x=x)
    y.mul_(2)
    (first,) = torch.autograd.grad(y.sum(), x, retain_graph=True)
    (second,) = torch.autograd.grad(y.sum(), x)
    assert torch.equal(first, second)


def test_an_input_that_was_written_into_is_an_error_as_before() -> None:
    x = torch.randn(9, 4, requires_grad=True) * 1
    y = mpnn.propagate(random_graph(), lambda x_i, x_j: x_i * x_j, "max", x=x)
    x.mul_(2)
    y.mul_(2)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        y.sum().backward()


def test_dropout_is_the_same_where_a_result_is_computed_again() -> None:
    x = torch.randn(9, 4, requires_grad=True)

    def layer() -> Tensor:
        torch.manual_seed(1)
        return mpnn.propagate(
            random_graph(), lambda x_i, x_j: nn.functional.dropout(x_i * x_j, 0.5), "max", x=x
        )

    (wanted,) = torch.autograd.grad((layer() * 2).sum(), x)
    (found,) = torch.autograd.grad(layer().mul_(2).sum(), x)
    assert torch.equal(found, wanted)


@pytest.mark.parametrize("aggr", ["max", "softmax", ["mean", "max"]], ids=str)
def test_a_compiled_function_may_write_into_a_result(aggr: str | list[str]) -> None:
    graph, x = random_graph(), torch.randn(9, 4, dtype=torch.float64)
    message = MESSAGES["softmax" if aggr == "softmax" else "max"]

    def layer(x: Tensor) -> Tensor:
        return nn.functional.relu(mpnn.propagate(graph, message, aggr, x=x), inplace=True)

    def eager(x: Tensor) -> Tensor:
        with mpnn.backend("eager"):
            return layer(x)

    assert_same(torch.compile(layer, backend="aot_eager", fullgraph=True), eager, [x])
