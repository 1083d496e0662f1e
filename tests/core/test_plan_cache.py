"""A plan serves every call that it fits, and none that it does not."""

from __future__ import annotations

import copy
import pickle
import threading
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import mpnn
from mpnn import Graph, MessagePassing, propagate
from mpnn.backends.plans import trace_count
from tests.compare import assert_close, assert_same
from tests.core.graphs import random_graph
from tests.core.running import EAGER, KERNEL, assert_runs, ways

DTYPE = torch.float64
graph = random_graph()
generator = torch.Generator().manual_seed(4)
x = torch.randn(9, 4, dtype=DTYPE, generator=generator)
SCALE = 2.0
WEIGHT = torch.ones(4, dtype=DTYPE)


class Everything(MessagePassing):
    """A message that reads all kinds of things of its layer."""

    shift = 0.0
    buffer: Tensor

    def __init__(self, activation: Callable[[Tensor], Tensor] = torch.relu, bias: bool = False) -> None:
        super().__init__("sum")
        self.activation = activation
        self.factors = [1.0, 2.0]
        self.options = {"power": 1}
        self.weight = nn.Parameter(torch.full((4,), 0.5, dtype=DTYPE))
        self.bias = nn.Parameter(torch.ones(4, dtype=DTYPE)) if bias else None
        self.other = self.weight
        self.register_buffer("buffer", torch.ones(4, dtype=DTYPE))
        self.calls = 0

    def forward(self, x: Tensor) -> Tensor:
        self.calls += 1
        out: Tensor = self.propagate(graph, x=x)
        return out

    def message(self, x_i: Tensor, x_j: Tensor) -> Tensor:
        out = self.scaled(self.activation(x_i - x_j)) ** self.options["power"]
        out = out * self.other if self.training else out
        return out if self.bias is None else out + self.bias

    def scaled(self, x: Tensor) -> Tensor:
        """Reads more, in a method that the message calls."""
        return self.factors[0] * self.weight * x + self.buffer + self.shift


CHANGES: dict[str, Callable[[Any], object]] = {
    "a function": lambda m: setattr(m, "activation", torch.tanh),
    "a list": lambda m: m.factors.__setitem__(0, 3.0),
    "a dictionary": lambda m: m.options.update(power=2),
    "a parameter in place": lambda m: m.weight.data.fill_(7.0),
    "a parameter": lambda m: setattr(m, "weight", nn.Parameter(torch.full((4,), 3.0, dtype=DTYPE))),
    "one of two names for a weight": lambda m: setattr(m, "other", nn.Parameter(torch.ones(4, dtype=DTYPE))),
    "a parameter's shape": lambda m: setattr(m, "weight", nn.Parameter(torch.ones(1, dtype=DTYPE))),
    "an optional parameter": lambda m: setattr(m, "bias", nn.Parameter(torch.ones(4, dtype=DTYPE))),
    "a buffer": lambda m: setattr(m, "buffer", torch.full((4,), 5.0, dtype=DTYPE)),
    "a number": lambda m: setattr(m, "shift", 1.0),
    "training": lambda m: m.eval(),
    "a method": lambda m: setattr(m, "scaled", lambda x: -x),
    "a state_dict": lambda m: m.load_state_dict({k: v + 1 for k, v in m.state_dict().items()}),
}


@pytest.mark.parametrize("change", CHANGES)
def test_nothing_that_a_layer_reads_is_ever_stale(change: str) -> None:
    layer = Everything()
    layer(x)
    CHANGES[change](layer)
    assert_same(layer, on_eager(layer), [x])
    assert_runs(KERNEL, lambda: layer(x))


