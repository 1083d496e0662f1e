"""A layer's class that is made anew in each step leaves nothing behind."""

from __future__ import annotations

import gc
import weakref

import pytest
import torch
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensorMode

import mpnn
from mpnn import MessagePassing
from mpnn.backends.run import plans
from tests.compare import assert_same
from tests.core.graphs import random_graph

MOST = 4
graph = random_graph()
x = torch.randn(9, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(1))


def made_anew(scale: float) -> type[MessagePassing]:
    """A class, each time another one of the same code."""

    class Local(MessagePassing):
        factor = scale

        def message(self, x_i: Tensor, x_j: Tensor) -> Tensor:
            return self.bent(x_i - x_j)

        def bent(self, x: Tensor) -> Tensor:
            """With what the class has."""
            return (x * self.factor).tanh()

    return Local


def step(layer: MessagePassing) -> None:
    """Compare it with eager."""

    def run(x: Tensor) -> Tensor:
        out: Tensor = layer.propagate(graph, x=x)
        return out

    def eager(x: Tensor) -> Tensor:
        with mpnn.backend("eager"):
            return run(x)

    assert_same(run, eager, [x])


@pytest.fixture
def few(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plans, "MOST_CLASSES", MOST)


@pytest.mark.usefixtures("few")
def test_old_classes_and_their_plans_are_let_go() -> None:
    known = len(plans._plans)
    classes = []
    for k in range(5 * MOST):
        made = made_anew(1.0 + k)
        classes.append(weakref.ref(made))
        step(made())
        del made
    gc.collect()
    assert sum(one() is not None for one in classes) <= MOST
    assert len(plans._plans) <= known + MOST


@pytest.mark.usefixtures("few")
def test_a_class_that_comes_back_is_planned_anew() -> None:
    first = made_anew(0.5)
    step(first())
    for k in range(2 * MOST):
        step(made_anew(1.0 + k)())
    step(first())


def test_a_trace_leaves_no_operations_in_a_cache_of_pytorch() -> None:
    step(made_anew(0.25)())
    before = len(FakeTensorMode.cache)
    for k in range(3):
        step(made_anew(20.0 + k)())
    assert len(FakeTensorMode.cache) - before <= 6
