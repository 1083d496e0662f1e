"""Messages of any kind inside `torch.compile`: on kernels where there is one, and right in any case."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

import mpnn
from mpnn import Graph, MessagePassing
from mpnn.backends.run import rows_op
from mpnn.graph import csr
from mpnn.plan.text import VERSION, plan_from_text
from tests.compare import assert_close, assert_same
from tests.core.graphs import random_graph

pytestmark = pytest.mark.usefixtures("fresh_compiler")

DTYPE = torch.float64
graph = random_graph()
x = torch.randn(9, 4, dtype=DTYPE, generator=torch.Generator().manual_seed(1))


def whole(function: Any, backend: str = "aot_eager", **options: Any) -> Any:
    return torch.compile(function, fullgraph=True, backend=backend, **options)


class Layer(MessagePassing):
    """A message that reads a parameter, a buffer, a number and a method of the layer."""

    shift: Tensor

    def __init__(self, aggr: Any = "sum", flow: str = "source_to_target") -> None:
        super().__init__(aggr, flow=flow)
        self.weight = nn.Parameter(torch.linspace(0.5, 1.5, 4, dtype=DTYPE))
        self.register_buffer("shift", torch.full((4,), 0.1, dtype=DTYPE))
        self.scale, self.p = 2.0, 0.0

    def forward(self, x: Tensor, graph: Graph | Tensor) -> Tensor:
        out: Tensor = self.propagate(graph, x=x)
        return out

    def message(self, x_i: Tensor, x_j: Tensor) -> Tensor:
        return F.dropout(self.bent(x_i - x_j) * self.scale, self.p, self.training)

    def bent(self, x: Tensor) -> Tensor:
        """A value of the layer's parameter, buffer and number."""
        return (x * self.weight + self.shift).tanh()


@pytest.mark.parametrize("flow", ["source_to_target", "target_to_source"])
@pytest.mark.parametrize(
    "aggr", ["sum", "mean", "max", "mul", "logsumexp", "softmax", ["std", "min"]], ids=str
)
def test_every_aggregator(aggr: Any, flow: str, regions: list[Any]) -> None:
    layer = Layer(aggr, flow)
    assert_same(Compiled(layer), layer, [x, graph.edge_index])
    assert all(region.plan is not None for region in regions)


class Compiled(nn.Module):
    """A module and its compiled form, with the same parameters."""

    def __init__(self, module: nn.Module, backend: str = "aot_eager") -> None:
        super().__init__()
        self._parameters, self._modules = module._parameters, module._modules
        self.__dict__["function"] = whole(module, backend)

    def forward(self, *inputs: Any) -> Any:
        return self.__dict__["function"](*inputs)


def test_a_graph_is_sorted_once(monkeypatch: pytest.MonkeyPatch) -> None:
    sorted_: list[int] = []
    compress = csr.compress
    monkeypatch.setattr("mpnn.graph.incidence.compress", lambda *args: sorted_.append(1) or compress(*args))
    # The odd graph of a trial would be sorted, too.
    monkeypatch.setattr("mpnn.backends.run.rows_op.believe_program", lambda *args, **options: None)
    layer, edge_index = whole(mpnn.models.GATConv(4, 4).double()), graph.edge_index.clone()
    for _ in range(3):
        layer(x.clone().requires_grad_(), edge_index).sum().backward()
    assert len(sorted_) == 2  # by destination, and by source for the way back


def test_edges_that_change_are_seen_and_checked() -> None:
    layer, edge_index = Layer(), graph.edge_index.clone()
    compiled_ = whole(layer)
    assert_close(compiled_(x, edge_index), layer(x, edge_index))
    edge_index[0, 0] = (edge_index[0, 0] + 1) % 9
    assert_close(compiled_(x, edge_index), layer(x, edge_index))
    edge_index[1, 3] = 9
    with pytest.raises(IndexError, match=r"edge_index\[1, 3\] is 9, but the graph has 9 destination nodes"):
        compiled_(x, edge_index)


@pytest.mark.parametrize("change", [lambda m: setattr(m, "scale", 3.0), lambda m: m.shift.fill_(1.0)])
def test_nothing_that_a_layer_reads_is_stale(change: Callable[[Any], Any]) -> None:
    layer = Layer()
    compiled_ = whole(layer)
    compiled_(x, graph)
    change(layer)
    assert_close(compiled_(x, graph), layer(x, graph))


def test_dropout_is_drawn_anew_and_the_same_on_the_way_back() -> None:
    layer = Layer()
    layer.p = 0.5
    compiled_ = whole(layer)
    own = x.clone().requires_grad_()
    first, second = compiled_(own, graph), compiled_(own, graph)
    assert not torch.equal(first, second)
    torch.manual_seed(3)
    out = compiled_(own, graph)
    torch.manual_seed(3)
    assert torch.equal(compiled_(own, graph), out)
    # Where all messages of a node were dropped nothing may come back, and elsewhere something must.
    (gradient,) = torch.autograd.grad(out.abs().sum(), own)
    kept = out.detach() != 0
    assert kept.any()
    assert not kept.all()
    received = torch.zeros_like(x).index_add(0, graph.src, kept.to(DTYPE)[graph.dst]) + kept
    assert not gradient[received == 0].any()


