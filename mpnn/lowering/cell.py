"""A recurrent cell as the rules read it: a new state, as a function of an input and of the state before."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from typing import Any, cast

import torch
from torch import Tensor, fx

from mpnn.aggregate.aggregators import Aggregator
from mpnn.lowering.match import PROBES
from mpnn.plan.capture import Path, fetch, fingerprint
from mpnn.plan.front import read_function
from mpnn.plan.hoist import Evaluator
from mpnn.plan.homes import Home, op_name, shape_of
from mpnn.plan.rows import ROWS, NotFusableError
from mpnn.step.parameters import Residency, parameters_of
from mpnn.step.step import Recurrence


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

    @property
    def weights(self) -> dict[Path, torch.Size]:
        """Where the weights are, with their shapes."""
        return dict([*self.first.captured, *self.following.captured])


def key_of(call: Recurrence) -> Hashable:
    """What two calls share if one reading serves both.

    Raises:
        NotFusableError: the cell reads something that cannot be compared.
    """
    aggregator = cast(Aggregator, call.aggregator)
    functions = (call.prepare, call.message, call.update, call.nothing)
    fields = [
        (k, tuple(v.shape[1:]), v.dtype) if isinstance(v, Tensor) else (k, type(v))
        for k, v in call.fields.items()
    ]
    return (tuple(fingerprint(f, aggregator) for f in functions), call.state, tuple(fields))


def read_cell(call: Recurrence) -> Cell:
    """Trace a cell.

    Raises:
        NotFusableError: with the reason in words.
    """
    if len(call.fields) != 1:
        raise NotFusableError(f"the cell reads {', '.join(call.fields)}, more than one input")
    ((name, x),) = call.fields.items()
    if not isinstance(x, Tensor) or x.dim() != 2:
        raise NotFusableError(f"{name} is no tensor [num_nodes, channels]")

    def update(received: Tensor, fields: dict[str, Any]) -> list[Tensor]:
        asked = parameters_of(call.update, skip=1)
        return list(call.update(received, **{p.name: fields[p.field] for p in asked if p.field in fields}))

    def first(x: Tensor) -> list[Tensor]:
        fields = call.prepare({name: x})
        return update(call.nothing(x.size(0), fields), fields)

    def message_of(fields: dict[str, Any], x_before: Tensor, states: Sequence[Tensor]) -> Tensor:
        before = call.prepare({name: x_before}) | dict(zip(call.state, states, strict=True))
        arguments: dict[str, Any] = {}
        for p in parameters_of(call.message):
            values = before if p.residency is Residency.SRC else fields
            if p.residency is Residency.GIVEN and not p.required:
                continue
            if p.residency is Residency.GIVEN or p.field not in values:
                raise NotFusableError(f"the message asks for {p.name!r}")
            arguments[p.name] = values[p.field]
        message = call.message(**arguments)
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

    began, widths = _trace(call, first, [x])
    states = [x.new_empty(1, width) for width in widths]
    went_on, _ = _trace(call, following, [x, x, *states])
    joined, _ = _trace(call, joining, [x, x, *states, *states])
    return Cell(x.size(1), tuple(widths), began, went_on, joined)


def _trace(
    call: Recurrence, function: Callable[..., list[Tensor]], examples: Sequence[Tensor]
) -> tuple[Part, list[int]]:
    """A function of rows, and the widths of what it returns."""
    aggregator = cast(Aggregator, call.aggregator)
    traced = read_function(function, [(Home.EDGE, t) for t in examples], call.update, aggregator)
    if traced.captured.aliases:
        raise NotFusableError("one weight stands in two places")
    shapes = [shape_of(node) for node in traced.outputs]
    if len(shapes) != len(call.state) or any(len(shape) != 2 or shape[0] != ROWS for shape in shapes):
        raise NotFusableError("the states are no tensors [num_nodes, channels]")
    for node in traced.graph.nodes:
        if node.kwargs.get("dtype") in (torch.float32, torch.float16, torch.bfloat16):
            node.kwargs = node.kwargs | {"dtype": torch.float64}  # that of the probes
    traced.annotate()
    weights = tuple((path, shape) for path, shape, _ in traced.captured.each)
    return Part(traced.module, weights), [cast(int, width) for _, width in shapes]


def weights_of(call: Recurrence, paths: Sequence[Path | None]) -> list[Tensor | None]:
    """The weights as they are now."""
    aggregator = cast(Aggregator, call.aggregator)
    return [None if path is None else fetch(path, call.update, aggregator) for path in paths]
