"""Every lowering rule against `eager`, on the examples of the rule."""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensor
from torch.utils._python_dispatch import TorchDispatchMode

import mpnn
from mpnn import Graph, propagate, topology
from mpnn.layer.schedule import Topological
from mpnn.lowering import RULES, Example
from tests.compare import assert_close, assert_same
from tests.core.waiting import no_waiting
from tests.elsewhere import elsewhere


def _cases() -> list[Any]:
    torch.manual_seed(1)
    return [
        pytest.param(example, id=f"{rule.name}-{k}-{example}")
        for rule in RULES
        for k, example in enumerate(rule.examples())
    ]


class Layer(Topological):
    """A layer with the methods of a cell."""

    def __init__(self, cell: Any, aggr: str) -> None:
        super().__init__(aggr)
        self.cell = cell
        said = ("state", "prepare", "message", "update", "nothing")
        self.__dict__.update({name: getattr(cell, name) for name in said if hasattr(cell, name)})


class On(nn.Module):
    """An example on a backend."""

    def __init__(self, backend: str, example: Example) -> None:
        super().__init__()
        self.backend, self.example = backend, example
        cell = copy.deepcopy(example.message).double() if isinstance(example.message, nn.Module) else None
        self.layer = None if cell is None else Layer(cell, example.aggr)

    def forward(self, fields: dict[str, Any]) -> Any:
        with mpnn.backend(self.backend):
            if self.layer is not None:
                return self.layer.scan(self.example.graph, **fields)
            return propagate(self.example.graph, self.example.message, self.example.aggr, **fields)


def _double(value: Any) -> Any:
    if isinstance(value, tuple):
        return tuple(map(_double, value))
    return value.double() if isinstance(value, Tensor) else value


@pytest.mark.parametrize("example", _cases())
def test_a_rule_gives_the_numbers_and_gradients_of_the_slow_path(example: Example) -> None:
    fields = {name: _double(value) for name, value in example.fields.items()}
    assert_same(On("dense", example), On("eager", example), [fields])


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
        (lambda x_i, x_j: ((x_i * x_i * x_j).sum(-1) * x_j[:, 0], x_j), "not a scaled dot product"),
        (lambda x_i, x_j: ((x_i * x_j).sum(-1), x_i + x_j), "not a field of the source"),
        (lambda x_j: x_j, "not a scaled dot product|not a field"),
    ],
)
def test_a_message_that_no_rule_matches_says_why(message: Callable[..., Any], reason: str) -> None:
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


def test_attention_whose_message_has_dropout_says_why_no_rule_applies() -> None:
    def dropped(x_i: Tensor, x_j: Tensor) -> tuple[Tensor, Tensor]:
        score = (x_i * x_j).sum(-1)
        return score, F.dropout(torch.ones_like(score), 0.5)[:, None] * x_j

    with pytest.raises(ValueError, match="attention: the message has dropout, for which the kernel"):
        _one_step("dense", dropped)
    assert _one_step("auto", dropped).shape == (5, 3)


def test_every_rule_says_in_a_line_what_it_does() -> None:
    descriptions = [rule.description for rule in RULES]
    assert len(set(descriptions)) == len(RULES)
    assert descriptions[0].startswith("attention: softmax of (scale · q_i·k_j + biases, v_j) on Complete")


class Cell(Topological):
    """h_i = tanh(W x_i + U h_j + b)."""

    state = ("h",)

    def __init__(self, aggr: str = "sum") -> None:
        super().__init__(aggr)
        self.lin, self.loop = nn.Linear(3, 4), nn.Linear(4, 4, bias=False)

    def message(self, h_j: Tensor) -> Tensor:
        return h_j

    def nothing(self, num_nodes: int, fields: Any) -> Tensor:
        return self.lin.weight.new_zeros(num_nodes, 4)

    def update(self, inputs: Tensor, x: Tensor) -> tuple[Tensor, ...]:
        return (torch.tanh(self.lin(x) + self.loop(inputs)),)


class Clamped(Cell):
    def update(self, inputs: Tensor, x: Tensor) -> tuple[Tensor, ...]:
        return (torch.tanh(self.lin(x) + self.loop(inputs)).clamp(max=0.9999),)


class Doubled(Cell):
    def update(self, inputs: Tensor, x: Tensor) -> tuple[Tensor, ...]:
        return (torch.tanh(self.lin(x) + 2 * self.loop(inputs)),)


class Restarted(Cell):
    def nothing(self, num_nodes: int, fields: Any) -> Tensor:
        return self.lin.weight.new_ones(num_nodes, 4)


class Looking(Cell):
    def message(self, h_j: Tensor, x_j: Tensor) -> Tensor:
        return h_j + x_j.sum(-1, keepdim=True)


class Tied(Cell):
    def __init__(self) -> None:
        super().__init__()
        self.lin = nn.Linear(3, 4, bias=False)

    def update(self, inputs: Tensor, x: Tensor) -> tuple[Tensor, ...]:
        return (torch.tanh(self.lin(x) + self.loop(inputs) + self.loop.weight.sum(1)),)


