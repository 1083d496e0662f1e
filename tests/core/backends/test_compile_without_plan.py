"""Inside `torch.compile`, messages that the compiler cannot trace, that have no plan, or that we fail at."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch._dynamo.utils import counters

import mpnn
from mpnn import MessagePassing
from mpnn.backends.run import net, rows_op, under_compile
from mpnn.native.reach import traced
from tests.compare import assert_same
from tests.core.graphs import random_graph

# PyTorch's own, where it looks through a cache, and goes on behind a break of the graph.
pytestmark = [
    pytest.mark.usefixtures("fresh_compiler"),
    pytest.mark.filterwarnings(
        "ignore:Dynamo detected a call to a .functools", "ignore:The .grad attribute of a Tensor"
    ),
]

DTYPE = torch.float64
graph = random_graph()
x = torch.randn(9, 4, dtype=DTYPE, generator=torch.Generator().manual_seed(1))


class Layer(MessagePassing):
    """A layer whose message is given."""

    def __init__(self, own: Callable[..., Any], aggr: str = "sum") -> None:
        super().__init__(aggr)
        self.own, self.calls = own, 0
        self.weight = nn.Parameter(torch.linspace(0.5, 1.5, 4, dtype=DTYPE))

    def forward(self, x: Tensor, edges: Tensor) -> Tensor:
        out: Tensor = self.propagate(edges, x=x)
        return out

    def message(self, x_i: Tensor, x_j: Tensor) -> Tensor:
        out: Tensor = self.own(self, x_i, x_j)
        return out


class Compiled(nn.Module):
    """A layer and what the compiler makes of it, with the layer's own parameters."""

    def __init__(self, layer: nn.Module, **options: Any) -> None:
        super().__init__()
        self._parameters = layer._parameters
        self.__dict__["function"] = torch.compile(layer, backend="aot_eager", **options)

    def forward(self, *inputs: Any) -> Any:
        return self.__dict__["function"](*inputs)


def eager(layer: nn.Module) -> nn.Module:
    """The oracle."""

    class Eager(Compiled):
        def forward(self, *inputs: Any) -> Any:
            with mpnn.backend("eager"):
                return layer(*inputs)

    return Eager(layer)


def branches(layer: Layer, x_i: Tensor, x_j: Tensor) -> Tensor:
    return x_j * layer.weight if x_i.sum() > 0 else x_j * 3


def reads_a_value(layer: Layer, x_i: Tensor, x_j: Tensor) -> Tensor:
    return x_j * float(x_i.detach().abs().max())


def prints(layer: Layer, x_i: Tensor, x_j: Tensor) -> Tensor:
    print(end="")
    return x_j * layer.weight


def counts(layer: Layer, x_i: Tensor, x_j: Tensor) -> Tensor:
    layer.calls += 1
    return x_j * layer.weight


@torch.compiler.disable  # type: ignore[untyped-decorator]
def is_not_compiled(layer: Layer, x_i: Tensor, x_j: Tensor) -> Tensor:
    return x_j * layer.weight * x_i


def differentiates(layer: Layer, x_i: Tensor, x_j: Tensor) -> Tensor:
    with torch.enable_grad():
        own = x_i.detach().requires_grad_()
        (slope,) = torch.autograd.grad((own**3).sum(), own)
    return slope * x_j


def sorts_edges(layer: Layer, x_i: Tensor, x_j: Tensor) -> Tensor:
    return x_j.sort(0).values * layer.weight


def decomposes(layer: Layer, x_i: Tensor, x_j: Tensor) -> Tensor:
    return x_j * torch.linalg.svdvals(x_i)[0]


BREAKS = [branches, reads_a_value, prints, counts, is_not_compiled, differentiates]


@pytest.mark.parametrize("message", BREAKS, ids=lambda f: f.__name__)
def test_a_message_that_cannot_be_traced_runs_as_ever_behind_a_graph_break(message: Any) -> None:
    layer = Layer(message)
    counters.clear()
    assert_same(Compiled(layer), eager(layer), [x, graph.edge_index])
    # The compiler begins at the layer, and where this package is called there, but goes no deeper.
    assert 1 <= counters["graph_break"].total() <= 4


@pytest.mark.parametrize("message", [sorts_edges, decomposes], ids=lambda f: f.__name__)
@pytest.mark.parametrize("dynamic", [False, True])
def test_a_message_without_a_plan_stays_in_the_graph(message: Any, dynamic: bool, regions: list[Any]) -> None:
    layer = Layer(message)
    assert_same(Compiled(layer, fullgraph=True, dynamic=dynamic), eager(layer), [x, graph.edge_index])
    assert [region.plan for region in regions] == [None]