def test_a_message_on_a_number_of_edges_that_no_plan_knows_runs_in_plain_operations(
    regions: list[Any],
) -> None:
    class Running(Layer):
        def message(self, x_i: Tensor, x_j: Tensor) -> Tensor:
            return x_j.cumsum(0) * self.weight  # mixes edges

    layer = Running()
    assert_same(Compiled(layer), layer, [x, graph.edge_index])
    assert [region.plan for region in regions] == [None]


# PyTorch's compiler makes an instance of the function's class by itself.
@pytest.mark.filterwarnings("ignore:.*should not be instantiated:DeprecationWarning")
def test_a_derivative_of_ones_own_is_kept(regions: list[Any]) -> None:
    class Half(torch.autograd.Function):
        @staticmethod
        def forward(ctx: Any, x: Tensor) -> Tensor:
            return x.clone()

        @staticmethod
        def backward(ctx: Any, gradient: Tensor) -> Tensor:
            return 0.5 * gradient

    class Halved(Layer):
        def message(self, x_j: Tensor) -> Tensor:
            out: Tensor = Half.apply(x_j * self.weight)
            return out

    layer = Halved()
    assert_same(Compiled(layer), layer, [x, graph.edge_index])


def test_a_network_per_edge_stays_in_bounded_memory(regions: list[Any]) -> None:
    class PerEdge(Layer):
        def __init__(self) -> None:
            super().__init__("max")
            self.mlp = nn.Sequential(nn.Linear(8, 70), nn.ReLU(), nn.Linear(70, 3)).to(DTYPE)

        def message(self, x_i: Tensor, x_j: Tensor) -> Tensor:
            out: Tensor = self.mlp(torch.cat([x_i, x_j], dim=-1))
            return out

    layer = PerEdge()
    assert_same(Compiled(layer), layer, [x, graph.edge_index])
    assert all(region.plan is not None for region in regions)


def scored(x_i: Tensor, x_j: Tensor, e: Tensor) -> tuple[Tensor, Tensor]:
    return (x_i * x_j).sum(-1) + e.squeeze(-1), x_j.view(-1, 2, 2) * e.unsqueeze(-1)


def test_a_function_and_edge_features_and_pairs() -> None:
    def run(x: Tensor, y: Tensor, e: Tensor, edge_index: Tensor) -> Tensor:
        return mpnn.propagate(edge_index, scored, "softmax", x=(x, y), e=e)

    edge_index = torch.stack([graph.src, graph.dst % 5])
    e = torch.randn(graph.num_edges, 1, dtype=DTYPE)
    assert_same(whole(run), run, [x, x[:5].clone(), e, edge_index])


def test_the_backend_is_that_in_force_when_it_is_compiled(regions: list[Any]) -> None:
    layer = Layer()
    with mpnn.backend("eager"):
        assert_same(Compiled(layer), layer, [x, graph.edge_index])
    assert not regions


def test_transforms_inside_a_compiled_function_see_plain_operations(regions: list[Any]) -> None:
    layer = Layer()

    def each(stacked: Tensor, edge_index: Tensor) -> Tensor:
        return torch.func.vmap(torch.func.grad(lambda x: layer(x, edge_index).sin().sum()))(stacked)

    stacked = torch.stack([x, 2 * x])
    assert_close(whole(each)(stacked, graph.edge_index), each(stacked, graph.edge_index))
    assert not regions


def test_a_compiler_that_fails_later_does_not_stop_a_compiled_function(
    monkeypatch: pytest.MonkeyPatch, regions: list[Any]
) -> None:
    layer = Layer("max")
    own = x.clone().requires_grad_()
    (expected,) = torch.autograd.grad(layer(own, graph).sum(), own)
    rows_op.fused_of.cache_clear()

    def fails(*_: Any, **__: Any) -> Any:
        raise mpnn.native.toolchain.CompilerError("cc failed")

    monkeypatch.setattr(rows_op, "CKernel", fails)
    monkeypatch.setattr("mpnn.backends.run.fused._warned", True)
    out = whole(layer)(own, graph)
    rows_op.fused_of.cache_clear()
    assert_close(torch.autograd.grad(out.sum(), own)[0], expected)
    assert regions


def test_a_program_that_is_none_is_refused() -> None:
    for text in ("", "{}", '{"version": 1, "inputs": [], "operations": [["os.system.default", [], {}]]}'):
        with pytest.raises(ValueError, match="holds a program of mpnn that cannot be read"):
            plan_from_text(text)


