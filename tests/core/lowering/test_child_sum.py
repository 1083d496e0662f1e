"""The compiled LSTM on directed acyclic graphs equals a recursion over nodes, in all options."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

import mpnn
from mpnn import Graph, models, topology
from mpnn.lowering import child_sum
from mpnn.native import child_sum as compiled
from tests.compare import assert_close, assert_same
from tests.present import present

DAG = Graph(torch.tensor([[0, 0, 0, 1, 2, 2, 2, 5], [1, 2, 4, 3, 3, 4, 5, 4]]), 7)


class On(nn.Module):
    """An LSTM on a graph and a backend."""

    def __init__(self, backend: str, lstm: models.LSTM, graph: Graph) -> None:
        super().__init__()
        self.backend, self.lstm, self.graph = backend, lstm, graph

    def forward(self, x: Tensor) -> Any:
        with mpnn.backend(self.backend):
            return self.lstm(x, graph=self.graph)


def forest(num_nodes: int) -> Graph:
    """Three trees, of nodes with any number of children."""
    generator = torch.Generator().manual_seed(5)
    parent = (torch.rand(num_nodes, generator=generator) * torch.arange(num_nodes)).long()
    return topology.tree(parent.masked_fill(torch.arange(num_nodes) < 3, -1))


@pytest.mark.parametrize("bias", [True, False])
def test_levels_that_threads_share_give_the_same_numbers(bias: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compiled, "SMALL", 1)
    graph = forest(60)
    lstm = models.LSTM(3, 9, bias=bias, dtype=torch.float64)
    x = torch.randn(60, 3, dtype=torch.float64)
    run = On("dense", lstm, graph)
    assert_same(run, On("eager", lstm, graph), [x])
    assert torch.equal(run(x)[0], run(x)[0])
    single = lstm.float()
    # Sums of a few dozen numbers below 1.
    assert_close(
        On("dense", single, graph)(x.float())[0], On("eager", single, graph)(x.float())[0], atol=1e-5
    )


def test_gates_are_exact_where_they_saturate_and_where_they_are_small() -> None:
    lstm = models.LSTM(1, 1, bias=False)
    with torch.no_grad():
        lstm.get_parameter("weight_ih_l0").copy_(torch.tensor([[1.0], [0.0], [1.0], [1.0]]))
    x = torch.tensor([0.0, 1e-30, -1e-6, 0.3, -20.0, 88.0, -89.0, 1e4, -torch.inf, torch.inf, torch.nan])
    edges = topology.tree([-1] * len(x))
    for dtype, rtol in ((torch.float32, 1e-6), (torch.float64, 1e-14)):  # a few units in the last place
        wide = lstm.to(dtype)
        found = On("dense", wide, edges)(x[:, None].to(dtype))[0]
        value = x.to(dtype)
        expected = value.sigmoid() * (value.sigmoid() * value.tanh()).tanh()
        torch.testing.assert_close(found[:, 0], expected, rtol=rtol, atol=1e-37, equal_nan=True)


def test_the_gradient_can_be_differentiated_again() -> None:
    lstm = models.LSTM(3, 4, dtype=torch.float64)
    x = torch.randn(7, 3, dtype=torch.float64, requires_grad=True)
    leaves = [x, *lstm.parameters()]

    def second(backend: str) -> tuple[Tensor, ...]:
        out, (_, c) = On(backend, lstm, DAG)(x)
        first = torch.autograd.grad(out.pow(3).sum() + c.sum(), leaves, create_graph=True)
        return torch.autograd.grad(torch.stack([part.square().sum() for part in first]).sum(), leaves)

    for ours, theirs in zip(second("dense"), second("eager"), strict=True):
        assert_close(ours, theirs)
    assert torch.autograd.gradgradcheck(lambda x: On("dense", lstm, DAG)(x)[0], x)


def test_several_gradients_at_once_are_those_one_by_one() -> None:
    lstm = models.LSTM(3, 4, dtype=torch.float64)
    x = torch.randn(7, 3, dtype=torch.float64, requires_grad=True)
    out = On("dense", lstm, DAG)(x)[0]
    directions = torch.randn(5, 7, 4, dtype=torch.float64)
    (found,) = torch.autograd.grad(out, x, directions, is_grads_batched=True, retain_graph=True)
    one_by_one = [torch.autograd.grad(out, x, d, retain_graph=True)[0] for d in directions]
    assert_close(found, torch.stack(one_by_one))


def test_only_the_gradients_that_are_asked_for_are_made() -> None:
    lstm = models.LSTM(3, 4, dtype=torch.float64)
    for name, parameter in lstm.named_parameters():
        parameter.requires_grad_(name == "weight_hh_l0")
    x = torch.randn(7, 3, dtype=torch.float64)
    for backend in ("dense", "eager"):
        On(backend, lstm, DAG)(x)[0].sum().backward()
    assert lstm.get_parameter("weight_ih_l0").grad is None
    wanted = lstm.get_parameter("weight_hh_l0")
    doubled = present(wanted.grad)
    lstm.zero_grad()
    On("eager", lstm, DAG)(x)[0].sum().backward()
    assert_close(doubled, 2 * present(wanted.grad))


def test_without_a_compiler_and_under_forward_differentiation_the_numbers_are_the_same(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    lstm = models.LSTM(3, 4, dtype=torch.float64)
    x, towards = torch.randn(2, 7, 3, dtype=torch.float64).unbind()
    run = On("dense", lstm, DAG)
    step = 1e-6
    slope = (run(x + step * towards)[0] - run(x - step * towards)[0]) / (2 * step)
    with torch.autograd.forward_ad.dual_level():
        dual = run(torch.autograd.forward_ad.make_dual(x, towards))[0]
        tangent = torch.autograd.forward_ad.unpack_dual(dual).tangent
        assert tangent is not None
        assert_close(tangent, slope, atol=1e-8)  # of a central difference
    monkeypatch.setattr(child_sum, "functions", lambda dtype: None)
    assert_same(run, On("eager", lstm, DAG), [x])
