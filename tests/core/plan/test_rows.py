"""The number of edges is a kind of dimension: what a message does with it is right on every graph."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import mpnn
from mpnn import Graph
from mpnn.plan.rows import ROWS, NotFusableError, Rows, RowsMode, mentions_rows, replaced
from mpnn.plan.trace import trace
from tests.core.running import EAGER, KERNEL, assert_like_eager

C = 4
Message = Callable[..., Any]


def _graph(num_edges: int) -> Graph:
    generator = torch.Generator().manual_seed(num_edges)
    return Graph(torch.randint(0, 6, (2, num_edges), generator=generator), num_nodes=6)


def _fields(num_edges: int) -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(1)
    shapes = {"x": (6, C), "e": (num_edges, C), "p": (1, C)}
    return {k: torch.randn(s, generator=generator, dtype=torch.float64) for k, s in shapes.items()}


NUMBERS: dict[str, Message] = {
    "divided by it": lambda x_j: x_j / x_j.size(0),
    "divided by the length": lambda x_j: x_j * (1 / len(x_j)),
    "divided by the shape": lambda x_j: x_j / x_j.shape[0],
    "times the number of entries": lambda x_j: x_j * x_j.numel(),
    "times its logarithm": lambda x_j: x_j * math.log(x_j.size(0)),
    "twice it": lambda x_j: x_j / (2 * x_j.size(0)),
    "ones divided by it": lambda x_j: x_j * (torch.ones_like(x_j) / x_j.size(0)),
    "numbered edges": lambda x_j: x_j * torch.arange(x_j.size(0)).view(-1, 1),
    "a branch that many take": lambda x_j: 5 * x_j if x_j.size(0) > 100 else x_j,
    "a branch that few take": lambda x_j: 5 * x_j if x_j.size(0) < 20 else x_j,
    "a branch for one edge": lambda x_j: 5 * x_j if x_j.size(0) == 1 else x_j,
    "a branch for no edges": lambda x_j: 5 * x_j if len(x_j) == 0 else x_j,
    "as many features": lambda x_j: x_j.new_ones(x_j.size(0), x_j.size(0)) @ x_j,
}
SMALL = ("a branch for one edge",)  # where no plan runs
LITERALS: dict[str, Message] = {
    "a factor": lambda x_j: x_j * 10007,
    "a remainder": lambda x_j: x_j % 10007,
    "a bound": lambda x_j: x_j.clamp(max=20014),
    "a divisor": lambda x_j: x_j / 30021,
    "a large factor": lambda x_j: x_j * (1 << 20),
}
SIZES: dict[str, Message] = {
    "expanded to as many rows": lambda x_j, p: torch.cat([x_j, p.expand(x_j.size(0), -1)], -1),
    "expanded like the source": lambda x_i, x_j, p: torch.where(
        x_i > p.expand_as(x_i), x_j, p.expand_as(x_i) * 0.5
    ),
    "a norm of what is expanded": lambda x_j, p: (
        x_j * p.expand_as(x_j) * (p.expand_as(x_j) * p.expand_as(x_j)).sum(-1, keepdim=True).rsqrt()
    ),
    "read twice": lambda x_j, e, p: x_j * p.expand(x_j.size(0), -1) + p.expand(x_j.size(0), -1) * 0.5 * e,
    "repeated": lambda e, p: e + p.repeat(e.size(0), 1),
    "nothing but what is expanded": lambda x_j, p: p.expand_as(x_j).exp(),
    "heads by size": lambda x_j: x_j.view(x_j.size(0), 2, 2).sum(1),
    "rows and heads merged": lambda x_j, p: (x_j.reshape(-1, 2) * p[:, :2]).view(x_j.size(0), -1),
    "made with as many rows": lambda x_j: torch.cat([x_j.new_ones(x_j.shape[0], 2), x_j], 1),
    "all rows of a slice": lambda x_j: x_j[: x_j.size(0), 1:],
    "a cosine": lambda x_i, x_j: F.cosine_similarity(x_i, x_j, dim=-1).unsqueeze(-1),
}
CELL = nn.GRUCell(C, C).double(), nn.LSTMCell(C, C).double(), nn.RNNCell(C, C).double()
CELLS: dict[str, Message] = {
    "a gated cell": lambda x_i, x_j: CELL[0](x_i, x_j),
    "a cell with memory": lambda x_i, x_j: torch.cat(CELL[1](x_i, (x_j, x_i)), -1),
    "a plain cell": lambda x_i, x_j: CELL[2](x_i, x_j),
}


def _given(message: Message, num_edges: int) -> dict[str, Tensor]:
    names = {name.removesuffix("_i").removesuffix("_j") for name in message.__code__.co_varnames}
    return {name: value for name, value in _fields(num_edges).items() if name in names}


@pytest.mark.parametrize("aggr", ["sum", "max"])
@pytest.mark.parametrize("num_edges", [0, 1, 2, 12, 150])
@pytest.mark.parametrize("name", NUMBERS)
def test_a_message_that_computes_with_the_number_of_edges_is_right(
    name: str, num_edges: int, aggr: str
) -> None:
    if num_edges == 0 and name in ("divided by the length", "times its logarithm"):
        with pytest.raises((ZeroDivisionError, ValueError), match=r"division by zero|math domain"):
            mpnn.propagate(_graph(0), NUMBERS[name], aggr, x=_fields(0)["x"])
        return
    message = NUMBERS[name]
    way = KERNEL if name in SMALL and num_edges > 1 else EAGER
    assert_like_eager(_graph(num_edges), message, aggr, _given(message, num_edges), way=way)


@pytest.mark.parametrize("name", LITERALS)
def test_no_number_stands_for_the_number_of_edges(name: str) -> None:
    for num_edges in (12, 150):
        assert_like_eager(
            _graph(num_edges), LITERALS[name], "sum", _given(LITERALS[name], num_edges), atol=1e-8
        )


def test_a_shared_tensor_may_be_repeated_in_any_way() -> None:
    def message(x_j: Tensor, p: Tensor) -> Tensor:
        return x_j + p.repeat_interleave(x_j.size(0), 0)

    assert_like_eager(_graph(12), message, "sum", _given(message, 12), way=EAGER)


def test_features_may_be_as_wide_as_any_number() -> None:
    x = torch.randn(6, 10007, dtype=torch.float64)
    assert_like_eager(_graph(12), lambda x_i, x_j: (x_i - x_j).relu(), "sum", {"x": x})


@pytest.mark.parametrize("num_edges", [2, 3, 12, 150])
@pytest.mark.parametrize("name", [*SIZES, *CELLS])
def test_a_message_that_asks_for_sizes_as_sizes_runs_as_a_kernel(name: str, num_edges: int) -> None:
    message = (SIZES | CELLS)[name]
    assert_like_eager(_graph(num_edges), message, "sum", _given(message, num_edges), way=KERNEL)


def test_a_shared_tensor_with_as_many_rows_as_edges_is_read_as_eager_reads_it() -> None:
    square = torch.randn(C, C, dtype=torch.float64)
    x = torch.randn(6, C, dtype=torch.float64)
    assert_like_eager(_graph(C), lambda x_j, w: x_j @ w, "sum", {"x": x, "w": square}, way=None)
    assert_like_eager(_graph(C), lambda x_j, w: x_j * w, "sum", {"x": x, "w": square[0].clone()}, way=None)


@pytest.mark.parametrize("name", [*NUMBERS, *SIZES])
def test_a_compiled_function_is_right(name: str) -> None:
    message = (NUMBERS | SIZES)[name]
    for num_edges in (12, 30):
        fields, graph = _given(message, num_edges), _graph(num_edges)
        call = lambda edge_index, **fields: mpnn.propagate(edge_index, message, "sum", **fields)  # noqa: E731
        torch._dynamo.reset()
        compiled = torch.compile(call, backend="aot_eager")
        with mpnn.backend("eager"):
            theirs = call(graph.edge_index, **fields)
        assert torch.allclose(compiled(graph.edge_index, **fields), theirs, atol=1e-10)


# The representation ---------------------------------------------------------------------------------------


def test_rows_are_no_number() -> None:
    assert Rows(2) != 2  # type: ignore[comparison-overlap]
    assert not isinstance(ROWS, int)
    assert replaced([ROWS, (Rows(3), -1), {"size": [Rows(2)]}], 5) == [5, (15, -1), {"size": [10]}]
    assert mentions_rows([1, (2, [Rows(2)])])
    assert not mentions_rows([1, (2, [3])])


def test_a_trace_says_which_sizes_are_rows() -> None:
    mode = RowsMode()
    x = mode.like(torch.empty(1, 2, 3), has_rows=True)
    module = trace(lambda x: [x.reshape(2 * x.size(0), 3)], [x], mode)
    (view,) = module.graph.find_nodes(op="call_function", target=torch.ops.aten.view.default)
    assert view.args[1] == [Rows(2), 3]


def test_what_holds_for_some_numbers_of_rows_only_is_refused() -> None:
    mode = RowsMode()
    x = mode.like(torch.empty(1, 3), has_rows=True)
    with pytest.raises(NotFusableError, match="depends on how many edges E there are"):
        trace(lambda x: [x if x.size(0) > 7 else -x], [x], mode)
