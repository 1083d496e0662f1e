"""A kernel is compared with eager before it is used, and an error inside mpnn falls back to eager."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

import mpnn
from mpnn import Graph, MessagePassing
from mpnn.aggregate import reductions
from mpnn.backends import point
from mpnn.backends.run import fused, net, plans, rows_op, trial_of_step
from tests.compare import assert_same
from tests.core.running import EAGER, KERNEL, ways

graph = Graph(torch.randint(0, 9, (2, 40), generator=torch.Generator().manual_seed(0)), num_nodes=9)
x = torch.randn(9, 4, generator=torch.Generator().manual_seed(1), dtype=torch.float64)


class Product(MessagePassing):
    """A layer whose message is one product."""

    def forward(self, x: Tensor, edges: Graph) -> Tensor:
        out: Tensor = self.propagate(edges, x=x)
        return out

    def message(self, x_i: Tensor, x_j: Tensor) -> Tensor:
        return x_i * x_j


@pytest.fixture(autouse=True)
def _anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """An empty cache of kernels and verdicts, in memory and on disk."""
    monkeypatch.setenv("MPNN_CACHE", str(tmp_path / "cache"))
    plans._plans.clear()
    plans._families.clear()
    rows_op.fused_of.cache_clear()
    net._said.clear()
    yield
    plans._plans.clear()
    rows_op.fused_of.cache_clear()


@pytest.fixture
def lenient(monkeypatch: pytest.MonkeyPatch) -> None:
    """The default of a user: without MPNN_STRICT, errors inside mpnn are caught."""
    monkeypatch.delenv("MPNN_STRICT")


def _eager(layer: Any) -> Callable[..., Tensor]:
    def run(*inputs: Any) -> Tensor:
        with mpnn.backend("eager"):
            out: Tensor = layer(*inputs)
        return out

    return run


def _wrong_product(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(point.C, "mul", "({0} * {1} * 1.25)")


def test_a_kernel_with_wrong_results_is_not_believed(monkeypatch: pytest.MonkeyPatch, lenient: None) -> None:
    _wrong_product(monkeypatch)
    layer = Product()
    with pytest.warns(RuntimeWarning, match=r"without a kernel for Product.message\(\), which failed"):
        out = layer(x, graph)
    assert torch.equal(out, _eager(layer)(x, graph))
    assert_same(lambda x: layer(x, graph), lambda x: _eager(layer)(x, graph), [x])  # and is said once
    (step,) = mpnn.explain(layer, x, graph).steps
    assert step.way == EAGER
    assert "failed its trial: the result is off by" in step.reason


def test_a_kernel_with_wrong_gradients_is_not_believed(
    monkeypatch: pytest.MonkeyPatch, lenient: None
) -> None:
    gradients = reductions.Sum.gradients
    monkeypatch.setattr(reductions.Sum, "gradients", lambda *args: tuple(2 * g for g in gradients(*args)))
    layer = Product()
    with pytest.warns(RuntimeWarning, match="the gradient at x_i is off by"):
        layer(x.clone().requires_grad_(), graph)
    assert_same(lambda x: layer(x, graph), lambda x: _eager(layer)(x, graph), [x])


def test_a_fault_is_raised_where_that_is_wanted(monkeypatch: pytest.MonkeyPatch) -> None:
    _wrong_product(monkeypatch)
    with pytest.raises(AssertionError, match="failed its trial"):
        Product()(x, graph)


def test_the_verdict_stays_with_the_compiled_files(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, lenient: None
) -> None:
    tried: list[str] = []
    fault = trial_of_step._fault
    monkeypatch.setattr(trial_of_step, "_fault", lambda *args: tried.append("") or fault(*args))
    for _ in range(2):  # as if in two processes
        Product()(x, graph)
        Product()(x.clone().requires_grad_(), graph)
        plans._plans.clear()
    assert len(tried) == 2  # the way without gradients, and that with
    assert len(list((tmp_path / "cache").glob("*.trial"))) == 2
    _wrong_product(monkeypatch)
    with pytest.warns(RuntimeWarning, match="failed its trial"):
        Product()(x, graph)
    plans._plans.clear()
    with pytest.warns(RuntimeWarning, match="failed its trial"):
        Product()(x, graph)
    assert len(tried) == 3


@pytest.mark.parametrize("aggr", ["sum", "mean", "max", "min", "std", "softmax", ["mean", "max"]], ids=str)
def test_right_kernels_pass(aggr: Any) -> None:
    layer = Product(aggr)
    assert set(ways(lambda: layer(x.clone().requires_grad_(), graph))) == {KERNEL}


def test_the_random_numbers_of_the_caller_are_as_without_a_trial() -> None:
    torch.manual_seed(3)
    expected = torch.rand(2)
    torch.manual_seed(3)
    Product()(x, graph)
    assert torch.equal(torch.rand(2), expected)


def test_no_gradient_of_a_parameter_is_left_behind() -> None:
    weight = torch.nn.Parameter(torch.ones(4, dtype=torch.float64))
    mpnn.propagate(graph, lambda x_j: x_j * weight, "sum", x=x)
    assert weight.grad is None


# In compiled functions -----------------------------------------------------------------------------------


def _compiled(layer: Any) -> Callable[..., Tensor]:
    torch.compiler.reset()
    run: Callable[..., Tensor] = torch.compile(layer, backend="aot_eager")
    return run


def test_a_kernel_with_wrong_results_is_not_believed_in_a_compiled_function(
    monkeypatch: pytest.MonkeyPatch, lenient: None
) -> None:
    _wrong_product(monkeypatch)
    layer = Product()
    run = _compiled(layer)
    with pytest.warns(RuntimeWarning, match="without a kernel for a message in a compiled function, which"):
        out = run(x, graph.edge_index)
    assert_same(lambda x: run(x, graph.edge_index), lambda x: _eager(layer)(x, graph), [x])
    assert torch.allclose(out, _eager(layer)(x, graph), rtol=0, atol=1e-12)


def test_a_kernel_with_wrong_gradients_is_not_believed_in_a_compiled_function(
    monkeypatch: pytest.MonkeyPatch, lenient: None
) -> None:
    gradients = reductions.Sum.gradients
    monkeypatch.setattr(reductions.Sum, "gradients", lambda *args: tuple(2 * g for g in gradients(*args)))
    layer = Product()
    run = _compiled(layer)
    leaf = x.clone().requires_grad_()
    with pytest.warns(RuntimeWarning, match="a gradient is off by"):
        run(leaf, graph.edge_index).sum().backward()
    assert_same(lambda x: run(x, graph.edge_index), lambda x: _eager(layer)(x, graph), [x])


def test_a_fault_in_a_compiled_function_is_raised_where_that_is_wanted(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    _wrong_product(monkeypatch)
    with pytest.raises(AssertionError, match="failed its trial"):
        _compiled(Product())(x, graph.edge_index)


@pytest.mark.parametrize("aggr", ["sum", "mean", "max", "std", "softmax", ["mean", "max"]], ids=str)
def test_right_kernels_pass_in_a_compiled_function(aggr: Any, tmp_path: Path) -> None:
    layer = Product(aggr)
    run = _compiled(layer)
    assert_same(lambda x: run(x, graph.edge_index), lambda x: _eager(layer)(x, graph), [x])
    verdicts = [path.read_text() for path in (tmp_path / "cache").glob("*.trial")]
    assert len(verdicts) == 2  # forward with what is saved, and backward
    assert not any(verdicts)


# The net --------------------------------------------------------------------------------------------------


def _broken(*args: Any, **kwargs: Any) -> Any:
    raise KeyError("home")


FAULTS = {
    "while a plan is looked for": (plans, "key_of"),
    "while steps are compared that differ in a number": (plans, "numbers_of"),
    "while a message is traced": (plans, "make_plan"),
    "before a kernel is launched": (fused, "_reduced"),
    "while gradients are derived": (plans, "make_backward"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_an_error_inside_mpnn_leads_to_eager_and_to_one_warning(
    fault: str, monkeypatch: pytest.MonkeyPatch, lenient: None
) -> None:
    monkeypatch.setattr(*FAULTS[fault], _broken)
    layer, given = Product(), x.clone().requires_grad_()
    with pytest.warns(RuntimeWarning, match=r"computes Product.message\(\) in plain PyTorch after an error"):
        layer(given, graph)
    assert_same(lambda x: layer(x, graph), lambda x: _eager(layer)(x, graph), [x])
    assert "KeyError: 'home'" in mpnn.explain(layer, given, graph).steps[0].reason


@pytest.mark.parametrize("fault", FAULTS)
def test_an_error_inside_mpnn_is_raised_under_strict(fault: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(*FAULTS[fault], _broken)
    with pytest.raises(KeyError, match="home"):
        Product()(x.clone().requires_grad_(), graph)


def test_an_error_of_the_message_is_the_callers(lenient: None) -> None:
    def message(x_j: Tensor) -> Tensor:
        raise ArithmeticError("mine")

    with pytest.raises(ArithmeticError, match="mine"):
        mpnn.propagate(graph, message, "sum", x=x)


def test_a_want_of_memory_is_raised(monkeypatch: pytest.MonkeyPatch, lenient: None) -> None:
    def full(*args: Any) -> Any:
        raise RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 10 bytes.")

    monkeypatch.setattr(fused, "_reduced", full)
    with pytest.raises(RuntimeError, match="allocate memory"):
        Product()(x, graph)