@pytest.mark.parametrize(
    ("cell", "reason"),
    [
        (Clamped(), "the cell uses clamp"),
        (Doubled(), "not one of torch.nn's"),
        (Restarted(), "not one of torch.nn's"),
        (Looking(), "not one of torch.nn's"),
        (Tied(), "not one of torch.nn's"),
        (Cell("max"), "not by a sum"),
    ],
    ids=lambda value: type(value).__name__,
)
def test_a_cell_that_is_something_else_is_left_alone(cell: Cell, reason: str) -> None:
    x, chain = torch.randn(5, 3), topology.chain([3, 2])
    refused = f'backend "dense" has no kernel for {type(cell).__name__}.*{reason}'
    with mpnn.backend("dense"), pytest.raises(ValueError, match=refused):
        cell.propagate(chain, x=x)
    found = cell.propagate(chain, x=x)[0]
    with mpnn.backend("eager"):
        assert_close(found, cell.propagate(chain, x=x)[0], atol=1e-5)  # float32


def test_a_cell_is_found_again_with_new_weights_and_on_other_chains() -> None:
    for _ in range(2):
        cell, x = Cell(), torch.randn(6, 3)
        for chain in (topology.chain([4, 2]), topology.chain(6, backward=True)):
            with mpnn.backend("dense"):
                found = cell.propagate(chain, x=x)[0]
            with mpnn.backend("eager"):
                assert_close(found, cell.propagate(chain, x=x)[0], atol=1e-5)  # float32
    with mpnn.backend("dense"), pytest.raises(ValueError, match="sequences without nodes"):
        cell.propagate(topology.chain([6, 0]), x=x)


