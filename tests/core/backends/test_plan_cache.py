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
from torch.nn.utils import parametrizations, prune

import mpnn
from mpnn import Graph, MessagePassing, propagate
from mpnn.backends.run.plans import trace_count
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
    """A message that reads attributes of many kinds from its layer."""

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
                self.register_parameter(name.replace(".", "_"), parameter)

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


# Modules in a message that must be called ------------------------------------------------------------------


class OfModules(MessagePassing):
    """A message that calls modules."""

    def __init__(self) -> None:
        super().__init__("max")
        torch.manual_seed(2)
        self.net = nn.Sequential(nn.Linear(4, 6), nn.Tanh(), nn.Linear(6, 4)).to(DTYPE)

    def forward(self, x: Tensor, edges: Graph = graph) -> Tensor:
        out: Tensor = self.propagate(edges, x=x)
        return out

    def message(self, x_i: Tensor, x_j: Tensor) -> Tensor:
        out: Tensor = self.net(x_i - x_j)
        return out


class OfModulesByName(OfModules):
    def message(self, x_i: Tensor, x_j: Tensor) -> Tensor:
        out: Tensor = getattr(self, "net")(x_i - x_j)  # noqa: B009
        return out


class Whole(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.net = OfModules().net

    def forward(self, x_i: Tensor, x_j: Tensor) -> Tensor:
        out: Tensor = self.net(x_i - x_j)
        return out


def of_a_closure() -> nn.Module:
    module = OfModules()
    net = module.net
    module.message = lambda x_i, x_j: net(x_i - x_j)  # type: ignore[method-assign]
    return module


def run(model: nn.Module, x: Tensor) -> Tensor:
    out: Tensor = propagate(graph, model, "max", x=x) if isinstance(model, Whole) else model(x)
    return out


MODELS = [OfModules, OfModulesByName, of_a_closure, Whole]
WATCHES: dict[str, Callable[[Any], Any]] = {
    "a hook": lambda m: m.net[2].register_forward_hook(lambda m, given, out: 3 * out),
    "a hook before": lambda m: m.net[2].register_forward_pre_hook(lambda m, given: (given[0] + 1,)),
    "a hook on the whole": lambda m: m.net.register_forward_hook(lambda m, given, out: 3 * out),
    "a hook on an activation": lambda m: m.net[1].register_forward_hook(lambda m, given, out: 3 * out),
    "pruned": lambda m: prune.ln_structured(m.net[0], "weight", 0.5, 2, 0),
    "weight norm": lambda m: parametrizations.weight_norm(m.net[2])._parameters["bias"].data.add_(1),
    "spectral norm": lambda m: parametrizations.spectral_norm(m.net[2]),
}


@pytest.mark.parametrize("make", MODELS)
@pytest.mark.parametrize("watch", WATCHES)
def test_a_module_with_hooks_is_called_although_a_plan_is_known(make: Any, watch: str) -> None:
    first, second = make(), make()
    before = run(first, x)
    assert_runs(KERNEL, lambda: run(first, x))
    WATCHES[watch](second)
    second.eval()
    with mpnn.backend("eager"):
        expected = run(second, x)
    assert (expected - before).abs().max() > 1e-3
    assert_close(run(second, x), expected)
    assert_runs(EAGER, lambda: run(second, x))
    assert_close(run(first, x), before)
    assert_runs(KERNEL, lambda: run(first, x))


@pytest.mark.parametrize("make", MODELS)
def test_a_hook_sees_every_call_until_it_is_removed(make: Any) -> None:
    model, seen = make(), []
    run(model, x)
    handle = model.net[0].register_forward_hook(lambda m, given, out: seen.append(out.shape))
    for _ in range(3):
        run(model, x)
    assert seen == [(graph.num_edges, 6)] * 3
    handle.remove()
    assert_runs(KERNEL, lambda: run(model, x))
    assert len(seen) == 3


def test_a_hook_of_all_modules_sees_those_of_a_message() -> None:
    model, seen = OfModules(), []
    model(x)
    handle = torch.nn.modules.module.register_module_forward_hook(lambda m, given, out: seen.append(type(m)))
    model(x)
    handle.remove()
    assert seen.count(nn.Linear) == 2
    assert_runs(KERNEL, lambda: model(x))


def test_a_hook_on_an_aggregator_is_called() -> None:
    model = OfModules()
    plain = model(x)
    model.aggr_module.register_forward_hook(lambda m, given, out: 2 * out)  # type: ignore[union-attr]
    assert_close(model(x), 2 * plain)


def test_a_hook_on_the_layer_itself_costs_no_kernel() -> None:
    model = OfModules()
    plain = model(x)
    model.register_forward_hook(lambda m, given, out: 2 * out)
    assert_close(model(x), 2 * plain)
    assert_runs(KERNEL, lambda: model(x))


def test_the_reason_is_told() -> None:
    model = OfModules()
    model.net[0].register_forward_hook(lambda m, given, out: None)
    assert "Linear has hooks, which a kernel would not call" in str(mpnn.explain(model, x))


def test_an_adapter_in_a_message_is_called() -> None:
    class Adapter(nn.Module):
        def __init__(self, base: nn.Linear) -> None:
            super().__init__()
            self.weight, self.bias, self.scale = base.weight, base.bias, nn.Parameter(base.bias.new_ones(6))

        def forward(self, x: Tensor) -> Tensor:
            return self.scale * nn.functional.linear(x, self.weight, self.bias).sin()

    model = OfModules()
    model(x)
    model.net[0] = Adapter(model.net[0])  # type: ignore[arg-type]
    for own, expected in zip(outcome(model), outcome(on_eager(model)), strict=True):
        assert_close(own, expected)
    assert_runs(KERNEL, lambda: model(x))


def outcome(model: Any) -> list[Tensor]:
    """The output and all gradients, in the order of the parameters."""
    own = x.clone().requires_grad_()
    out = model(own)
    return [out, *torch.autograd.grad(out.square().sum(), [own, *model.parameters()])]


def test_a_weight_of_the_layer_that_is_computed_is_never_stale() -> None:
    class Shift(nn.Module):
        count = 0

        def forward(self, weight: Tensor) -> Tensor:
            self.count += 1
            return weight + self.count

    model = Everything()
    model(x)
    torch.nn.utils.parametrize.register_parametrization(model, "weight", Shift())
    first, second = model(x), model(x)
    assert (first - second).abs().max() > 0.1


def test_modules_in_another_order_are_another_message() -> None:
    class Pair(nn.Module):
        def __init__(self, *names: str) -> None:
            super().__init__()
            made = {"first": nn.Tanh(), "second": nn.Sigmoid()}
            if names[0] != "first":
                made = {"second": nn.Tanh(), "first": nn.Sigmoid()}
            for name, module in made.items():
                self.add_module(name, module)

        def forward(self, x: Tensor) -> Tensor:
            first, second = self.get_submodule("first"), self.get_submodule("second")
            out: Tensor = second(2 * first(x))
            return out

    for names in (("first", "second"), ("second", "first")):
        model = OfModules()
        model.net[1] = Pair(*names)
        assert_close(model(x), on_eager(model)(x))


# Retracing ----------------------------------------------------------------------------------------------


def test_other_sizes_of_graphs_do_not_trace_again(monkeypatch: pytest.MonkeyPatch) -> None:
    layer = Everything()
    monkeypatch.setattr(layer, "forward", lambda x, graph: layer.propagate(graph, x=x))
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


def test_inference_mode_leaves_no_trap(monkeypatch: pytest.MonkeyPatch) -> None:
    graph_ = Graph(graph.edge_index.clone(), 9)
    layer = Everything()
    monkeypatch.setattr(layer, "forward", lambda x: layer.propagate(graph_, x=x))
    with torch.inference_mode():
        layer(x)
    own = x.clone().requires_grad_()
    layer(own).sum().backward()
    assert own.grad is not None


def test_the_first_call_with_another_number_is_as_every_later_one() -> None:
    # A probability of dropout must be a number: the plan in which it is an argument is refused.
    graph, x = Graph(torch.tensor([[0, 1, 2, 2], [1, 2, 0, 1]])), torch.randn(3, 8)
    for p in (0.11, 0.23, 0.37, 0.41):
        layer = mpnn.models.GATConv(8, 4, heads=2, dropout=p)
        found = []
        for _ in range(2):
            torch.manual_seed(0)
            found.append(layer(x, graph))
        assert torch.equal(*found)
