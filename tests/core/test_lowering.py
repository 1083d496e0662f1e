"""Every lowering rule against the slow path, on the examples that the rule itself brings."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

import mpnn
from mpnn import Graph, propagate, topology
from mpnn.lowering import RULES, Example
from tests.compare import assert_close, assert_same


def _cases() -> list[Any]:
    torch.manual_seed(1)
    return [
        pytest.param(example, id=f"{rule.name}-{k}-{type(example.graph).__name__}-{example.message.__name__}")
        for rule in RULES
        for k, example in enumerate(rule.examples())
    ]


def _run(backend: str, example: Example) -> Callable[..., Tensor]:
    def step(fields: dict[str, Any]) -> Tensor:
        with mpnn.backend(backend):
            return propagate(example.graph, example.message, example.aggr, **fields)

    return step


def _double(value: Any) -> Any:
    if isinstance(value, tuple):
        return tuple(map(_double, value))
    return value.double() if isinstance(value, Tensor) else value


@pytest.mark.parametrize("example", _cases())
def test_a_rule_gives_the_numbers_and_gradients_of_the_slow_path(example: Example) -> None:
    fields = {name: _double(value) for name, value in example.fields.items()}
    assert_same(_run("dense", example), _run("eager", example), [fields])


def _one_step(
    backend: str, message: Callable[..., Any], aggr: Any = "softmax", graph: Graph | None = None
) -> Tensor:
    x = torch.randn(5, 3)
    with mpnn.backend(backend):
        return propagate(topology.complete(5) if graph is None else graph, message, aggr, x=x)


@pytest.mark.parametrize(
    ("message", "reason"),
    [
        (lambda x_i, x_j: ((x_i * x_j).sum(-1).clamp(max=50), x_j), "uses clamp"),
        (lambda x_i, x_j: ((x_i * x_j).sum(-1).detach(), x_j), "uses detach"),
        (lambda x_i, x_j: ((x_i - x_j).sum(-1) ** 2, x_j), "uses pow"),
        (lambda x_i, x_j: ((x_i * x_i * x_j).sum(-1) * x_j[:, 0], x_j), "no scaled dot product"),
        (lambda x_i, x_j: ((x_i * x_j).sum(-1), x_i + x_j), "no field of the source"),
        (lambda x_j: x_j, "no scaled dot product|no field"),
    ],
)
def test_a_message_that_is_something_else_is_left_alone(message: Callable[..., Any], reason: str) -> None:
    with pytest.raises(ValueError, match=f'backend "dense" has no kernel for this step.*({reason})'):
        _one_step("dense", message)
    torch.manual_seed(0)
    found = _one_step("auto", message)
    torch.manual_seed(0)
    assert_close(found, _one_step("eager", message), atol=1e-5)  # float32


def test_what_no_rule_is_for_says_why() -> None:
    def dot(x_i: Tensor, x_j: Tensor) -> tuple[Tensor, Tensor]:
        return (x_i * x_j).sum(-1), x_j

    ring = Graph(torch.tensor([[0, 1, 2, 3, 4], [1, 2, 3, 4, 0]]), 5)
    with pytest.raises(ValueError, match="a Graph is no regular topology"):
        _one_step("dense", dot, graph=ring)
    with pytest.raises(ValueError, match="no rule is for Chain"):
        _one_step("dense", dot, graph=topology.chain(5))
    with pytest.raises(ValueError, match="receivers without senders"):
        _one_step("dense", dot, graph=topology.complete([1, 4], self_loops=False))
    with pytest.raises(ValueError, match="not made of one primitive reduction"):
        _one_step("dense", lambda x_j: x_j, ["sum", "max"])


def test_every_rule_says_in_a_line_what_it_does() -> None:
    descriptions = [rule.description for rule in RULES]
    assert len(set(descriptions)) == len(RULES)
    assert descriptions[0].startswith("attention: softmax of (scale · q_i·k_j + biases, v_j) on Complete")
