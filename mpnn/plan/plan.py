"""A plan: what to compute per node in PyTorch, and what to compute per edge in a kernel, both ways."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, reduce
from typing import Any, cast

import torch
import torch.nn.functional as F
from torch import Tensor, fx, nn

from mpnn.aggregate.aggregators import Aggregator
from mpnn.aggregate.reduce import pick_rows
from mpnn.aggregate.reduction import Reduction, applied
from mpnn.aggregate.reductions import SOFTMAX
from mpnn.graph.graph import Graph
from mpnn.plan.capture import Path
from mpnn.plan.checker import check
from mpnn.plan.decompositions import COMPOSITES
from mpnn.plan.dropout import Seed, seeded
from mpnn.plan.front import (
    MAPPED,
    Captured,
    Placed,
    outputs_of,
    placeholders_of,
    read_function,
    reductions_of,
)
from mpnn.plan.hoist import Evaluator, Hoisted, hoist, split_linear_maps
from mpnn.plan.homes import Home, has_rows, lives_at, op_name, row_size, shape_of
from mpnn.plan.ir import Output, Program
from mpnn.plan.lower import Lowering, input_of
from mpnn.plan.numbers import type_beside, with_numbers
from mpnn.plan.residency import find_places
from mpnn.plan.rounding import refuse_rounding
from mpnn.plan.row_softmax import traceable, weighted
from mpnn.plan.rows import NotFusableError, Refused, RowsMode
from mpnn.plan.stems import Inputs, Stems, as_inputs, before_maps
from mpnn.plan.trace import trace


@dataclass(frozen=True)
class Plan:
    """The traced form of `aggregate(message(...))` for one class of shapes."""

    captured: Captured
    numbers: tuple[Path, ...]  # that are arguments, too
    number_type: torch.dtype | None
    hoisted: Hoisted
    inputs: Stems  # the core's
    stems: Stems | None  # what these are linear maps of, if some of them are
    reductions: tuple[Reduction, ...]
    program: Program | Refused  # the kernel's; where there is none, the core runs in PyTorch
    shares: tuple[int, ...]  # the aggregator's k-th reduction is the program's shares[k]-th
    shapes: tuple[tuple[int, ...] | None, ...]  # of a row of each, where the aggregator takes it in another
    core: Evaluator
    drops: bool  # whether there is dropout in the message
    names: tuple[str, ...]  # of the message's arguments that are tensors, which the trace has first

    def values(
        self,
        inputs: Sequence[Tensor],
        message: Callable[..., Any],
        aggregator: nn.Module,
        size: tuple[int, int],
    ) -> list[Tensor]:
        """What the kernel reads: the arguments, or what is computed from them once per node."""
        return self.given(self.inputs, inputs, message, aggregator, size)

    def given(
        self,
        stems: Stems,
        inputs: Sequence[Tensor],
        message: Callable[..., Any],
        aggregator: nn.Module,
        size: tuple[int, int],
    ) -> list[Tensor]:
        """The tensors of `stems`, of which the core's inputs are made."""
        captured = self.captured.fetch(message, aggregator)
        return stems([*inputs, *captured], {Home.SRC: size[0], Home.DST: size[1], Home.SHARED: 1})

    def is_merged(self, aggregator: Aggregator) -> bool:
        """Whether the reduction is the whole aggregate, as a mean's is: its kernel divides by the counts."""
        return self.reductions == (aggregator.in_one,) or type(aggregator).merge is Aggregator.merge

    @cached_property
    def are_as_reduced(self) -> bool:
        """Whether the aggregator's reductions are the program's, in order and in their shapes."""
        in_order = self.shares == tuple(range(len(self.reductions)))
        return in_order and all(shape is None for shape in self.shapes)

    @cached_property
    def places(self) -> tuple[int, ...]:
        """For each reduction of the aggregator, its position among the distinct forms of the program's."""
        forms = list(zip(self.shares, self.shapes, strict=True))
        distinct = list(dict.fromkeys(forms))
        return tuple([distinct.index(form) for form in forms])

    def distinct_examples(self) -> list[Tensor]:
        """A tensor of one row for each distinct form of the program's reductions.

        Raises:
            NotFusableError: there is no kernel, which alone knows the forms.
        """
        outputs, device = self.kernel_program.outputs, self.hoisted.outputs[0].meta["val"].device
        forms = dict.fromkeys(zip(self.shares, self.shapes, strict=True))
        rows = [(1, *(outputs[k].value.shape if shape is None else shape)) for k, shape in forms]
        types = [outputs[k].dtype for k, _ in forms]
        return [torch.empty(row, dtype=kind, device=device) for row, kind in zip(rows, types, strict=True)]

    @property
    def kernel_program(self) -> Program:
        """The kernel's program.

        Raises:
            NotFusableError: there is none.
        """
        if isinstance(self.program, Refused):
            raise NotFusableError(self.program.reason)
        return self.program

    @cached_property
    def homes(self) -> list[Home]:
        """Where the rows of each of the core's inputs live."""
        return [lives_at(node) for node in self.hoisted.inputs]

    @cached_property
    def positions(self) -> list[int]:
        """Where each reduction stands among a kernel's outputs; some are followed by what they save."""
        positions, at = [], 0
        for reduction in self.reductions:
            positions.append(at)
            at += 1 + reduction.saves
        return positions

    @cached_property
    def needed_again(self) -> list[int]:
        """Which of a kernel's outputs the backward pass reads."""
        pairs = zip(self.reductions, self.positions, strict=True)
        return [k for one, at in pairs if one.saves for k in range(at, at + 1 + one.saves)]

    @cached_property
    def width(self) -> int:
        """How many numbers an edge has in the widest tensor of the core, if there were one row per edge."""
        lifted = [n for n in self.hoisted.inputs if lives_at(n) is not Home.SHARED]
        given = sum(map(row_size, lifted))
        tensors = [n for n in self.core.computed if isinstance(n.meta.get("val"), Tensor) and has_rows(n)]
        return max([given, *map(row_size, tensors)])

    def per_edge(self, inputs: Sequence[Tensor], num_edges: int) -> list[Tensor]:
        """The reduced values as plain tensors with one row per edge, from inputs lifted to the edges."""
        given = [
            t.flatten(0, 1) if merged else t for t, (merged, _) in zip(inputs, self.inputs.forms, strict=True)
        ]
        return self.core(given, dict.fromkeys(Home, num_edges))

    def differentiable_gradients(
        self,
        graph: Graph,
        seed: Seed,
        tensors: Sequence[Tensor],
        inputs: Inputs | None,
        gradients: Sequence[Tensor | None],
        wanted: Sequence[bool],
    ) -> list[Tensor | None]:
        """Gradients in PyTorch's operations alone: the same program on one tensor row per edge.

        They are those of the tensors that the core's inputs are made of, and can be differentiated again if
        gradients are enabled.
        """
        again = torch.is_grad_enabled()
        index = {Home.SRC: graph.src, Home.DST: graph.dst}
        with torch.enable_grad(), seeded(seed):
            # One tensor may be the field of both ends of an edge: a view for each gets a gradient for each.
            tensors = [t.view_as(t) for t in tensors]
            values = tensors if inputs is None else inputs(tensors)
            lifted = [
                pick_rows(v, 0, index[home]) if home in index else v
                for v, home in zip(values, self.homes, strict=True)
            ]
            outputs = self.reduce(self.per_edge(lifted, graph.num_edges), graph.dst, graph.num_dst)
            pairs = [
                (o, g) for o, g in zip(outputs, gradients, strict=True) if g is not None and o.requires_grad
            ]
            asked = [t for t, want in zip(tensors, wanted, strict=True) if want]
            found = torch.autograd.grad(
                [o for o, _ in pairs], asked, [g for _, g in pairs], create_graph=again, allow_unused=True
            )
        each = iter(found)
        return [next(each) if want else None for want in wanted]

    def shared(self, reduced: Sequence[Tensor]) -> list[Tensor]:
        """The aggregator's reductions, from the program's."""
        if self.are_as_reduced:
            return [*reduced]
        pairs = zip(self.shares, self.shapes, strict=True)
        return [
            reduced[k] if shape is None else reduced[k].reshape(reduced[k].size(0), *shape)
            for k, shape in pairs
        ]

    def reduce(self, values: Sequence[Tensor], index: Tensor, num_rows: int) -> list[Tensor]:
        """The plan's reductions of per-edge values in plain PyTorch."""
        return [one.reduce(index, num_rows, 0) for one in applied(self.reductions, values)]


