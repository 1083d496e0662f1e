"""A recurrent cell as the rules read it: a new state, as a function of an input and of the state before."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from typing import Any, cast

import torch
from torch import Tensor, fx
from torch._subclasses.fake_tensor import FakeTensorMode

from mpnn.aggregate import Aggregator
from mpnn.lowering.match import PROBES
from mpnn.parameters import Residency, parameters_of
from mpnn.plan.capture import Path, fetch, fingerprint
from mpnn.plan.hoist import Evaluator
from mpnn.plan.homes import ROWS, Home, NotFusableError, annotate, op_name
from mpnn.plan.plan import _lift_captured
from mpnn.plan.trace import fake_inputs, trace
from mpnn.step import Recurrence


@dataclass(frozen=True)
class Traced:
    """A function of rows, and of weights that it reached by itself."""

    module: fx.GraphModule
    captured: tuple[tuple[Path, torch.Size], ...]

    @property
    def operations(self) -> frozenset[str]:
        """What it is made of."""
        return frozenset(op_name(n) for n in self.module.graph.nodes if n.op == "call_function")

    def __call__(self, rows: Sequence[Tensor], weights: dict[Path, Tensor]) -> list[Tensor]:
        """Its results for other numbers, in float64."""
        nodes = list(self.module.graph.nodes)
        placeholders = [n for n in nodes if n.op == "placeholder"]
        constants = {n: getattr(self.module, n.target).double() for n in nodes if n.op == "get_attr"}
        called = [n for n in nodes if n.op == "call_function"]
        run = Evaluator(placeholders, constants, called, nodes[-1].args[0])
        given = [*rows, *(weights[path] for path, _ in self.captured)]
        return run(given, dict.fromkeys(Home, PROBES))


@dataclass(frozen=True)
class Cell:
    """What a node makes of its input at the start of a sequence, and after a state before it."""

    width: int  # of the input
    states: tuple[int, ...]  # widths
    first: Traced  # of the input
    following: Traced  # of the input, that of the node before, and the states of that node
    joining: Traced  # the same with the states of two nodes before

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
    mode = FakeTensorMode(allow_non_fake_inputs=True)

    def update(received: Tensor, fields: dict[str, Any]) -> list[Tensor]:
        asked = parameters_of(call.update, skip=1)
        return list(call.update(received, **{p.name: fields[p.field] for p in asked if p.field in fields}))

    def first(x: Tensor) -> list[Tensor]:
        fields = call.prepare({name: x})
        return update(call.nothing(ROWS, fields), fields)

    def heard_of(fields: dict[str, Any], x_before: Tensor, states: Sequence[Tensor]) -> Tensor:
        before = call.prepare({name: x_before}) | dict(zip(call.state, states, strict=True))
        heard: dict[str, Any] = {}
        for p in parameters_of(call.message):
            values = before if p.residency is Residency.SRC else fields
            if p.residency is Residency.GIVEN and not p.required:
                continue
            if p.residency is Residency.GIVEN or p.field not in values:
                raise NotFusableError(f"the message asks for {p.name!r}")
            heard[p.name] = values[p.field]
        message = call.message(**heard)
        if not isinstance(message, Tensor):
            raise NotFusableError(f"the message is a {type(message).__name__}")
        return message

    def following(x: Tensor, x_before: Tensor, *states: Tensor) -> list[Tensor]:
        fields = call.prepare({name: x})
        return update(heard_of(fields, x_before, states), fields)

    def joining(x: Tensor, x_before: Tensor, *states: Tensor) -> list[Tensor]:
        fields, half = call.prepare({name: x}), len(states) // 2
        parts = [heard_of(fields, x_before, part) for part in (states[:half], states[half:])]
        return update(parts[0] + parts[1], fields)

    began = _trace(call, first, mode, [x])
    outputs = [n.meta["val"] for n in list(began.module.graph.nodes)[-1].args[0]]
    if len(outputs) != len(call.state) or any(v.dim() != 2 for v in outputs):
        raise NotFusableError("the states are no tensors [num_nodes, channels]")
    went_on = _trace(call, following, mode, [x, x, *outputs])
    joined = _trace(call, joining, mode, [x, x, *outputs, *outputs])
    return Cell(x.size(1), tuple(v.size(1) for v in outputs), began, went_on, joined)


def _trace(
    call: Recurrence, function: Callable[..., list[Tensor]], mode: FakeTensorMode, examples: Sequence[Tensor]
) -> Traced:
    inputs = fake_inputs(mode, examples, [True] * len(examples))
    with torch.no_grad(), mode:
        module = trace(function, inputs)
    captured, aliases = _lift_captured(module, call.update, cast(Aggregator, call.aggregator))
    if aliases:
        raise NotFusableError("one weight stands in two places")
    placeholders = [n for n in module.graph.nodes if n.op == "placeholder"]
    homes = dict.fromkeys([n.name for n in placeholders], Home.SHARED)
    homes.update({n.name: Home.EDGE for n in placeholders[: len(inputs)]})
    for node in module.graph.nodes:
        if node.kwargs.get("dtype") in (torch.float32, torch.float16, torch.bfloat16):
            node.kwargs = node.kwargs | {"dtype": torch.float64}  # that of the probes
    annotate(module.graph, homes)
    return Traced(module, tuple((path, shape) for path, shape, _ in captured))


def weights_of(call: Recurrence, paths: Sequence[Path | None]) -> list[Tensor | None]:
    """The weights as they are now."""
    aggregator = cast(Aggregator, call.aggregator)
    return [None if path is None else fetch(path, call.update, aggregator) for path in paths]
