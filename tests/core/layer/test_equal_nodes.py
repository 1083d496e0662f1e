"""Nodes with equal features: PyTorch's products of matrices need not give their rows equal bits."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import mpnn
from mpnn import Graph, models
from tests.compare import assert_close
from tests.core.graphs import random_graph

graph = random_graph()


class Mapped(nn.Module):
    """A maximum over a map of the source alone: messages of equal nodes are equal but for rounding."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.map = nn.Linear(3, 7).double()

    def forward(self, x: Tensor, edges: Graph) -> Tensor:
        return mpnn.propagate(edges, lambda x_j: self.map(x_j).tanh(), "max", x=x)


def paired() -> nn.Module:
    """A perceptron on pairs, in EdgeConv."""
    torch.manual_seed(0)
    return models.EdgeConv(nn.Sequential(nn.Linear(6, 8), nn.ReLU(), nn.Linear(8, 7))).double()


def outcome(layer: nn.Module, x: Tensor) -> tuple[Tensor, ...]:
    """The result, the gradient at x, and those at the weights."""
    x = x.clone().requires_grad_()
    out = layer(x, graph)
    weight = torch.linspace(0.5, 1.5, out.numel(), dtype=out.dtype).view_as(out)
    return out, *torch.autograd.grad((out * weight).sum(), [x, *layer.parameters()])


@pytest.mark.parametrize("make", [Mapped, paired], ids=lambda f: f.__name__)
def test_ties_may_have_another_winner_and_change_nothing_else(make: Callable[[], Any]) -> None:
    layer, x = make(), torch.ones(9, 3, dtype=torch.float64)
    ours = outcome(layer, x)
    with mpnn.backend("eager"):
        theirs = outcome(layer, x)
    out, at_x, *at_weights = zip(ours, theirs, strict=True)
    for one, other in (out, *at_weights):
        assert_close(one, other)
    assert_close(at_x[0].sum(0), at_x[1].sum(0))  # over the nodes that tie, which are all of them


@pytest.mark.parametrize("make", [Mapped, paired], ids=lambda f: f.__name__)
def test_without_ties_the_winner_is_the_same(make: Callable[[], Any]) -> None:
    layer, x = make(), torch.randn(9, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(2))
    ours = outcome(layer, x)
    with mpnn.backend("eager"):
        theirs = outcome(layer, x)
    for one, other in zip(ours, theirs, strict=True):
        assert_close(one, other)