def make_plan(
    message: Callable[..., Any],
    aggregator: Aggregator,
    names: Sequence[str],
    examples: Sequence[Placed],
    fixed: dict[str, Any],
    autocast: torch.dtype | None = None,
    mapped: Mapping[str, tuple[int, ...]] | None = None,
    numbers: Sequence[Path] = (),
    differentiated: bool = True,
) -> Plan:
    """Trace a message and its aggregator.

    Args:
        message: the user's function.
        aggregator: what reduces the messages.
        names: the parameters of `message` that get tensors.
        examples: for each of these a tensor, and where its rows live.
        fixed: the arguments that are no tensors.
        mapped: the parameters of `message` that get a linear map x Wᵀ + b of tensors, and the shape of its
            rows; `names` has in its place the names of x, W and b, if there is one.
        autocast: the type of the `torch.autocast` that the message is called in, which itself is off here.
        numbers: which of the numbers that the message or the aggregator reaches are arguments of the plan.
        differentiated: whether gradients may be asked for. If not, PyTorch may compute more before the
            kernel, and numbers are float64, as Python's: beside other tensors they have the type of those.

    Raises:
        NotFusableError: with the reason in words.
    """
    found: list[Reduction] = []
    arguments = names

    number_type = type_beside([t for _, t in examples]) if numbers else None
    if numbers and not differentiated:
        number_type = torch.float64
    if numbers and number_type is None:
        raise NotFusableError("a number that changes stands beside whole numbers")
    like = [t for _, t in examples[:1] if numbers]
    scalars = [(Home.SHARED, torch.empty((), dtype=number_type, device=t.device)) for t in like]

    def reduced(*tensors: Tensor) -> list[Tensor]:
        found.clear()
        values: list[Tensor] = []
        arguments = _arguments(names, tensors[: len(names)], mapped or {})
        given = dict(zip(numbers, tensors[len(names) :], strict=True))
        said, split = (message, aggregator) if not given else with_numbers(message, aggregator, given)
        others = fixed | {name: t for (root, name), t in given.items() if root == "argument"}
        messages = traceable(said, arguments)(**dict(arguments), **others)
        for one in reductions_of(cast(Aggregator, split), messages):
            found.append(one.reduction)
            values += one.tensors
        return values

    placed = [*examples, *scalars * len(numbers)]
    traced = read_function(reduced, placed, message, aggregator, autocast)
    with traced.mode:
        found, shapes = _weigh(traced.graph, found)
        check(traced.graph, traced.mode, "finding a softmax over edges")
        split_linear_maps(traced.graph, traced.placed)
        check(traced.graph, traced.mode, "splitting linear maps", homes=True)
    traced.require_rows()
    outputs, module = traced.outputs, traced.module
    hoisted = hoist(module, outputs, differentiated=differentiated)
    reductions, shares = _distinct(found, outputs)
    core_outputs = [n for _, value, score in reductions for n in (value, score) if n is not None]
    core = Evaluator(hoisted.inputs, {}, hoisted.core, core_outputs)
    program: Program | Refused
    try:
        if autocast is None:  # whose casts are to save time
            refuse_rounding(placeholders_of(module.graph), hoisted.core)
        simple, of = _decomposed(hoisted, core)
        simply = [(one, of[value], None if score is None else of[score]) for one, value, score in reductions]
        program = _program(simple, simply, differentiated)
    except NotFusableError as error:
        program = Refused(str(error))
    drops = any(op_name(n) == "kept" for n in hoisted.core)
    stems = before_maps(module, hoisted)
    return Plan(
        traced.captured,
        tuple(numbers),
        number_type,
        hoisted,
        as_inputs(hoisted),
        stems,
        tuple([reduction for reduction, *_ in reductions]),
        program,
        tuple(shares),
        tuple(shapes),
        core,
        drops,
        tuple(arguments),
    )


