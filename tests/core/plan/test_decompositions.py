"""Decompositions traced with a symbolic number of rows give PyTorch's results for any number."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.fx.experimental.proxy_tensor import make_fx
from torch.fx.experimental.symbolic_shapes import DimDynamic, ShapeEnv, StatelessSymbolicContext

from mpnn.plan.decompositions import but_for_composites, decompositions
from tests.compare import assert_close
from tests.core.graphs import random_graph
from tests.core.running import assert_like_eager


def _written(x: Tensor) -> Tensor:
    m = x * 2
    m[:, 0] = 0
    m[:, ::2] = 1.0
    m[:, 1:3].mul_(3)
    return m


SHARED = torch.arange(4.0).view(1, 4)
FUNCTIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "repeat of a shared row": lambda x: x + SHARED.repeat(x.size(0), 1),
    "repeat along features": lambda x: x.repeat(1, 3),
    "repeat along new features": lambda x: x.unsqueeze(1).repeat(1, 2, 1),
    "prod": lambda x: x.prod(-1),
    "roll": lambda x: x.roll(1, -1),
    "var": lambda x: x.var(-1),
    "std_mean": lambda x: torch.std_mean(x, -1)[0],
    "pad": lambda x: F.pad(x, (1, -1)),
    "elu": lambda x: F.elu(x),
    "softmax": lambda x: x.softmax(-1),
    "layer_norm": lambda x: F.layer_norm(x, (4,)),
    "group_norm": lambda x: F.group_norm(x, 2),
    "glu": lambda x: F.glu(x),
    "cross": lambda x: torch.linalg.cross(x[:, :3], x[:, 1:]),
    "in-place writes": _written,
}
ACROSS_ROWS: dict[str, Callable[[Tensor], Tensor]] = {
    "roll": lambda x: x.roll(1, 0),
    "select_scatter": lambda x: torch.select_scatter(x, x[1], 0, 0),
    "slice_scatter": lambda x: torch.slice_scatter(x, x[:2], 0, 0, 2),
    "prod": lambda x: x.prod(0),
}


def _traced(function: Callable[[Tensor], Tensor], whole: bool) -> torch.fx.GraphModule:
    mode = FakeTensorMode(shape_env=ShapeEnv(), allow_non_fake_inputs=True)
    some: StatelessSymbolicContext[..., Any] = StatelessSymbolicContext(
        [DimDynamic.DYNAMIC, DimDynamic.STATIC]
    )
    x = mode.from_tensor(torch.zeros(7, 4), symbolic_context=some)
    table = but_for_composites() if whole else decompositions()
    with mode:
        return make_fx(torch.func.functionalize(function, remove="mutations"), decomposition_table=table)(x)


@pytest.mark.parametrize("whole", [True, False], ids=["composites whole", "in kernels' operations"])
@pytest.mark.parametrize("name", FUNCTIONS)
def test_a_decomposition_serves_any_number_of_rows(name: str, whole: bool) -> None:
    module = _traced(FUNCTIONS[name], whole)
    for num_rows in (2, 11):
        x = torch.randn(num_rows, 4)
        assert_close(module(x), FUNCTIONS[name](x), 1e-6)


@pytest.mark.parametrize("name", ACROSS_ROWS)
def test_what_mixes_rows_is_left_whole_to_be_refused(name: str) -> None:
    module = _traced(ACROSS_ROWS[name], False)
    assert any(name in str(node.target) for node in module.graph.nodes)


@pytest.mark.parametrize("aggr", ["sum", "max"])
def test_a_shared_row_repeated_to_the_edges_is_one_row_for_each(aggr: str) -> None:
    graph, generator = random_graph(), torch.Generator().manual_seed(0)
    x, e, p = (torch.randn(n, 3, dtype=torch.float64, generator=generator) for n in (9, graph.num_edges, 1))
    assert_like_eager(graph, lambda e, p: e + p.repeat(e.size(0), 1), aggr, {"e": e, "p": p})
    assert_like_eager(
        graph, lambda x_j, p: torch.cat([x_j, p.repeat(x_j.size(0), 1)], -1), aggr, {"x": x, "p": p}
    )
