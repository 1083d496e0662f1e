"""The table of operations that keep rows apart says what PyTorch does when it computes one row by itself."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, fx

from mpnn.plan.decompositions import COMPOSITES
from mpnn.plan.front import placeholders_of
from mpnn.plan.homes import Home, is_turned, op_name
from mpnn.plan.operations import POINTWISE
from mpnn.plan.residency import find_places
from mpnn.plan.rows import NotFusableError, RowsMode
from mpnn.plan.rowwise import KEEPS_ROWS
from mpnn.plan.trace import trace
from tests.core.running import EAGER, assert_like_eager

aten = torch.ops.aten
generator = torch.Generator().manual_seed(3)
ROWS = 7


def _drawn(*shape: int) -> Tensor:
    return torch.randn(shape, generator=generator, dtype=torch.float64)


# Three with a row for each edge: features, heads, and positions in a table; five that all edges share.
EDGES = {"x": _drawn(ROWS, 4), "y": _drawn(ROWS, 2, 3), "t": torch.tensor([1, 0, 1, 1, 0, 0, 1])}
SHARED = {"p": _drawn(4, 1), "w": _drawn(4, 5), "m": _drawn(2, 3, 3), "b": _drawn(5), "g": _drawn(2, 4)}
Function = Callable[..., Any]

APART: dict[str, Function] = {
    "a sum of two": lambda x, y, t, p, w, m, b, g: x * 2 + x.exp(),
    "a shared row is added": lambda x, y, t, p, w, m, b, g: x + g[0],
    "a view of heads": lambda x, y, t, p, w, m, b, g: y.reshape(-1, 6),
    "rows merged with heads and back": lambda x, y, t, p, w, m, b, g: (y.reshape(-1, 3) * 2).view(-1, 6),
    "squeezed": lambda x, y, t, p, w, m, b, g: x[:, :1].squeeze(1),
    "expanded": lambda x, y, t, p, w, m, b, g: x.unsqueeze(1).expand(-1, 3, -1),
    "heads and channels exchanged": lambda x, y, t, p, w, m, b, g: y.transpose(1, 2),
    "heads and channels permuted": lambda x, y, t, p, w, m, b, g: y.permute(0, 2, 1),
    "one head": lambda x, y, t, p, w, m, b, g: y.select(1, 0),
    "the last channels": lambda x, y, t, p, w, m, b, g: x[:, 2:],
    "a sum over heads": lambda x, y, t, p, w, m, b, g: y.sum(1),
    "a norm of channels": lambda x, y, t, p, w, m, b, g: y.norm(dim=-1),
    "a softmax over channels": lambda x, y, t, p, w, m, b, g: y.softmax(-1),
    "joined": lambda x, y, t, p, w, m, b, g: torch.cat([x, y[:, 0]], 1),
    "split": lambda x, y, t, p, w, m, b, g: torch.split(x, [1, 3], 1)[1],
    "split evenly": lambda x, y, t, p, w, m, b, g: torch.split(x, 2, 1)[1],
    "flipped channels": lambda x, y, t, p, w, m, b, g: x.flip(1),
    "a gradient of some channels": lambda x, y, t, p, w, m, b, g: aten.slice_backward(
        x, [x.size(0), 9], 1, 2, 6, 1
    ),
    "a gradient of one head": lambda x, y, t, p, w, m, b, g: aten.select_backward(x, [x.size(0), 3, 4], 1, 2),
    "a linear map": lambda x, y, t, p, w, m, b, g: torch.addmm(b, x, w),
    "a linear map without a bias": lambda x, y, t, p, w, m, b, g: x @ w,
    "a product of matrices": lambda x, y, t, p, w, m, b, g: torch.bmm(y, y.transpose(1, 2)),
    "a matrix for each head": lambda x, y, t, p, w, m, b, g: (
        torch.bmm(y.transpose(0, 1), m).relu().transpose(0, 1)
    ),
    "sorted channels": lambda x, y, t, p, w, m, b, g: x.sort(1)[0],
    "the largest channel": lambda x, y, t, p, w, m, b, g: x.max(1)[0],
    "a running sum of channels": lambda x, y, t, p, w, m, b, g: x.cumsum(-1),
    "the two largest": lambda x, y, t, p, w, m, b, g: x.topk(2)[0],
    "the second smallest": lambda x, y, t, p, w, m, b, g: x.kthvalue(2)[0],
    "a row of a table": lambda x, y, t, p, w, m, b, g: g[t],
    "a row of a table, selected": lambda x, y, t, p, w, m, b, g: g.index_select(0, t),
    "a row of an embedding": lambda x, y, t, p, w, m, b, g: torch.nn.functional.embedding(t, g),
}
MIXED: dict[str, Function] = {
    "a mean over edges": lambda x, y, t, p, w, m, b, g: x - x.mean(0),
    "a softmax over edges": lambda x, y, t, p, w, m, b, g: x.softmax(0),
    "edges in the order of their features": lambda x, y, t, p, w, m, b, g: x.sort(0)[0],
    "a running sum over edges": lambda x, y, t, p, w, m, b, g: x.cumsum(0),
    "the edges in reverse": lambda x, y, t, p, w, m, b, g: x.flip(0),
    "the first edge for all": lambda x, y, t, p, w, m, b, g: x + x[0],
    "a product of edges with edges": lambda x, y, t, p, w, m, b, g: (x.t() @ x)[:1] + x,
    "features of another edge": lambda x, y, t, p, w, m, b, g: x[t],
    "another edge, selected": lambda x, y, t, p, w, m, b, g: x.index_select(0, t),
    "edges behind features, reduced": lambda x, y, t, p, w, m, b, g: x * (x[:, 0] * p).amax(1),
    "edges behind heads, reduced": lambda x, y, t, p, w, m, b, g: y + y.transpose(0, 1).amax(1)[0],
    "edges behind heads, pooled": lambda x, y, t, p, w, m, b, g: y.transpose(0, 1).softmax(1).transpose(0, 1),
}


def _traced(function: Function) -> fx.Graph:
    mode = RowsMode()
    inputs = [
        mode.like(tensor, rows) for each, rows in ((EDGES, True), (SHARED, False)) for tensor in each.values()
    ]
    graph = trace(lambda *given: [function(*given)], inputs, mode, composites=True).graph
    homes = [Home.EDGE] * len(EDGES) + [Home.SHARED] * len(SHARED)
    find_places(graph, {n.name: home for n, home in zip(placeholders_of(graph), homes, strict=True)})
    return graph


def _differs_by_row(function: Function) -> bool:
    """Whether PyTorch gives another row, or an error, if it computes one edge by itself."""
    together = function(*EDGES.values(), *SHARED.values())
    for k in range(ROWS):
        try:
            alone = function(*[t[k : k + 1] for t in EDGES.values()], *SHARED.values())
        except IndexError:  # an index meant another edge
            return True
        if alone.shape[1:] != together.shape[1:] or not torch.allclose(alone[0], together[k], atol=1e-12):
            return True
    return False


@pytest.mark.parametrize("name", APART)
def test_what_the_table_takes_pytorch_computes_row_by_row(name: str) -> None:
    _traced(APART[name])
    assert not _differs_by_row(APART[name])


@pytest.mark.parametrize("name", MIXED)
def test_what_mixes_edges_is_refused(name: str) -> None:
    with pytest.raises(NotFusableError, match="mixes the messages of different edges"):
        _traced(MIXED[name])


@pytest.mark.parametrize("name", MIXED)
def test_what_is_refused_differs_if_pytorch_computes_one_edge_by_itself(name: str) -> None:
    assert _differs_by_row(MIXED[name])


def test_every_line_of_the_table_has_an_example() -> None:
    seen = {op_name(n) for f in APART.values() for n in _traced(f).nodes if n.op == "call_function"}
    shown = {KEEPS_ROWS[name] for name in seen}
    missing = [name for name, predicate in KEEPS_ROWS.items() if predicate not in shown]
    assert missing == ["transpose"]  # PyTorch's tracer writes a permutation for it


def test_functions_of_single_numbers_and_those_with_a_derivative_of_their_own_are_in_the_table() -> None:
    assert KEEPS_ROWS.keys() >= POINTWISE | COMPOSITES


def test_rows_are_turned_between_two_transpositions_alone() -> None:
    nodes = [n for n in _traced(APART["a matrix for each head"]).nodes if n.op == "call_function"]
    assert [op_name(n) for n in nodes] == ["permute", "bmm", "relu", "permute"]
    assert [is_turned(n) for n in nodes] == [True, True, True, False]


def test_a_message_that_puts_a_shared_column_beside_a_feature_of_all_edges_is_right() -> None:
    graph = torch.tensor([[0, 1, 2, 3, 3, 1], [1, 1, 0, 0, 2, 2]])
    fields = {"x": _drawn(4, 4), "p": _drawn(4, 1)}
    assert_like_eager(graph, lambda x_j, p: x_j * (x_j[:, 0] * p).amax(1), "sum", fields, way=EAGER)
