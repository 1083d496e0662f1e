"""The formula above a kernel."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

import mpnn
from mpnn.backends.c.kernel import CKernel
from mpnn.backends.run.plans import find_plan
from mpnn.plan.formula import formula
from mpnn.plan.ir import Program
from mpnn.step.fields import Fields
from mpnn.step.parameters import Asked, parameters_of
from mpnn.step.step import Step


def program_of(message: object, aggr: str, **fields: Tensor) -> Program:
    graph = mpnn.Graph(torch.tensor([[0, 1], [1, 2]]))
    asked = parameters_of(message)  # type: ignore[arg-type]
    bound = Fields(graph, None, fields, Asked({"message": asked}))
    aggregator = mpnn.aggregate.AGGREGATORS[aggr]()
    step = Step(bound, message, bound.bind(asked), lambda m: m, aggregator)  # type: ignore[arg-type]
    program = find_plan(step, CKernel).plan.program
    assert isinstance(program, Program)
    return program


def test_a_formula_reads_like_the_message() -> None:
    program = program_of(
        lambda x_i, x_j, w: (x_i - x_j).relu() * w, "sum", x=torch.ones(3, 4), w=torch.ones(2, 1)
    )
    assert formula(program) == (
        "for the edges that enter a node:\n"
        "   in0 [4] at the destination\n"
        "   in1 [4] at the source\n"
        "   in2 [1] of the edge\n"
        "   out0 = sum of relu(in0 - in1) * in2"
    )


def test_a_value_that_is_read_twice_is_written_once() -> None:
    def message(q_i: Tensor, k_j: Tensor, att: Tensor) -> tuple[Tensor, Tensor]:
        return (F.leaky_relu(q_i + k_j, 0.2) * att).sum(-1), k_j

    x = torch.ones(3, 2, 4)
    lines = formula(program_of(message, "softmax", q=x, k=x, att=torch.ones(1, 2, 4))).splitlines()
    assert lines[-2:] == [
        "   t0 = in0 + in1",
        "   out0 = sum of softmax(sum(where(t0 > 0, t0, t0 * 0.2) * in2, [1])) * in1",
    ]


def test_the_formula_stands_above_the_kernel() -> None:
    program = program_of(lambda x_j: x_j[:, 1:3].tanh(), "max", x=torch.ones(3, 4))
    # The tangent of the source is computed once per node, so the kernel only reads it.
    assert "out0 = max of in0" in CKernel(program, save=False).source()
