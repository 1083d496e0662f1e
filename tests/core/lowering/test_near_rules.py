"""Messages near those that rules know, and data at which a rule might give another number than `eager`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import mpnn
from mpnn import Graph, explain, propagate, topology
from mpnn.layer.schedule import Topological
from tests.compare import assert_close, assert_same

GRID, FULL = topology.grid(7, 3), topology.complete(4)
ROWS = {"x": (torch.randn(7, 2).double(), None)}


def assert_like_eager(
    graph: Graph, message: Callable[..., Any], aggr: str, fields: dict[str, Any], unit: float = 1.0
) -> None:
    """Raise unless a message gives the outputs and gradients of eager, in some unit."""

    def on(backend: str) -> Callable[..., Tensor]:
        def run(*values: Any) -> Tensor:
            with mpnn.backend(backend):
                return propagate(graph, message, aggr, **dict(zip(fields, values, strict=True))) / unit

        return run

    assert_same(on("auto"), on("eager"), list(fields.values()), atol=1e-10)


def rule_of(graph: Graph, message: Callable[..., Any], aggr: str, fields: dict[str, Any]) -> str:
    """The dense rule by which a message runs, or ""."""
    (step,) = explain(lambda: propagate(graph, message, aggr, **fields)).steps
    return step.reason.partition(":")[0] if step.way == "dense" else ""


# The types of edges --------------------------------------------------------------------------------------


def _by_types(x_j: Tensor, edge_type: Tensor, weight: Tensor) -> Tensor:
    return torch.einsum("ei,eio->eo", x_j, weight[edge_type])


def _by_numbers(x_j: Tensor, n: Tensor, weight: Tensor) -> Tensor:
    return torch.einsum("ei,eio->eo", x_j, weight[n])


@pytest.mark.parametrize(("name", "message"), [("n", _by_numbers), ("edge_type", _by_types)])
def test_whole_numbers_of_edges_are_not_the_types_of_a_grid(name: str, message: Callable[..., Any]) -> None:
    weight, numbers = torch.randn(3, 2, 4).double(), torch.arange(GRID.num_edges) % 2
    assert_like_eager(GRID, message, "sum", {**ROWS, "weight": weight, name: numbers})
    assert rule_of(GRID, _by_types, "sum", {**ROWS, "weight": weight}) == "convolution"


# Small numbers -------------------------------------------------------------------------------------------


def _tiny_weights(x_j: Tensor, w: Tensor) -> Tensor:
    return 1e-14 * w[:, None] * x_j


def _tiny_sum(x_i: Tensor, x_j: Tensor, w: Tensor) -> Tensor:
    return 1e-14 * (w[:, None] * x_j + x_i * x_j)


def _small_square(x_j: Tensor, w: Tensor) -> Tensor:
    return w[:, None] * x_j + 1e-13 * x_j * x_j


def _long_number(x_j: Tensor, w: Tensor) -> Tensor:
    return 0.0010000000000500001 * w[:, None] * x_j


@pytest.mark.parametrize(
    ("message", "unit", "scale", "rule"),
    [
        (_tiny_weights, 1e-14, 1.0, "linear map"),
        (_tiny_sum, 1e-14, 1.0, ""),
        (_small_square, 1e7, 1e7, ""),
        (_long_number, 1e-3, 1.0, "linear map"),
    ],
    ids=lambda value: getattr(value, "__name__", None),
)
def test_a_small_coefficient_of_a_linear_message_is_not_lost(
    message: Callable[..., Any], unit: float, scale: float, rule: str
) -> None:
    fields = {"x": scale * torch.randn(4, 3).double(), "w": torch.randn(16).double()}
    assert_like_eager(FULL, message, "sum", fields, unit)
    assert rule_of(FULL, message, "sum", fields) == rule


def _dot_and_square(q_i: Tensor, k_j: Tensor, w: Tensor) -> tuple[Tensor, Tensor]:
    return (q_i * k_j).sum(-1) + 1e-13 * w * w, k_j


def test_a_small_term_of_a_score_is_not_lost() -> None:
    q, k = torch.randn(2, 4, 3).double()
    fields = {"q": q, "k": k, "w": 3e6 * torch.randn(16).double()}
    assert_like_eager(FULL, _dot_and_square, "softmax", fields)


def _shifted(x_j: Tensor) -> Tensor:
    return x_j + 1e-13


def _with_small_square(x_j: Tensor) -> Tensor:
    return x_j + 1e-13 * x_j * x_j


@pytest.mark.parametrize(("message", "unit"), [(_shifted, 1e-13), (_with_small_square, 1e13)])
def test_a_small_term_of_a_pooled_message_is_not_lost(message: Callable[..., Any], unit: float) -> None:
    fields = {"x": (unit * torch.randn(7, 2).double(), None)}
    assert_like_eager(GRID, message, "mean", fields, unit)


class SmallSquare(Topological):
    """h_i = relu(W x_i + U h_j + 10⁻¹³ h_j²)."""

    state = ("h",)

    def __init__(self) -> None:
        super().__init__("sum")
        self.lin, self.loop = nn.Linear(3, 4), nn.Linear(4, 4)

    def message(self, h_j: Tensor) -> Tensor:
        return h_j

    def nothing(self, num_nodes: int, fields: Any) -> Tensor:
        return self.lin.weight.new_zeros(num_nodes, 4)

    def update(self, inputs: Tensor, x: Tensor) -> tuple[Tensor, ...]:
        return (torch.relu(self.lin(x) + self.loop(inputs) + 1e-13 * inputs * inputs),)


def test_a_small_term_of_a_cell_is_not_lost() -> None:
    cell, x = SmallSquare().double(), 1e13 * torch.randn(5, 3).double()
    found = cell.scan(topology.chain(5), x=x)[0]
    with mpnn.backend("eager"):
        assert_close(found / 1e13, cell.scan(topology.chain(5), x=x)[0] / 1e13)


# No numbers, and numbers of several types -----------------------------------------------------------------


def _dot(q_i: Tensor, k_j: Tensor, v_j: Tensor) -> tuple[Tensor, Tensor]:
    return (q_i * k_j).sum(-1), v_j


def _itself(x_j: Tensor) -> Tensor:
    return x_j


def _weighted(x_j: Tensor, w: Tensor) -> Tensor:
    return w[:, None] * x_j


X, NONE = torch.randn(4, 3).double(), torch.empty(4, 0).double()
TYPED = {"weight": torch.randn(3, 2, 4).double()}


@pytest.mark.parametrize(
    ("graph", "message", "aggr", "fields"),
    [
        (FULL, _dot, "softmax", {"q": NONE, "k": NONE, "v": X}),
        (FULL, _dot, "softmax", {"q": X, "k": X, "v": NONE}),
        (FULL, _weighted, "sum", {"x": NONE, "w": torch.randn(16).double()}),
        (GRID, _itself, "mean", {"x": (torch.empty(7, 0).double(), None)}),
        (GRID, _itself, "max", {"x": (torch.empty(7, 0).double(), None)}),
        (GRID, _by_types, "sum", {"x": (torch.empty(7, 0).double(), None), "weight": TYPED["weight"][:, :0]}),
        (GRID, _by_types, "sum", {**ROWS, "weight": TYPED["weight"][..., :0]}),
    ],
)
def test_values_without_numbers_have_no_rule(
    graph: Graph, message: Callable[..., Any], aggr: str, fields: dict[str, Any]
) -> None:
    assert_like_eager(graph, message, aggr, fields)


@pytest.mark.parametrize(
    ("message", "aggr", "fields"),
    [
        (_dot, "softmax", {"q": X, "k": X, "v": X.float()}),
        (_weighted, "sum", {"x": X.float(), "w": torch.randn(16).double()}),
    ],
)
def test_values_of_several_types_have_no_rule(
    message: Callable[..., Any], aggr: str, fields: dict[str, Any]
) -> None:
    def on(backend: str) -> Tensor:
        with mpnn.backend(backend):
            return propagate(FULL, message, aggr, **fields)

    assert_close(on("auto"), on("eager"), atol=1e-6)  # float32


def _score_by_channel(q_i: Tensor, k_j: Tensor, v_j: Tensor) -> tuple[Tensor, Tensor]:
    return q_i * k_j, v_j


def test_a_value_that_all_heads_share_has_no_rule() -> None:
    assert_like_eager(FULL, _score_by_channel, "softmax", {"q": X, "k": X, "v": X[:, :1]})


# Scores of -inf ------------------------------------------------------------------------------------------


def _masked(q_i: Tensor, k_j: Tensor, m_i: Tensor) -> tuple[Tensor, Tensor]:
    return (q_i * k_j).sum(-1) + m_i, k_j


def test_a_node_whose_own_bias_is_minus_infinity_receives_nothing() -> None:
    mask = torch.tensor([0.0, -torch.inf, 1.5, -torch.inf]).double()
    fields: dict[str, Any] = {"q": X, "k": X, "m": mask}
    for graph in (FULL, topology.causal(4), topology.band(4, 1), topology.complete([3, 1])):
        assert_like_eager(graph, _masked, "softmax", fields)
        assert rule_of(graph, _masked, "softmax", fields) == "attention"
        with mpnn.backend("dense"):
            assert not propagate(graph, _masked, "softmax", **fields)[1].any()


def test_a_node_whose_own_bias_is_infinite_receives_no_number() -> None:
    fields: dict[str, Any] = {"q": X, "k": X, "m": torch.tensor([0.0, torch.inf, torch.nan, 0]).double()}
    with mpnn.backend("dense"):
        out = propagate(FULL, _masked, "softmax", **fields)
    with mpnn.backend("eager"):
        assert torch.equal(out.isnan(), propagate(FULL, _masked, "softmax", **fields).isnan())


# Autocast ------------------------------------------------------------------------------------------------


def _times_types(x_j: Tensor, edge_type: Tensor, weight: Tensor) -> Tensor:
    return (x_j[:, :, None] * weight[edge_type]).sum(1)


@pytest.mark.parametrize(
    ("graph", "message", "aggr", "fields"),
    [
        (FULL, _dot, "softmax", {"q": X, "k": X, "v": X}),
        (FULL, _weighted, "sum", {"x": X, "w": torch.randn(16)}),
        (GRID, _times_types, "sum", {**ROWS, **TYPED}),
        (GRID, _by_types, "sum", {**ROWS, **TYPED}),
        (GRID, _itself, "mean", ROWS),
    ],
)
@pytest.mark.parametrize("first", [True, False])
def test_autocast_changes_a_rule_no_more_than_eager(
    graph: Graph, message: Callable[..., Any], aggr: str, fields: dict[str, Any], first: bool
) -> None:
    floats: dict[str, Any] = {
        name: (value[0].float(), None) if isinstance(value, tuple) else value.float()
        for name, value in fields.items()
    }

    def on(backend: str) -> Tensor:
        with mpnn.backend(backend), torch.autocast("cpu", torch.bfloat16):
            return propagate(graph, message, aggr, **floats)

    if first:  # it is known without autocast
        propagate(graph, message, aggr, **floats)
    expected = on("eager")
    assert_close(on("auto"), expected, atol=1e-6 if expected.dtype == torch.float32 else 2e-2)


# What a kernel of PyTorch does otherwise -----------------------------------------------------------------


@pytest.mark.parametrize("scale", [-0.3, 0.0])
@pytest.mark.parametrize(
    "graph",
    [FULL, topology.causal(4), topology.causal(4).reverse(), topology.causal([3, 1]), topology.band(4, 1)],
    ids=repr,
)
def test_a_score_may_be_minus_a_product_or_nothing(graph: Graph, scale: float) -> None:
    def message(q_i: Tensor, k_j: Tensor, v_j: Tensor) -> tuple[Tensor, Tensor]:
        return (q_i * k_j).sum(-1) * scale, v_j

    fields = {"q": X, "k": X.flip(0), "v": X}
    assert_like_eager(graph, message, "softmax", fields)
    assert rule_of(graph, message, "softmax", fields) == "attention"


def _biased(q_i: Tensor, k_j: Tensor, v_j: Tensor, b_i: Tensor) -> tuple[Tensor, Tensor]:
    return (q_i * k_j).sum(-1) + b_i, v_j


def test_fields_of_one_size_and_other_shapes_are_told_apart() -> None:
    q, k = torch.randn(2, 4, 2, 3).double()
    fields = {"q": q, "k": k, "v": torch.randn(4, 2, 1).double(), "b": torch.randn(4, 2).double()}
    assert_like_eager(FULL, _biased, "softmax", fields)
    assert rule_of(FULL, _biased, "softmax", fields) == "attention"


class Projected(Topological):
    """The LSTM, whose h is projected to another width, or to its own."""

    state = ("h", "c")

    def __init__(self, width: int, wide: int) -> None:
        super().__init__("sum")
        self.width = width
        self.lin, self.loop = nn.Linear(wide, 16), nn.Linear(width, 16)
        self.project = nn.Linear(4, width, bias=False)

    def message(self, h_j: Tensor, c_j: Tensor) -> Tensor:
        return torch.cat([h_j, c_j], -1)

    def nothing(self, num_nodes: int, fields: Any) -> Tensor:
        return self.lin.weight.new_zeros(num_nodes, self.width + 4)

    def update(self, inputs: Tensor, x: Tensor) -> tuple[Tensor, ...]:
        i, f, g, o = (self.lin(x) + self.loop(inputs[:, : self.width])).chunk(4, -1)
        c = f.sigmoid() * inputs[:, self.width :] + i.sigmoid() * g.tanh()
        return self.project(o.sigmoid() * c.tanh()), c


@pytest.mark.filterwarnings("ignore:Initializing zero-element tensors is a no-op")  # of torch.nn
@pytest.mark.parametrize("wide", [0, 3])
@pytest.mark.parametrize("width", [2, 4, 6])
def test_a_projection_to_any_width_gives_the_states_of_eager(width: int, wide: int) -> None:
    cell, chain = Projected(width, wide).double(), topology.chain([4, 2])

    def on(backend: str) -> Callable[..., Any]:
        def run(x: Tensor) -> Any:
            with mpnn.backend(backend):
                first, last = cell.scan(chain, x=x)
                return first, *last

        return run

    assert_same(on("auto"), on("eager"), [torch.randn(6, wide).double()])


@pytest.mark.parametrize("aggr", ["sum", "mean", "max"])
@pytest.mark.parametrize("dims", [1, 2, 3])
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_images_in_half_precision_are_pooled(dtype: torch.dtype, dims: int, aggr: str) -> None:
    graph = topology.grid((4,) * dims, (2,) * dims)
    x = torch.randn(graph.num_src, 2).to(dtype)

    def on(backend: str) -> tuple[Tensor, Tensor]:
        given = x.clone().requires_grad_()
        with mpnn.backend(backend):
            out = propagate(graph, _itself, aggr, x=(given, None))
        out.square().sum().backward()
        assert given.grad is not None
        return out, given.grad

    for ours, theirs in zip(on("dense"), on("eager"), strict=True):
        assert_close(
            ours, theirs, atol=0.02 * float(theirs.detach().abs().max())
        )  # of numbers of 8 to 11 bits


# Memory --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("graph", [GRID, topology.grid((3,), (2,), stride=2, padding=1).reverse()])
def test_weights_that_are_not_contiguous_have_gradients(graph: Graph) -> None:
    weight = torch.randn(graph.num_edge_types, 1, 2).double()
    fields = {"x": (torch.randn(graph.num_src, 1).double(), None), "weight": weight}
    assert_like_eager(graph, _by_types, "mean", fields)
    assert rule_of(graph, _by_types, "mean", fields) == "convolution"


# What a trace cannot answer ------------------------------------------------------------------------------


def _asks_for_a_gradient(x_j: Tensor) -> Tensor:
    return 2 * x_j if x_j.requires_grad else x_j


def _asks_for_gradients(x_j: Tensor) -> Tensor:
    return 2 * x_j if torch.is_grad_enabled() else x_j


def _hooked(x_j: Tensor) -> Tensor:
    x_j = 1 * x_j
    if x_j.grad_fn is not None:
        x_j.register_hook(lambda gradient: 2 * gradient)
    return x_j


@pytest.mark.parametrize("message", [_asks_for_a_gradient, _asks_for_gradients, _hooked])
@pytest.mark.parametrize("graph", [GRID, Graph(torch.tensor([[0, 1, 2, 3], [1, 2, 0, 0]]), (7, 5))])
def test_a_message_that_asks_for_gradients_runs_as_it_is_written(
    graph: Graph, message: Callable[..., Any]
) -> None:
    assert_like_eager(graph, message, "mean", ROWS)
