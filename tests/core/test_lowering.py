"""Every lowering rule against the slow path, on the examples that the rule itself brings."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

import mpnn
from mpnn import propagate
from mpnn.lowering import RULES, Example
from tests.compare import assert_same


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
