"""Messages that write into tensors: right results and gradients, and the caller's tensors unchanged."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import mpnn
from mpnn import MessagePassing
from tests.compare import assert_close
from tests.core.graphs import random_graph
from tests.core.running import EAGER, KERNEL, assert_like_eager

C = 4


def a_column(x_i: Tensor, x_j: Tensor) -> Tensor:
    m = x_i * x_j
    m[:, 0] = 0
    return m


def some_columns_scaled(x_i: Tensor, x_j: Tensor) -> Tensor:
    m = x_i * x_j
    m[:, :2].mul_(3)
    return m


def every_other_column(x_i: Tensor, x_j: Tensor) -> Tensor:
    m = x_i * x_j
    m[..., -1] = x_j[..., 0]
    m[:, ::2] = 1.0
    return m


def where_a_mask_says(x_i: Tensor, x_j: Tensor) -> Tensor:
    m = x_i * x_j
    m[m > 0] = 0
    return m


def the_first_row_of_the_transpose(x_i: Tensor, x_j: Tensor) -> Tensor:
    m = x_i * x_j
    m.T[0] = 0
    return m


def masked_fill(x_i: Tensor, x_j: Tensor) -> Tensor:
    return torch.where(x_i > 0, x_i, x_j).masked_fill_(x_j < 0, 0.5)


def addmm(x_i: Tensor, x_j: Tensor) -> Tensor:
    m = x_i + x_j
    return m.addmm_(x_i, torch.eye(C, dtype=m.dtype) + 1)


def copy(x_i: Tensor, x_j: Tensor) -> Tensor:
    m = torch.empty_like(x_i)
    m.copy_(x_j)
    return m * x_i


def fill(x_i: Tensor, x_j: Tensor) -> Tensor:
    m = x_i * x_j
    m.fill_(2.0)
    return m * x_j


def zero(x_i: Tensor, x_j: Tensor) -> Tensor:
    m = x_i * x_j
    m[:, 1].zero_()
    return m


def index_fill(x_i: Tensor, x_j: Tensor) -> Tensor:
    return (x_i * x_j).index_fill_(1, torch.tensor([0, 2]), 0.0)


def scatter(x_i: Tensor, x_j: Tensor) -> Tensor:
    m = torch.zeros_like(x_i)
    return m.scatter_(1, torch.zeros(x_i.size(0), 1, dtype=torch.int64), x_j[:, :1])


def a_list_of_views(x_i: Tensor, x_j: Tensor) -> Tensor:
    m = x_i * x_j
    for k, part in enumerate([m[:, k] for k in range(C)]):
        part.mul_(k)
    return m


def a_view_of_a_view(x_i: Tensor, x_j: Tensor) -> Tensor:
    m = x_i.clone()
    halves = m.view(-1, 2, 2).transpose(1, 2)
    halves[:, 0].add_(x_j[:, :2])
    return m.view(-1, C) + halves.reshape(-1, C)


def what_reshape_returns(x_i: Tensor, x_j: Tensor) -> Tensor:
    m = x_i * x_j
    same = m.contiguous().reshape(-1, C).to(m.dtype)
    same[:, 0] = 5
    return m


def one_after_the_other(x_i: Tensor, x_j: Tensor) -> Tensor:
    m = x_i.clone()
    m += x_j
    m *= 2
    m -= x_i
    m /= 3
    return m


def halves_of_a_new_tensor(x_i: Tensor, x_j: Tensor) -> Tensor:
    m = x_i.new_zeros(x_i.size(0), 2 * C)
    m[:, :C] = x_j
    m[:, C:] = x_i
    return m


def parts_of_a_stack(x_i: Tensor, x_j: Tensor) -> Tensor:
    m = torch.stack([x_i, x_j], 1)
    m[:, 0] += m[:, 1]
    m[:, 1] *= 2
    return m.sum(1)


def an_argument(x_i: Tensor, x_j: Tensor) -> Tensor:
    x_j.relu_()
    x_i[:, 0] = 0
    return x_i * x_j


def an_argument_by_a_module(x_j: Tensor) -> Tensor:
    out: Tensor = nn.ReLU(inplace=True)(x_j)
    return out + x_j


def behind_the_gradients_back(x_i: Tensor, x_j: Tensor) -> Tensor:
    m = x_i * 1
    m.detach().mul_(2)
    return m * x_j


def by_data(x_i: Tensor, x_j: Tensor) -> Tensor:
    m = x_i * x_j
    m.data.mul_(2)
    return m


def cut_off(x_i: Tensor, x_j: Tensor) -> Tensor:
    m = x_i * x_j
    m.detach_()
    return m * x_j


def a_row(x_i: Tensor, x_j: Tensor) -> Tensor:
    m = x_i * x_j
    m[0] = 0
    return m


def a_diagonal(x_i: Tensor, x_j: Tensor) -> Tensor:
    m = (x_i * x_j).view(-1, 2, 2)
    m.diagonal(dim1=1, dim2=2).zero_()
    return m.view(-1, C)


def several_edges(x_i: Tensor, x_j: Tensor) -> Tensor:
    m = x_i * x_j
    return m.fill_diagonal_(0)


IN_KERNELS = [
    a_column, some_columns_scaled, every_other_column, where_a_mask_says, masked_fill, copy, fill, zero,
    a_list_of_views, what_reshape_returns, one_after_the_other, halves_of_a_new_tensor, parts_of_a_stack,
    an_argument, an_argument_by_a_module,
]  # fmt: skip
BY_EAGER = [
    the_first_row_of_the_transpose, index_fill, scatter, a_view_of_a_view, behind_the_gradients_back, by_data,
    cut_off, a_row, a_diagonal, several_edges,
]  # fmt: skip


def _name(value: Any) -> str:
    return getattr(value, "__name__", str(value))


@pytest.mark.parametrize("aggr", ["sum", "max"])
@pytest.mark.parametrize("message", [*IN_KERNELS, addmm, *BY_EAGER], ids=_name)
def test_a_message_that_writes_gives_eagers_numbers(message: Callable[..., Tensor], aggr: str) -> None:
    way = KERNEL if message in IN_KERNELS else EAGER if message in BY_EAGER else None
    generator = torch.Generator().manual_seed(1)
    x = torch.randn(9, C, dtype=torch.float64, generator=generator)
    assert_like_eager(random_graph(), message, aggr, {"x": x}, way=way)


@pytest.mark.parametrize("aggr", ["sum", "max"])
@pytest.mark.parametrize("kind", [nn.GRUCell, nn.LSTMCell, nn.RNNCell], ids=_name)
def test_a_recurrent_cell_in_a_message_gives_eagers_numbers(kind: type[nn.Module], aggr: str) -> None:
    torch.manual_seed(0)
    cell = kind(C, C).double()

    def message(x_i: Tensor, x_j: Tensor) -> Tensor:
        out = cell(x_i, (x_j, x_j) if kind is nn.LSTMCell else x_j)
        return out[0] if kind is nn.LSTMCell else out

    x = torch.randn(9, C, dtype=torch.float64)
    assert_like_eager(random_graph(), message, aggr, {"x": x}, way=None)
    assert_like_eager(random_graph(), message, aggr, {"x": x}, way=None, backend="auto")


def test_a_message_may_write_into_what_it_is_given_at_nodes_and_nothing_of_the_callers_changes() -> None:
    x = torch.randn(9, C)
    before = x.clone()
    for backend in ("auto", "eager"):
        with mpnn.backend(backend):
            mpnn.propagate(random_graph(), an_argument, "sum", x=x)
        assert torch.equal(x, before)


@pytest.mark.parametrize("backend", ["auto", "eager"])
def test_what_a_message_writes_into_values_of_edges_or_shared_ones_the_caller_finds_there(
    backend: str,
) -> None:
    graph = random_graph()
    e, p = torch.randn(graph.num_edges, 2), torch.randn(1, 2)
    doubled, raised = e * 2, p + 1

    def message(x_j: Tensor, e: Tensor, p: Tensor) -> Tensor:
        e.mul_(2)
        p.add_(1)
        return x_j * e + p

    with mpnn.backend(backend):
        mpnn.propagate(graph, message, "sum", x=torch.randn(9, 2), e=e, p=p)
    assert torch.equal(e, doubled)
    assert torch.equal(p, raised)


class Counting(MessagePassing):
    """Counts its messages in a buffer."""

    calls: Tensor

    def __init__(self) -> None:
        super().__init__(aggr="sum")
        self.register_buffer("calls", torch.zeros(1))

    def message(self, x_j: Tensor) -> Tensor:
        """x_j, and one more call."""
        self.calls.add_(1)
        return x_j * self.calls

    def forward(self, x: Tensor, graph: Any) -> Tensor:
        """Sums."""
        return self.propagate(graph, x=x)


def test_a_buffer_that_a_message_writes_into_counts_every_call() -> None:
    layer, x = Counting(), torch.randn(9, 2)
    found = [layer(x, random_graph()) for _ in range(3)]
    with mpnn.backend("eager"):
        once = mpnn.propagate(random_graph(), lambda x_j: x_j, "sum", x=x)
    for calls, out in enumerate(found, 1):
        assert_close(out, once * calls, 1e-5)
    assert layer.calls.item() == 3


def test_results_may_be_written_where_out_says() -> None:
    def message(x_i: Tensor, x_j: Tensor) -> Tensor:
        out = torch.empty_like(x_i)
        torch.mul(x_i, x_j, out=out)
        return out

    x = torch.randn(9, C, dtype=torch.float64)
    with mpnn.backend("eager"):
        wanted = mpnn.propagate(random_graph(), message, "max", x=x)
    assert_close(mpnn.propagate(random_graph(), message, "max", x=x), wanted)
    with pytest.raises(RuntimeError, match="out="):
        mpnn.propagate(random_graph(), message, "max", x=x.requires_grad_())


def test_dropout_in_place_drops_in_place() -> None:
    def message(x_j: Tensor) -> Tensor:
        m = x_j * 1
        F.dropout(m, 0.5, inplace=True)
        return m

    x = torch.ones(9, C)
    out = mpnn.propagate(random_graph(), message, "max", x=x)
    assert 0 < (out == 2).sum() < out.numel()
    assert not (out == 1).any()