def writes_numbers(layer: Layer, x_i: Tensor, x_j: Tensor) -> Tensor:
    out = x_j * layer.weight
    out[:, 0] = 0
    out[:, 1:3] = torch.tensor([5.0, 7.0], dtype=DTYPE)
    return out * x_i


def computes_with_literals(layer: Layer, x_i: Tensor, x_j: Tensor) -> Tensor:
    scale = torch.tensor([1.0, 2.0, 3.0, 4.0], dtype=DTYPE)
    return torch.where(x_i > 0, torch.tensor(0.5, dtype=DTYPE).exp(), x_j) * scale


@pytest.mark.parametrize("message", [writes_numbers, computes_with_literals], ids=lambda f: f.__name__)
def test_a_literal_in_a_message_has_a_plan(message: Any, regions: list[Any]) -> None:
    layer = Layer(message)
    assert_same(Compiled(layer, fullgraph=True), eager(layer), [x, graph.edge_index])
    assert [region.plan is None for region in regions] == [False]


@pytest.mark.parametrize(
    ("result", "error", "words"),
    [(3, TypeError, "takes one tensor for a message, got int"), (None, TypeError, "got NoneType")],
)
def test_what_is_no_message_is_named_as_without_the_compiler(result: Any, error: Any, words: str) -> None:
    with pytest.raises(error, match=words):
        Compiled(Layer(lambda *_: result))(x, graph.edge_index)


def test_another_number_of_messages_than_of_edges_is_named() -> None:
    with pytest.raises(Exception, match=rf"messages must have {graph.num_edges} rows, one for each edge"):
        Compiled(Layer(lambda layer, x_i, x_j: x_j[:3]))(x, graph.edge_index)


# The net ------------------------------------------------------------------------------------------------


def product(layer: Layer, x_i: Tensor, x_j: Tensor) -> Tensor:
    return (x_i * x_j * layer.weight).tanh()


def fails(*_: Any, **__: Any) -> Any:
    raise KeyError("a fault of our own")


@pytest.fixture
def lenient(monkeypatch: pytest.MonkeyPatch) -> None:
    """As a user has it: faults are worked around."""
    monkeypatch.delenv("MPNN_STRICT")
    net._said.clear()
    rows_op.fused_of.cache_clear()


def _in_the_kernel(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mpnn.backends.c.kernel.CKernel.__call__", fails)


def _in_the_kernel_of_the_way_back(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rows_op, "gradients_by_kernels", fails)


def _while_a_plan_is_made(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(under_compile, "make_plan", fails)


def _while_a_plan_is_written_into_the_graph(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(under_compile, "_emit", fails)


PLACES = [
    _while_a_plan_is_made,
    _while_a_plan_is_written_into_the_graph,
    _in_the_kernel,
    _in_the_kernel_of_the_way_back,
]


@pytest.mark.usefixtures("lenient")
@pytest.mark.parametrize("place", PLACES, ids=lambda f: f.__name__.strip("_"))
def test_a_fault_of_our_own_costs_one_warning(place: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    place(monkeypatch)
    layer = Layer(product)
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        compiled = Compiled(layer, fullgraph=True)
        for _ in range(2):
            assert_same(compiled, eager(layer), [x, graph.edge_index])
    ours = [str(w.message) for w in said if "mpnn computes" in str(w.message)]
    assert len(ours) == 1
    assert "a fault of our own" in ours[0]
    rows_op.fused_of.cache_clear()


@pytest.mark.parametrize("place", PLACES[:2], ids=lambda f: f.__name__.strip("_"))
def test_a_fault_is_raised_where_that_is_wanted(place: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    place(monkeypatch)
    with pytest.raises(Exception, match="a fault of our own"):
        Compiled(Layer(product), fullgraph=True)(x, graph.edge_index)


@pytest.mark.usefixtures("lenient")
def test_a_fault_in_export_costs_one_warning(monkeypatch: pytest.MonkeyPatch) -> None:
    _while_a_plan_is_made(monkeypatch)
    layer = Layer(product)
    with pytest.warns(RuntimeWarning, match="mpnn computes Layer.message"):
        program = torch.export.export(layer, (x, graph.edge_index), strict=False)
    assert not traced()
    assert_same(program.module(), eager(layer), [x, graph.edge_index], gradients=False)