class Largest(TorchDispatchMode):
    """The number of entries of the largest tensor that an operation makes."""

    numbers = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = func(*args, **(kwargs or {}))
        for tensor in out if isinstance(out, tuple | list) else (out,):
            if isinstance(tensor, Tensor) and not isinstance(tensor, FakeTensor):
                self.numbers = max(self.numbers, tensor.untyped_storage().nbytes() // tensor.element_size())
        return out


LONG = [topology.causal(8192), topology.band(8192, 32), topology.band(8192, 64, dilation=3)]


@pytest.mark.parametrize("graph", LONG)
def test_long_attention_makes_no_matrix_of_all_pairs(graph: Graph) -> None:
    x = torch.randn(8192, 1, 4, requires_grad=True)
    with mpnn.backend("dense"), Largest() as largest:
        propagate(graph, lambda x_i, x_j: ((x_i * x_j).sum(-1), x_j), "softmax", x=x).sum().backward()
    assert largest.numbers < 8192 * 8192 / 16


def test_a_tree_names_its_rule_and_without_it_its_levels() -> None:
    ours, x, tree = mpnn.models.LSTM(3, 4), torch.randn(6, 3), topology.tree([-1, 0, 0, 1, -1, 4])
    (step,) = mpnn.explain(ours, x, graph=tree).steps
    assert step.way == "dense"
    assert step.reason.startswith("child sum")
    assert step.operations > 0
    with mpnn.backend("eager"):
        slow = mpnn.explain(ours, x, graph=tree)
    assert slow.steps[0].way == "levels"
    assert [one.way for one in slow.steps[1:]] == ["eager"] * 2


# Windows on a GPU -----------------------------------------------------------------------------------------


@pytest.fixture
def flexible(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """FlexAttention on the CPU too, where it computes all pairs, and refuses gradients unless told not to."""
    from torch.nn.attention import flex_attention as module

    from mpnn.lowering import dot_product_attention
    from mpnn.lowering import flexible as ours

    masks: list[Any] = []

    def plain(q: Tensor, k: Tensor, v: Tensor, *, block_mask: Any, scale: float) -> Tensor:
        masks.append(block_mask)
        return module.flex_attention(q, k, v, block_mask=block_mask, scale=scale)

    monkeypatch.setattr(dot_product_attention, "suits", lambda query, value: True)
    monkeypatch.setattr(ours, "_kernel", lambda: plain)
    monkeypatch.setattr(module, "_validate_device", lambda *_: None)
    monkeypatch.setattr(module, "_warn_once", lambda *_, **__: None)
    return masks


@pytest.mark.parametrize(
    "graph",
    [
        topology.band(300, (9, 150)),
        topology.band([70, 5], (2, 1), dilation=3),
        topology.band([6, 6], 2, causal=True).reverse(),
        topology.causal([4, 2]).reverse(),
        topology.complete([4, 2]),
    ],
    ids=["long", "ragged and dilated", "reversed", "causal, reversed", "complete and ragged"],
)
@pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor")  # PyTorch's compiler looks at all
def test_flex_attention_in_a_window_equals_eager(graph: Any, flexible: list[Any]) -> None:
    n = graph.num_nodes
    fields = [torch.randn(n, 2, 3), torch.randn(n, 2, 3), torch.randn(n, 2, 4)]

    def on(backend: str) -> Callable[..., Tensor]:
        def run(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
            with mpnn.backend(backend):
                return propagate(graph, _scored, "softmax", q=q, k=k, v=v)

        return run

    assert_same(on("dense"), on("eager"), [x.double() for x in fields])
    assert flexible
    queries, keys = (flexible[0].kv_num_blocks[0, 0].numel(), flexible[0].kv_indices.size(-1))
    assert queries == keys == -(-max(graph.lengths) // getattr(graph, "dilation", 1) // 128)


def _scored(q_i: Tensor, k_j: Tensor, v_j: Tensor) -> tuple[Tensor, Tensor]:
    return (q_i * k_j).sum(-1) / 2, v_j


def test_blocks_out_of_the_window_are_skipped() -> None:
    from mpnn.lowering.flexible import Window, block_mask

    mask = block_mask(Window(100, 0, 1), (1000,), 1000, torch.device("cpu"))
    dense = mask.to_dense()[0, 0].bool()
    place = torch.arange(1000)
    near = (place <= place[:, None]) & (place >= place[:, None] - 100)
    padded = torch.nn.functional.pad(near, (0, 24, 0, 24)).view(8, 128, 8, 128)
    assert torch.equal(dense, padded.any(3).any(1))


# Elsewhere ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("example", _cases())
def test_a_rule_stays_on_the_device_of_its_graph_and_waits_for_nothing(example: Example) -> None:
    there, fields = On("auto", example).double(), {k: _double(v) for k, v in example.fields.items()}
    with torch.no_grad():
        expected = copy.deepcopy(there)(fields)
        with elsewhere() as device:
            graph = example.graph.to(device)
            there.example = dataclasses.replace(example, graph=graph)
            moved = {name: _moved(v, device) for name, v in fields.items()}
            there.to(device)(moved)
            with no_waiting(on_cpu=False):
                out = there(moved)
            for ours, theirs in zip(_each(out), _each(expected), strict=True):
                assert ours.device == device
                assert_close(ours.cpu(), theirs)


def _moved(value: Any, device: torch.device) -> Any:
    if isinstance(value, tuple):
        return tuple(_moved(one, device) for one in value)
    return value.to(device) if isinstance(value, Tensor) else value


def _each(value: Any) -> list[Tensor]:
    if isinstance(value, dict):
        value = tuple(value.values())
    values = value if isinstance(value, tuple | list) else [value]
    return [one for one in values if isinstance(one, Tensor)]


def _with_number(q_i: Tensor, k_j: Tensor, n: Tensor) -> tuple[Tensor, Tensor]:
    return (q_i * k_j).sum(-1) + n, k_j


def _with_whole_numbers(q_i: Tensor, k_j: Tensor, n_j: Tensor) -> tuple[Tensor, Tensor]:
    return (q_i * k_j).sum(-1) + n_j, k_j


def _with_a_scaled_bias(q_i: Tensor, k_j: Tensor, b_j: Tensor, n: Tensor) -> tuple[Tensor, Tensor]:
    return (q_i * k_j).sum(-1) + n * b_j, k_j


def _weight_and_whole_number(k_j: Tensor, w: Tensor, n: Tensor) -> Tensor:
    return n * (w[:, None] * k_j)


def _weight_and_number(k_j: Tensor, w: Tensor, n: Tensor) -> Tensor:
    return w[:, None] * k_j + n * k_j


def _plus_whole_numbers(k_j: Tensor, n_j: Tensor) -> Tensor:
    return k_j + n_j[:, None]


WHOLE = torch.tensor([3, 0, -2, 1, 5])


@pytest.mark.parametrize(
    ("message", "aggr", "graph", "numbers"),
    [
        (_with_number, "softmax", topology.complete(5), {"n": torch.tensor(0.4)}),
        (_with_whole_numbers, "softmax", topology.complete(5), {"n": WHOLE}),
        (_with_a_scaled_bias, "softmax", topology.complete(5), {"b": WHOLE / 2, "n": torch.tensor(1.7)}),
        (_weight_and_whole_number, "sum", topology.complete(5), {"w": torch.ones(25), "n": torch.tensor(3)}),
        (_weight_and_number, "sum", topology.complete(5), {"w": torch.ones(25), "n": torch.tensor(1.7)}),
        (_plus_whole_numbers, "mean", topology.grid(5, 1), {"n": WHOLE}),
    ],
    ids=lambda value: getattr(value, "__name__", None),
)
def test_a_number_that_is_a_tensor_is_no_constant_of_a_rule(
    message: Callable[..., Any], aggr: str, graph: Graph, numbers: dict[str, Any]
) -> None:
    q, k = torch.randn(2, 5, 3, dtype=torch.float64)
    nodes: dict[str, Any] = {"q": q, "k": k} if aggr == "softmax" else {"k": k}

    def on(backend: str) -> Any:
        with mpnn.backend(backend):
            return propagate(graph, message, aggr, **nodes, **numbers)

    assert_close(on("auto"), on("eager"))
