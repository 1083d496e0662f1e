"""The way back of a plan: what to compute for the gradients of some of the core's inputs.

The gradient of message passing is message passing: at a destination a sum over the edges that enter it, at a
source over those that leave it, per edge one value. The gradient of what all edges share is made of sums over
all edges, the totals, by operations on tensors without rows, which come last.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import torch
from torch import Tensor, fx

from mpnn.aggregate.reductions import SUM
from mpnn.plan.adjoint import adjoint
from mpnn.plan.checker import check
from mpnn.plan.front import outputs_of, placeholders_of
from mpnn.plan.hoist import Evaluator, Hoisted, ancestors, hoist
from mpnn.plan.homes import Home, feature_shape, has_rows, is_late, lives_at, op_name, shape_of, total_of
from mpnn.plan.ir import Output, Over, Program, compute_type
from mpnn.plan.lower import Lowering, input_of
from mpnn.plan.plan import Plan
from mpnn.plan.residency import find_places
from mpnn.plan.rows import ROWS, NotFusableError, RowsMode
from mpnn.plan.trace import trace


class Target(NamedTuple):
    """What an output of a backward kernel is: one of the wanted gradients, or one of the totals."""

    place: int
    is_total: bool = False


@dataclass(frozen=True)
class Backward:
    """How the gradients of one set of core inputs are computed."""

    hoisted: Hoisted
    programs: tuple[Program, ...]
    targets: tuple[tuple[Target, ...], ...]  # per program and output
    after: Callable[[Sequence[Tensor], Sequence[Tensor]], list[Tensor]]  # from totals to shared gradients
    shared: tuple[int, ...]  # which gradients `after` gives
    wanted: tuple[bool, ...]
    reads: tuple[bool, ...]  # which of the core's inputs
    outside: tuple[bool, ...]  # and which of these not only in kernels, row by row


def make_backward(plan: Plan, wanted: tuple[bool, ...]) -> Backward:
    """The programs for the gradients of some of the kernel's inputs.

    Raises:
        NotFusableError: the gradient of this message has no kernel.
    """
    derivative = _derive(plan, wanted)
    sources = [_unturned(n) for total in derivative.totals for n in total.all_input_nodes]
    hoisted = hoist(
        derivative.module,
        [*derivative.with_rows.values(), *sources],
        derivative.early,
        scaling=False,
        again=derivative.compared,
    )
    programs, targets = _programs(plan.kernel_program, derivative, hoisted)
    core_inputs = placeholders_of(derivative.graph)[: len(plan.hoisted.inputs)]
    outside = {*derivative.early, *(n for node in hoisted.moved for n in node.all_input_nodes)}
    return Backward(
        hoisted,
        programs,
        targets,
        _after(derivative, hoisted),
        tuple(derivative.shared),
        wanted,
        tuple([bool(n.users) for n in core_inputs]),
        tuple([n in outside for n in core_inputs]),
    )


@dataclass(frozen=True)
class _Derivative:
    """The trace of all wanted gradients per edge, and what is what in it."""

    module: fx.GraphModule
    gradients: tuple[fx.Node | None, ...]  # one for each that is wanted; None where it is zero
    homes: tuple[Home, ...]  # of the inputs that these are the gradients at
    messages: tuple[fx.Node, ...]  # that are made again to be compared

    @property
    def graph(self) -> fx.Graph:
        """The operations."""
        return self.module.graph

    @cached_property
    def with_rows(self) -> dict[int, fx.Node]:
        """The gradients at an end of the edges, or at the edges, by their number."""
        pairs = enumerate(zip(self.gradients, self.homes, strict=True))
        return {k: g for k, (g, home) in pairs if g is not None and home is not Home.SHARED}

    @cached_property
    def shared(self) -> dict[int, fx.Node]:
        """The gradients at what all edges share."""
        pairs = enumerate(zip(self.gradients, self.homes, strict=True))
        return {k: g for k, (g, home) in pairs if g is not None and home is Home.SHARED}

    @cached_property
    def totals(self) -> list[fx.Node]:
        """The sums over all edges."""
        return [n for n in self.graph.nodes if n.op == "call_function" and total_of(n)]

    @cached_property
    def late(self) -> list[fx.Node]:
        """The operations that depend on totals."""
        return [n for n in self.graph.nodes if n.op == "call_function" and is_late(n)]

    @cached_property
    def early(self) -> list[fx.Node]:
        """The shared values, but for totals, that late operations read or that are gradients themselves."""
        read = [n for node in self.late for n in node.all_input_nodes] + [*self.shared.values()]
        return list(dict.fromkeys(n for n in read if not is_late(n) and not total_of(n)))

    @property
    def compared(self) -> set[fx.Node]:
        """The operations that make messages again and compare them: so a maximum finds its edges."""
        equal = [user for node in self.messages for user in node.users if op_name(user) == "eq"]
        return {node for node in ancestors([*self.messages, *equal]) if node.op == "call_function"}


def _derive(plan: Plan, wanted: tuple[bool, ...]) -> _Derivative:
    forward, inputs = plan.kernel_program, plan.hoisted.inputs
    shapes = [
        ((ROWS, *feature_shape(n)) if has_rows(n) else shape_of(n), n.meta["val"].dtype) for n in inputs
    ]
    at = [lives_at(n) for n in inputs]
    homes = [*at]
    for output in forward.outputs:
        read = output.forms_per_node(compute_type(forward.dtype))
        shapes += [((ROWS, *shape), dtype) for shape, dtype in read]
        homes += [Home.DST] * len(read)
    mode = RowsMode()
    device = plan.hoisted.outputs[0].meta["val"].device
    fakes = [mode.empty(shape, dtype, device) for shape, dtype in shapes]
    function = adjoint(lambda t: plan.per_edge(t, mode.rows), plan.reductions, wanted)
    module = trace(function, fakes, mode, message=False)
    check(module.graph, mode, "deriving")
    placed = {n.name: home for n, home in zip(placeholders_of(module.graph), homes, strict=True)}
    find_places(module.graph, placed, allow_totals=True)
    asked = [home for home, want in zip(at, wanted, strict=True) if want]
    results = outputs_of(module.graph)
    return _Derivative(module, tuple(results[: len(asked)]), tuple(asked), tuple(results[len(asked) :]))


def _programs(
    forward: Program, derivative: _Derivative, hoisted: Hoisted
) -> tuple[tuple[Program, ...], tuple[tuple[Target, ...], ...]]:
    """One program for each end of the edges that has gradients, and what its outputs are."""
    inputs, lowering = tuple(map(input_of, hoisted.inputs)), Lowering(hoisted.inputs)
    for given in inputs:
        if not given.dtype.is_floating_point and given.dtype != torch.bool:
            raise NotFusableError(f"a gradient that reads {given.dtype} has no kernel")
    by: dict[Home, list[tuple[Target, Output]]] = {Home.DST: [], Home.SRC: []}
    for k, gradient in derivative.with_rows.items():
        home = derivative.homes[k]
        over = Over.EDGE if home is Home.EDGE else Over.ROW
        output = Output(SUM, lowering(gradient), gradient.meta["val"].dtype, over=over)
        by[Home.SRC if home is Home.SRC else Home.DST].append((Target(k), output))
    side = Home.SRC if by[Home.SRC] and not by[Home.DST] else Home.DST
    for k, total in enumerate(derivative.totals):
        value = lowering.outer(total) if total_of(total) == "outer" else lowering.summed(total)
        output = Output(SUM, value, total.meta["val"].dtype, over=Over.ALL)
        by[side].append((Target(k, is_total=True), output))
    made = {end: pairs for end, pairs in by.items() if pairs}
    programs = [
        Program(inputs, tuple([output for _, output in pairs]), end, forward.dtype, forward.exact)
        for end, pairs in made.items()
    ]
    return tuple(programs), tuple([tuple([target for target, _ in pairs]) for pairs in made.values()])


def _after(
    derivative: _Derivative, hoisted: Hoisted
) -> Callable[[Sequence[Tensor], Sequence[Tensor]], list[Tensor]]:
    """What makes the shared gradients of the totals, and of the kernels' inputs."""
    gradients = [*derivative.shared.values()]
    evaluate = Evaluator([*derivative.totals, *derivative.early], {}, derivative.late, gradients)
    picked = [hoisted.inputs.index(n) for n in derivative.early]

    def after(totals: Sequence[Tensor], given: Sequence[Tensor]) -> list[Tensor]:
        return evaluate([*totals, *(given[k] for k in picked)], dict.fromkeys(Home, 1))

    return after


def _unturned(node: fx.Node) -> fx.Node:
    """The value with rows in front that a node is, or is the transposed of."""
    return node if has_rows(node) else node.all_input_nodes[0]
