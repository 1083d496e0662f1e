"""A message as the dense rules read it: values per node, and a small function of them per edge."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from typing import Any, cast

import torch
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensorMode

from mpnn.aggregate import Aggregator
from mpnn.fields import Deferred
from mpnn.graph import Graph
from mpnn.parameters import Residency
from mpnn.plan.capture import Path, fetch, fingerprint, same_tensor
from mpnn.plan.hoist import Evaluator, Hoisted, hoist
from mpnn.plan.homes import Home, NotFusableError, annotate, has_rows, op_name
from mpnn.plan.lower import feature_shape
from mpnn.plan.plan import _lift_captured, _outputs, _values_of
from mpnn.plan.trace import fake_inputs, trace
from mpnn.step import Step

HOMES = {Residency.DST: Home.DST, Residency.SRC: Home.SRC}


@dataclass(frozen=True)
class Given:
    """One of the values from which a message is computed."""

    index: int
    home: Home
    shape: tuple[int, ...]  # of a row; of the whole where all edges share it
    dtype: torch.dtype

    @property
    def size(self) -> int:
        """Numbers per row."""
        return torch.Size(self.shape).numel()


@dataclass(frozen=True)
class Reading:
    """What a traced message does per edge, after everything that can be has been done per node."""

    kinds: tuple[str, ...]  # the reductions
    given: tuple[Given, ...]
    shapes: tuple[tuple[int, ...], ...]  # per reduction its value, then the score of a softmax
    operations: frozenset[str]
    captured: tuple[tuple[Path, torch.Size, torch.dtype], ...]
    aliases: tuple[list[Path], ...]  # paths that led to one and the same tensor
    hoisted: Hoisted
    core: Evaluator

    def of(self, home: Home) -> list[Given]:
        """The values that live in one place."""
        return [given for given in self.given if given.home is home]

    def per_edge(self, rows: Sequence[Tensor], num_edges: int) -> list[Tensor]:
        """The messages themselves, from one row per edge of every value that is not shared."""
        return self.core(rows, dict.fromkeys(Home, num_edges))

    def values(self, step: Step) -> list[Tensor]:
        """The values of `given`, one row per node, in a step of this kind."""
        aggregator = cast(Aggregator, step.aggregator)
        inputs = [
            _real(value) for _, value in step.arguments.values() if isinstance(value, Tensor | Deferred)
        ]
        inputs += [fetch(path, step.message, aggregator) for path, *_ in self.captured]
        size = step.fields.graph.size
        rows = {Home.SRC: size[0], Home.DST: size[1], Home.SHARED: 1, Home.EDGE: 1}
        return self.hoisted.before(inputs, rows)

    def fits(self, step: Step) -> bool:
        """Whether the tensors that the message reaches by itself still have the shapes of the trace."""
        aggregator = cast(Aggregator, step.aggregator)
        for path, shape, dtype in self.captured:
            tensor = fetch(path, step.message, aggregator)
            if tensor.shape != shape or tensor.dtype != dtype:
                return False
        return all(same_tensor(paths, step.message, aggregator) for paths in self.aliases)


def _real(value: Tensor | Deferred) -> Tensor:
    # The edge types of a grid are never enumerated for its kernel, which knows them.
    return value if isinstance(value, Tensor) else torch.empty(0, dtype=torch.int64)


def key_of(step: Step) -> Hashable:
    """What two steps share if one reading serves both.

    Raises:
        NotFusableError: the message has an argument, or closes over something, that cannot be compared.
    """
    arguments: list[Hashable] = []
    graph = step.fields.graph
    for name, (residency, value) in step.arguments.items():
        if isinstance(value, Tensor):
            home = _home(residency, value, graph)
            shape = value.shape if home is Home.SHARED else value.shape[1:]
            arguments.append((name, home, shape, value.dtype))
        elif isinstance(value, bool | int | float | str | None | Deferred):
            arguments.append((name, type(value), None if isinstance(value, Deferred) else value))
        else:
            raise NotFusableError(f"the argument {name!r} is a {type(value).__name__}")
    return (fingerprint(step.message, cast(Aggregator, step.aggregator)), tuple(arguments))


def _home(residency: Residency, value: Tensor, graph: Graph) -> Home:
    if residency is not Residency.GIVEN:
        return HOMES[residency]
    return Home.EDGE if value.dim() > 0 and value.size(0) == graph.num_edges else Home.SHARED


def read(step: Step) -> Reading:
    """Trace a step's message and its aggregator.

    Raises:
        NotFusableError: with the reason in words.
    """
    aggregator = cast(Aggregator, step.aggregator)
    names: list[str] = []
    homes: list[Home] = []
    examples: list[Tensor] = []
    fixed: dict[str, Any] = {}
    for name, (residency, value) in step.arguments.items():
        if isinstance(value, Tensor | Deferred):
            names.append(name)
            if isinstance(value, Tensor):
                homes.append(_home(residency, value, step.fields.graph))
            else:
                homes.append(Home.EDGE)
            examples.append(_real(value))
        else:
            fixed[name] = value
    kinds: list[str] = []

    def reduced(*tensors: Tensor) -> list[Tensor]:
        kinds.clear()
        values: list[Tensor] = []
        for reduction in aggregator.split(step.message(**dict(zip(names, tensors, strict=True)), **fixed)):
            kinds.append(reduction.kind)
            values += _values_of(reduction)
        return values

    mode = FakeTensorMode(allow_non_fake_inputs=True)
    inputs = fake_inputs(mode, examples, [home is not Home.SHARED for home in homes])
    with torch.no_grad(), mode:
        module = trace(reduced, inputs)
    captured, aliases = _lift_captured(module, step.message, aggregator)
    placeholders = [n for n in module.graph.nodes if n.op == "placeholder"]
    placed = dict.fromkeys([n.name for n in placeholders], Home.SHARED)
    placed.update({n.name: home for n, home in zip(placeholders, homes, strict=False)})
    annotate(module.graph, placed)
    outputs = _outputs(module.graph)
    for node in outputs:
        if not has_rows(node):
            raise NotFusableError("the message has no row per edge")
    hoisted = hoist(module, outputs)
    given = tuple(
        Given(
            k,
            node.meta["home"],
            tuple(node.meta["val"].shape) if node.meta["home"] is Home.SHARED else feature_shape(node),
            node.meta["val"].dtype,
        )
        for k, node in enumerate(hoisted.inputs)
    )
    return Reading(
        tuple(kinds),
        given,
        tuple(feature_shape(node) for node in outputs),
        frozenset(op_name(node) for node in hoisted.core),
        tuple(captured),
        tuple(aliases),
        hoisted,
        Evaluator(hoisted.inputs, {}, hoisted.core, outputs),
    )
