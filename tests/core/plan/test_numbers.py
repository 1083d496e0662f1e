"""A number that changes from step to step costs no plan for each value."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
import torch
from torch import Tensor

import mpnn
from mpnn import Graph, MessagePassing
from mpnn.aggregate.aggregators import Softmax
from mpnn.backends.run.plans import trace_count
from mpnn.plan.numbers import MOST_ALIKE
from tests.compare import assert_same

STEPS = 24
graph = Graph(torch.randint(0, 6, (2, 30), generator=torch.Generator().manual_seed(0)), num_nodes=6)
GLOBAL = 1.0


class Annealed(MessagePassing):
    """A softmax whose temperature falls."""

    def __init__(self) -> None:
        super().__init__("softmax")
        self.temperature, self.step = 1.0, 1

    def forward(self, x: Tensor, edges: Graph) -> Tensor:
        out: Tensor = self.propagate(edges, x=x)
        return out

    def message(self, x_i: Tensor, x_j: Tensor) -> tuple[Tensor, Tensor]:
        return (x_i * x_j).sum(-1) / self.temperature, x_j * self.step


def _eager(call: Callable[..., Any]) -> Callable[..., Any]:
    def run(*inputs: Any) -> Any:
        with mpnn.backend("eager"):
            return call(*inputs)

    return run


def _steps(call_at: Callable[[int], Callable[..., Any]], dtype: torch.dtype) -> int:
    """Compare each step with eager; return the number of messages that were traced."""
    x = torch.randn(6, 4, dtype=dtype)
    before = trace_count()
    for step in range(STEPS):
        call = call_at(step)
        assert_same(call, _eager(call), [x], atol=1e-10 if dtype == torch.float64 else 1e-4)
    return trace_count() - before


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_an_attribute_that_changes_is_not_traced_again(dtype: torch.dtype) -> None:
    layer = Annealed()

    def at(step: int) -> Callable[[Tensor], Tensor]:
        layer.temperature, layer.step = 1.0 - step / 50, step + 1
        return lambda x: layer(x, graph)

    assert _steps(at, dtype) <= 3


def test_a_variable_of_the_enclosing_scope_that_changes_is_not_traced_again() -> None:
    def at(step: int) -> Callable[[Tensor], Tensor]:
        scale = 1.0 + step
        return lambda x: mpnn.propagate(graph, lambda x_j: (x_j * scale).tanh(), "max", x=x)

    assert _steps(at, torch.float64) <= 3


def test_a_global_that_changes_is_not_traced_again() -> None:
    def at(step: int) -> Callable[[Tensor], Tensor]:
        globals()["GLOBAL"] = 0.5 + step
        return lambda x: mpnn.propagate(graph, lambda x_j: x_j**2 + GLOBAL, "mean", x=x)

    assert _steps(at, torch.float64) <= 3


def test_an_argument_that_changes_is_not_traced_again() -> None:
    def at(step: int) -> Callable[[Tensor], Tensor]:
        return lambda x: mpnn.propagate(graph, lambda x_j, s: x_j.clamp(min=s), "sum", x=x, s=step / 10 - 1)

    assert _steps(at, torch.float64) <= 3


def test_the_temperature_of_an_aggregator_that_changes_is_not_traced_again() -> None:
    def at(step: int) -> Callable[[Tensor], Tensor]:
        aggr = Softmax(t=1.0 + step)
        return lambda x: mpnn.propagate(graph, lambda x_j: x_j, aggr, x=x)

    assert _steps(at, torch.float64) <= 3


def test_two_that_change_at_different_times() -> None:
    layer = Annealed()

    def at(step: int) -> Callable[[Tensor], Tensor]:
        if step < 10:
            layer.temperature = 1.0 - step / 50
        else:
            layer.step = step
        return lambda x: layer(x, graph)

    assert _steps(at, torch.float64) <= 4


def test_a_number_that_decides_something_has_a_plan_for_each_value_up_to_a_few() -> None:
    def at(step: int) -> Callable[[Tensor], Tensor]:
        scale = 1.0 + step

        def message(x_j: Tensor) -> Tensor:
            return 2 * x_j if scale > 5 else x_j * 0.5

        return lambda x: mpnn.propagate(graph, message, "sum", x=x)

    assert _steps(at, torch.float64) <= 18
    before = trace_count()
    assert _steps(lambda step: at(step + STEPS), torch.float64) == trace_count() - before == 0


def test_a_captured_tensor_of_another_shape_in_each_step_keeps_few_plans() -> None:
    from mpnn.backends.run import plans

    def message(x_j: Tensor) -> Tensor:
        return x_j[:, :1] * weight.sum()

    x = torch.randn(6, 4, dtype=torch.float64)
    for width in range(1, 40):
        weight = torch.ones(width, dtype=torch.float64)
        assert_same(
            lambda x: mpnn.propagate(graph, message, "sum", x=x),
            _eager(lambda x: mpnn.propagate(graph, message, "sum", x=x)),
            [x],
        )
    lists = [known for known in plans._plans.values() if isinstance(known, list)]
    assert max(map(len, lists)) <= MOST_ALIKE


class Ended(MessagePassing):
    """A layer that keeps a width, or a pair of them, which its message does not read."""

    def __init__(self, width: int | tuple[int, int], scale: float) -> None:
        super().__init__("sum")
        self.width, self.scale = width, scale

    def forward(self, x: Tensor, edges: Graph) -> Tensor:
        out: Tensor = self.propagate(edges, x=x)
        return out

    def message(self, x_j: Tensor) -> Tensor:
        return x_j * self.scale


def _call(layer: Ended, x: Tensor) -> Tensor:
    out: Tensor = layer(x, graph)
    return out


@pytest.mark.parametrize("order", [1, -1])
def test_what_is_a_number_in_one_layer_may_be_a_pair_in_another(order: int) -> None:
    x = torch.randn(6, 4, dtype=torch.float64)
    widths: list[int | tuple[int, int]] = [4, (4, 4), 5, (4, 6)]
    for k, width in enumerate(widths[::order]):
        call = partial(_call, Ended(width, 1.5 + k))
        assert_same(call, _eager(call), [x])
