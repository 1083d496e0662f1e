"""How operations are put into loop nests."""

from __future__ import annotations

import pytest
import torch
from torch import nn

import mpnn
from mpnn.backends.run.record import recording
from mpnn.plan.nests import Nest, make_schedule


def nests_of(out: int) -> list[Nest]:
    """The nests of the backward kernels of a maximum of a network of two layers."""
    torch.manual_seed(0)
    layer = mpnn.models.EdgeConv(nn.Sequential(nn.Linear(16, 32), nn.ReLU(), nn.Linear(32, out)))
    graph, x = mpnn.Graph(torch.randint(9, (2, 30)), 9), torch.randn(9, 8, requires_grad=True)
    with recording() as ran:
        layer(x, graph)
    fused = ran[0].fused
    programs = fused.backward(ran[0].wanted).programs
    return [nest for program in programs for nest in make_schedule(program).nests]


# With 32 outputs the gradient of the matrix, an outer product, has the shape of the product before it.
@pytest.mark.parametrize("out", [16, 32])
def test_a_row_times_a_matrix_is_in_a_nest_by_itself(out: int) -> None:
    sums = [
        nest
        for nest in nests_of(out)
        for item in nest.items
        if item.kind == "reduce" and item.value is not None and item.value.detail == (0,)
    ]
    assert len(sums) == 4  # the message again, and the gradient at its hidden layer, at both ends
    for nest in sums:
        assert [item.kind for item in nest.items] == ["point", "reduce"]


def test_what_a_nest_reads_is_made_in_an_earlier_one_or_before_it() -> None:
    made: set[object] = set()
    nests = nests_of(32)
    everything = {item.value for nest in nests for item in nest.items}
    for nest in nests:
        for item in nest.items:
            computed = [read for read in item.reads if read in everything and read.op in ("point", "reduce")]
            assert made.issuperset(computed)
            made.add(item.value)