def _arguments(
    names: Sequence[str], tensors: Sequence[Tensor], mapped: Mapping[str, tuple[int, ...]]
) -> list[tuple[str, Tensor]]:
    """What the parameters of a message get."""
    given = dict(zip(names, tensors, strict=True))
    for name, shape in mapped.items():
        x, weight, bias = [given.pop(f"{name}.{part}", None) for part in MAPPED]
        assert x is not None
        assert weight is not None
        given[name] = F.linear(x, weight, bias).view(-1, *shape)
    return list(given.items())


def _weigh(
    graph: fx.Graph, reductions: Sequence[Reduction]
) -> tuple[list[Reduction], list[tuple[int, ...] | None]]:
    """Turn sums of products with a softmax over edges into softmax-weighted sums; with their rows' shapes."""
    outputs = iter(outputs_of(graph))
    found: list[Reduction] = []
    shapes: list[tuple[int, ...] | None] = []
    results: list[fx.Node] = []
    for reduction in reductions:
        values = [next(outputs) for _ in range(reduction.arity)]
        product = weighted(graph, values[0])
        shape = None
        if product is not None:
            if not reduction.linear:
                raise NotFusableError(f"a softmax over edges is followed by {reduction.name!r}, not by a sum")
            reduction, shape, values = SOFTMAX, shape_of(values[0])[1:], [*product]
        shapes.append(shape)
        found.append(reduction)
        results += values
    (output,) = (n for n in graph.nodes if n.op == "output")
    output.args = (results,)
    graph.eliminate_dead_code()
    return found, shapes