def on_eager(layer: Callable[..., Any]) -> Any:
    """The same module, run in plain PyTorch."""

    class OnEager(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            for name, parameter in layer.named_parameters():  # type: ignore[attr-defined]
                self.register_parameter(name, parameter)

        def forward(self, *inputs: Any) -> Any:
            with mpnn.backend("eager"):
                return layer(*inputs)

    return OnEager()


def test_two_layers_of_a_class_have_plans_of_their_own() -> None:
    for layer in (Everything(), Everything(torch.tanh), Everything(bias=True), Everything(torch.sigmoid)):
        assert_same(layer, on_eager(layer), [x])


def test_functional_call_sees_its_own_parameters() -> None:
    layer = Everything()
    layer(x)
    swapped = {"weight": torch.full((4,), 9.0, dtype=DTYPE)}
    with mpnn.backend("eager"):
        expected = torch.func.functional_call(layer, swapped, (x,))
    assert_close(torch.func.functional_call(layer, swapped, (x,)), expected)


def scaled(x_j: Tensor) -> Tensor:
    return SCALE * x_j


def weighted(x_j: Tensor) -> Tensor:
    return WEIGHT * x_j


def test_globals_are_never_stale(monkeypatch: pytest.MonkeyPatch) -> None:
    first, second = propagate(graph, scaled, x=x), propagate(graph, weighted, x=x)
    monkeypatch.setitem(globals(), "SCALE", 4.0)
    monkeypatch.setitem(globals(), "WEIGHT", 3 * WEIGHT)
    assert_close(propagate(graph, scaled, x=x), 2 * first)
    assert_close(propagate(graph, weighted, x=x), 3 * second)


def test_closures_and_defaults_are_never_stale() -> None:
    def message(power: int, weight: Tensor) -> Callable[..., Tensor]:
        def inner(x_j: Tensor, *, factor: int = power) -> Tensor:
            return weight * x_j**power * factor

        return inner

    for power in (1, 2, 3):
        for weight in (torch.ones(4, dtype=DTYPE), torch.full((4,), 2.0, dtype=DTYPE)):
            out = propagate(graph, message(power, weight), x=x)
            assert_close(out, propagate(graph, lambda x_j: x_j, x=power * weight * x**power))


def test_the_value_of_a_tensor_is_never_baked_in() -> None:
    level = torch.tensor(2.0, dtype=DTYPE)
    for value in (2.0, 5.0):
        level.fill_(value)
        assert_close(
            propagate(graph, lambda x_j: x_j * level.item(), x=x),
            value * propagate(graph, lambda x_j: x_j, x=x),
        )
        assert_close(
            propagate(graph, lambda x_j: x_j if level > 3 else -x_j, x=x),
            propagate(graph, lambda x_j: x_j, x=x) * (1 if value > 3 else -1),
        )  # fmt: skip


def test_what_a_message_writes_is_written() -> None:
    class Keeps(MessagePassing):
        kept: Tensor | None = None

        def forward(self, x: Tensor) -> Tensor:
            out: Tensor = self.propagate(graph, x=x)
            return out

        def message(self, x_j: Tensor) -> Tensor:
            self.kept = 2 * x_j
            return self.kept

    layer = Keeps("sum")
    assert ways(lambda: layer(x)) == [EAGER]
    for scale in (1, 3):
        layer(scale * x)
        assert layer.kept is not None
        assert_close(layer.kept, 2 * scale * x[graph.src])


# Retracing ----------------------------------------------------------------------------------------------


def test_other_sizes_of_graphs_do_not_trace_again() -> None:
    layer = Everything()
    layer.forward = lambda x, graph: layer.propagate(graph, x=x)  # type: ignore[assignment]
    layer(torch.randn(9, 4, dtype=DTYPE), graph).sum().backward()
    before = trace_count()
    for nodes, edges in ((5, 7), (10007, 11), (50, 10007), (9, 2), (3, 40)):
        layer(torch.randn(nodes, 4, dtype=DTYPE), random_graph(nodes, edges)).sum().backward()
    assert trace_count() == before


def test_a_counter_in_the_layer_does_not_trace_again() -> None:
    layer = Everything()
    layer(x)
    before = trace_count()
    layer(x)
    assert layer.calls == 2
    Everything()(x)  # nor does another layer that is alike
    assert trace_count() == before


def test_another_width_or_type_traces_once() -> None:
    def message(x_i: Tensor, x_j: Tensor) -> Tensor:
        return x_i.sin() * x_j

    before = trace_count()
    for _ in range(3):
        for width, dtype in ((2, torch.float32), (3, torch.float32), (2, torch.float64)):
            propagate(graph, message, x=torch.randn(9, width, dtype=dtype))
    assert trace_count() == before + 3


def test_a_message_without_a_kernel_is_tried_once() -> None:
    def message(x_j: Tensor) -> Tensor:
        return x_j.cumsum(-1)

    before = trace_count()
    for _ in range(3):
        propagate(graph, message, x=x)
    assert trace_count() == before + 1


# Copies, threads ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("copied", [copy.deepcopy, lambda layer: pickle.loads(pickle.dumps(layer))])
def test_a_used_layer_can_be_copied(copied: Callable[[Any], Any]) -> None:
    layer = Everything()
    layer(x).sum().backward()
    other = copied(layer)
    with torch.no_grad():
        layer.weight.fill_(100.0)
    assert_same(other, on_eager(other), [x])


def test_threads_share_plans() -> None:
    def message(x_i: Tensor, x_j: Tensor) -> Tensor:
        return (x_i - x_j).cos() * x_j

    with mpnn.backend("eager"):
        expected = propagate(graph, message, "max", x=x)
    outputs: list[Tensor] = []
    gradients: list[Tensor] = []

    def work() -> None:
        for _ in range(5):
            own = x.clone().requires_grad_()
            outputs.append(propagate(graph, message, "max", x=own))
            gradients.append(torch.autograd.grad(outputs[-1].sum(), own)[0])

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(gradients) == 20
    for out, gradient in zip(outputs, gradients, strict=True):
        assert_close(out, expected)
        assert torch.equal(gradient, gradients[0])


def test_inference_mode_leaves_no_trap() -> None:
    graph_ = Graph(graph.edge_index.clone(), 9)
    layer = Everything()
    layer.forward = lambda x: layer.propagate(graph_, x=x)  # type: ignore[assignment]
    with torch.inference_mode():
        layer(x)
    own = x.clone().requires_grad_()
    layer(own).sum().backward()
    assert own.grad is not None
