"""A recurrent cell as the rules read it: a new state, as a function of an input and of the state before."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, cast

import torch
from torch import Tensor, fx

from mpnn.aggregate.aggregators import Aggregator, Sum
from mpnn.lowering.match import PROBES
from mpnn.lowering.rule import NoMatchError, Reader
from mpnn.plan.capture import Path, fetch, fingerprint
from mpnn.plan.front import read_function
from mpnn.plan.hoist import Evaluator
from mpnn.plan.homes import Home, op_name, shape_of
from mpnn.plan.rows import ROWS, NotFusableError
from mpnn.step.parameters import Residency, parameters_of
from mpnn.step.schedule import TOPOLOGICAL
from mpnn.step.step import Recurrence, Step


@dataclass(frozen=True)
class Part:
    """A traced function of rows, and of weights that it reads from its module."""

    module: fx.GraphModule
    captured: tuple[tuple[Path, torch.Size], ...]

    @property
    def operations(self) -> frozenset[str]:
        """The names of its operations."""
        return frozenset(op_name(n) for n in self.module.graph.nodes if n.op == "call_function")

    def __call__(self, rows: Sequence[Tensor], weights: dict[Path, Tensor]) -> list[Tensor]:
        """Its results for given rows and weights, in float64."""
        nodes = list(self.module.graph.nodes)
        placeholders = [n for n in nodes if n.op == "placeholder"]
        constants = {n: getattr(self.module, n.target).double() for n in nodes if n.op == "get_attr"}
        called = [n for n in nodes if n.op == "call_function"]
        run = Evaluator(placeholders, constants, called, nodes[-1].args[0])
        given = [*rows, *(weights[path] for path, _ in self.captured)]
        return run(given, dict.fromkeys(Home, PROBES))


@dataclass(frozen=True)
class Cell:
    """The functions by which a node computes its state: as the first of a sequence, and after others."""

    width: int  # of the input
    states: tuple[int, ...]  # widths
    first: Part  # of the input
    following: Part  # of the input, that of the node before, and the states of that node
    joining: Part  # the same with the states of two nodes before

    @cached_property
    def weights(self) -> dict[Path, torch.Size]:
        """Where the weights are, with their shapes."""
        return dict([*self.first.captured, *self.following.captured])

    def fits(self, step: Step) -> bool:
        """Whether the weights still have the shapes of the trace."""
        weights = self.values(step)[1:]
        return all(w.shape == shape for w, shape in zip(weights, self.weights.values(), strict=True))

    def values(self, step: Step) -> list[Tensor]:
        """The input, and the weights as they are now, in the order of `weights`."""
        (x,) = step.fields.given.values()
        aggregator = cast(Aggregator, step.aggregator)
        return [x, *[fetch(path, _update(step), aggregator) for path in self.weights]]

    def complete(self, step: Step, found: Any) -> Any:
        """What the kernel found."""
        return found


def _said(step: Step) -> Recurrence:
    assert step.recurrence is not None
    return step.recurrence


def _update(step: Step) -> Callable[..., Any]:
    assert step.update is not None
    return step.update


def _key(step: Step) -> Hashable:
    """What two steps share if one reading serves both.

    Raises:
        NoMatchError, NotFusableError: no rule reads such a step.
    """
    call, given = _said(step), step.fields.given
    if call.truncate is not None:
        raise NoMatchError(f"gradients are cut every {call.truncate} levels")
    if type(step.aggregator) is not Sum:
        raise NoMatchError(f"the messages are reduced by {step.aggregator}, not by a sum")
    if call.before is not None or call.nothing is None:
        raise NoMatchError("the nodes have a state before the sweep")
    if step.schedule.clamped is not None or step.schedule.rank is not TOPOLOGICAL.rank:
        raise NoMatchError("the order is not simply that of the graph")
    functions = (call.prepare, step.message, _update(step), call.nothing)
    fields = [
        (k, tuple(v.shape[1:]), v.dtype) if isinstance(v, Tensor) else (k, type(v)) for k, v in given.items()
    ]
    return (tuple(fingerprint(f, step.aggregator) for f in functions), call.state, tuple(fields))


def _read(step: Step) -> Cell:
    """Trace a cell.

    Raises:
        NotFusableError: with the reason in words.
    """
    call, given, nothing = _said(step), step.fields.given, _said(step).nothing
    assert nothing is not None
    if len(given) != 1:
        raise NotFusableError(f"the cell reads {', '.join(given)}, more than one input")
    ((name, x),) = given.items()
    if not isinstance(x, Tensor) or x.dim() != 2:
        raise NotFusableError(f"{name} is no tensor [num_nodes, channels]")
    if not x.size(1):
        raise NotFusableError(f"{name} has no channels")

    def update(received: Tensor, fields: dict[str, Any]) -> list[Tensor]:
        asked = parameters_of(_update(step), skip=1)
        return list(_update(step)(received, **{p.name: fields[p.field] for p in asked if p.field in fields}))

    def first(x: Tensor) -> list[Tensor]:
        fields = call.prepare({name: x})
        return update(nothing(x.size(0), fields), fields)

    def message_of(fields: dict[str, Any], x_before: Tensor, states: Sequence[Tensor]) -> Tensor:
        before = call.prepare({name: x_before}) | dict(zip(call.state, states, strict=True))
        arguments: dict[str, Any] = {}
        for p in parameters_of(step.message):
            values = before if p.residency is Residency.SRC else fields
            if p.residency is Residency.GIVEN and not p.required:
                continue
            if p.residency is Residency.GIVEN or p.field not in values:
                raise NotFusableError(f"the message asks for {p.name!r}")
            arguments[p.name] = values[p.field]
        message = step.message(**arguments)
        if not isinstance(message, Tensor):
            raise NotFusableError(f"the message is a {type(message).__name__}")
        return message

    def following(x: Tensor, x_before: Tensor, *states: Tensor) -> list[Tensor]:
        fields = call.prepare({name: x})
        return update(message_of(fields, x_before, states), fields)

    def joining(x: Tensor, x_before: Tensor, *states: Tensor) -> list[Tensor]:
        fields, half = call.prepare({name: x}), len(states) // 2
        parts = [message_of(fields, x_before, part) for part in (states[:half], states[half:])]
        return update(parts[0] + parts[1], fields)

    began, widths = _trace(step, first, [x])
    states = [x.new_empty(1, width) for width in widths]
    went_on, _ = _trace(step, following, [x, x, *states])
    joined, _ = _trace(step, joining, [x, x, *states, *states])
    return Cell(x.size(1), tuple(widths), began, went_on, joined)


def _trace(
    step: Step, function: Callable[..., list[Tensor]], examples: Sequence[Tensor]
) -> tuple[Part, list[int]]:
    """A function of rows, and the widths of what it returns."""
    call, aggregator = _said(step), cast(Aggregator, step.aggregator)
    traced = read_function(function, [(Home.EDGE, t) for t in examples], _update(step), aggregator)
    if traced.captured.aliases:
        raise NotFusableError("one weight stands in two places")
    shapes = [shape_of(node) for node in traced.outputs]
    if len(shapes) != len(call.state) or any(len(shape) != 2 or shape[0] != ROWS for shape in shapes):
        raise NotFusableError("the states are no tensors [num_nodes, channels]")
    for node in traced.graph.nodes:
        if node.kwargs.get("dtype") in (torch.float32, torch.float16, torch.bfloat16):
            node.kwargs = node.kwargs | {"dtype": torch.float64}  # that of the probes
    traced.find_places()
    weights = tuple((path, shape) for path, shape, _ in traced.captured.each)
    return Part(traced.module, weights), [cast(int, width) for _, width in shapes]


CELLS = Reader("cell", _key, _read)