_Reduced = tuple[Reduction, fx.Node, fx.Node | None]  # of a value and its score


def _distinct(
    reductions: Sequence[Reduction], outputs: Sequence[fx.Node]
) -> tuple[list[_Reduced], list[int]]:
    """The reductions without repeats, and which of them each of the aggregator's is."""
    nodes = iter(outputs)
    all_of_them = [(one, next(nodes), next(nodes) if one.arity == 2 else None) for one in reductions]
    distinct = list(dict.fromkeys(all_of_them))
    return distinct, [distinct.index(reduction) for reduction in all_of_them]


def _decomposed(hoisted: Hoisted, core: Evaluator) -> tuple[Hoisted, dict[fx.Node, fx.Node]]:
    """The same core in the operations of kernels, and its node for each of the core's results."""
    if not any(op_name(n) in COMPOSITES for n in hoisted.core):
        return hoisted, dict(zip(core.results, core.results, strict=True))
    mode = RowsMode()
    values = [(shape_of(n), cast(Tensor, n.meta["val"])) for n in hoisted.inputs]
    fakes = [mode.empty(shape, value.dtype, value.device) for shape, value in values]
    module = trace(lambda *t: core(t, dict.fromkeys(Home, mode.rows)), fakes, mode, message=False)
    inputs = placeholders_of(module.graph)
    homes = {n.name: lives_at(given) for n, given in zip(inputs, hoisted.inputs, strict=True)}
    find_places(module.graph, homes)
    outputs = outputs_of(module.graph)
    operations = [n for n in module.graph.nodes if n.op == "call_function"]
    simple = Hoisted(hoisted.before, inputs, operations, outputs, hoisted.moved)
    return simple, dict(zip(core.results, outputs, strict=True))


def _program(hoisted: Hoisted, reductions: Sequence[_Reduced], differentiated: bool) -> Program:
    lowering = Lowering(hoisted.inputs)
    outputs = []
    for reduction, value, score in reductions:
        if not reduction.identity:
            raise NotFusableError(f"the reduction {reduction.name!r} has no law that a kernel can follow")
        stored = value.meta["val"].dtype
        if score is not None:
            stored = torch.promote_types(stored, score.meta["val"].dtype)
        outputs.append(Output(reduction, lowering(value), stored, None if score is None else lowering(score)))
    program_type = _dtype(hoisted, differentiated)
    best = [output for output in outputs if output.reduction.rounds]
    if any(output.dtype != program_type for output in best):
        raise NotFusableError(f"a {best[0].reduction.name} in {best[0].dtype} is mixed with {program_type}")
    exact = any(output.reduction.exact for output in outputs)
    inputs = tuple(map(input_of, hoisted.inputs))
    return Program(inputs, tuple(outputs), Home.DST, program_type, exact)


def _dtype(hoisted: Hoisted, differentiated: bool) -> torch.dtype:
    """The floating type of a program: half precision is only for storage, so it may stand beside float32.

    A tensor of one number without dimensions takes the type of those beside it; its gradient would not.
    """
    beside = [n for n in hoisted.inputs if differentiated or shape_of(n) or not _is_real(n)]
    given, made = ({n.meta["val"].dtype for n in nodes} for nodes in (beside, hoisted.outputs))
    floating = {t for t in given | made if t.is_floating_point}
    others = (given - {torch.bool} | made) - floating
    if others:
        raise NotFusableError(f"values of type {others.pop()} have no kernel")
    if not floating or (len(floating) > 1 and torch.float64 in floating):
        raise NotFusableError(f"the message mixes {', '.join(sorted(map(str, floating)))}")
    compares = any(op_name(n) in ("eq", "ne") for n in hoisted.core)
    if len(floating) > 1 and compares:  # of which PyTorch rounds one to half precision first
        raise NotFusableError(f"the message compares in {', '.join(sorted(map(str, floating)))}")
    promoted: torch.dtype = reduce(torch.promote_types, floating)
    return promoted


def _is_real(node: fx.Node) -> bool:
    return bool(node.meta["val"].dtype.is_floating_point)