def test_a_program_of_another_version_is_refused_in_one_sentence(regions: list[Any]) -> None:
    whole(lambda x: mpnn.propagate(graph, lambda x_j: x_j.sin(), x=x))(x)
    program = json.loads(regions[0].text)
    assert program["version"] == VERSION
    plan_from_text(json.dumps(program))
    for other in (VERSION + 1, str(VERSION)):
        with pytest.raises(
            ValueError, match=rf"its version is {other!r}, and this mpnn reads version {VERSION}: compile and"
        ):
            plan_from_text(json.dumps(program | {"version": other}))
    del program["version"]
    with pytest.raises(ValueError, match="its version is None"):
        plan_from_text(json.dumps(program))


def test_inductor_compiles_it_too() -> None:
    layer = Layer("mean")
    assert_same(Compiled(layer, "inductor"), layer, [x, graph.edge_index])


def test_a_program_makes_its_constants_where_it_runs(regions: list[Any]) -> None:
    def message(x_j: Tensor) -> Tensor:
        return torch.cat([x_j, torch.full((x_j.size(0), 1), 2.0, dtype=DTYPE, device=x_j.device)], -1)

    whole(lambda x: mpnn.propagate(graph, message, "max", x=x))(x)
    for device in ("cpu", "meta"):  # the one without data stands for any other
        plan = plan_from_text(regions[0].text, device)
        nodes = [*plan.hoisted.inputs, *plan.hoisted.core]
        assert {node.meta["val"].device.type for node in nodes} == {device}


# What a node becomes -------------------------------------------------------------------------------------


class Narrows(MessagePassing):
    """A sum of weighted rows, then a map to fewer channels; `update` may be another."""

    def __init__(self, aggr: str = "sum", update: Callable[..., Tensor] | None = None) -> None:
        super().__init__(aggr)
        torch.manual_seed(3)
        self.lin, self.own = nn.Linear(4, 2, dtype=DTYPE), nn.Linear(4, 2, bias=False, dtype=DTYPE)
        self.then = update

    def forward(self, x: Tensor, weight: Tensor, graph: Graph | Tensor) -> Tensor:
        out: Tensor = self.propagate(graph, x=x, weight=weight, root=x)
        return out

    def message(self, x_j: Tensor, weight: Tensor) -> Tensor:
        return weight * x_j

    def update(self, inputs: Tensor, root: Tensor) -> Tensor:
        return self.lin(inputs) + self.own(root) if self.then is None else self.then(self, inputs, root)


weight = torch.linspace(-1, 1, graph.num_edges, dtype=DTYPE).view(-1, 1)


@pytest.mark.parametrize("aggr", ["sum", "mean"])
def test_x_is_mapped_before_it_is_gathered_where_that_is_narrower(aggr: str, regions: list[Any]) -> None:
    layer = Narrows(aggr)
    assert_same(Compiled(layer), layer, [x, weight, graph.edge_index])
    (region,) = regions
    assert region.map_first is not None
    assert region.map_first.first.width == 2


KEEPS_ITS_WIDTH: dict[str, Callable[..., Tensor]] = {
    "the sum is read twice": lambda layer, inputs, root: layer.lin(inputs) + inputs[:, :2],
    "the sum is written into": lambda layer, inputs, root: layer.lin(inputs.mul_(2)) + layer.own(root),
    "the map widens": lambda layer, inputs, root: F.linear(inputs, layer.lin.weight.repeat(3, 1)),
    "no map": lambda layer, inputs, root: inputs.relu() - root,
}


@pytest.mark.parametrize("name", KEEPS_ITS_WIDTH)
def test_x_is_gathered_as_it_is_elsewhere(name: str, regions: list[Any]) -> None:
    layer = Narrows("sum", KEEPS_ITS_WIDTH[name])
    assert_same(Compiled(layer), layer, [x, weight, graph.edge_index])
    assert [region.map_first for region in regions] == [None]


def test_a_message_that_asks_for_the_width_of_x_keeps_it(regions: list[Any]) -> None:
    class Asks(Narrows):
        def message(self, x_j: Tensor, weight: Tensor) -> Tensor:
            x_j.view(x_j.size(0), 4)
            return weight * x_j / x_j.size(-1)

    layer = Asks()
    assert_same(Compiled(layer), layer, [x, weight, graph.edge_index])
    assert all(region.plan is not None for region in regions)


def test_an_update_may_keep_something(regions: list[Any]) -> None:
    class Keeping(Narrows):
        def update(self, inputs: Tensor, root: Tensor) -> Tensor:
            self.received = inputs
            return self.lin(inputs) + self.own(root)

    layer = Keeping()
    with torch.no_grad():
        out = whole(layer)(x, weight, graph.edge_index)
        assert layer.received.shape == x.shape
        assert_close(out, layer(x, weight, graph.edge_index))
    assert [region.map_first for region in regions] == [None]
