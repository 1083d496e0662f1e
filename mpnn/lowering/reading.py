"""A message as the rules read it: values per node, and a small function of them per edge."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from typing import cast

import torch
from torch import Tensor

from mpnn.aggregate.aggregators import Aggregator, Custom, Several
from mpnn.aggregate.reduction import Reduction
from mpnn.lowering.rule import NoMatchError, Reader
from mpnn.plan.front import Captured, arguments_of, key_of, placeholders_of, read_function
from mpnn.plan.hoist import Evaluator, Hoisted, hoist
from mpnn.plan.homes import Home, feature_shape, lives_at, op_name, row_size
from mpnn.plan.rows import NotFusableError
from mpnn.step.fields import Deferred
from mpnn.step.step import Step


@dataclass(frozen=True)
class Given:
    """A value that the messages are computed from."""

    index: int
    home: Home
    shape: tuple[int, ...]  # of a row; of the tensor where all edges share it
    dtype: torch.dtype
    is_type: bool = False  # whether it is the types that a regular graph gives its edges

    @property
    def size(self) -> int:
        """Numbers per row."""
        return torch.Size(self.shape).numel()


@dataclass(frozen=True)
class Reading:
    """A traced message: the work at the nodes done, a function of values per edge is left."""

    reductions: tuple[Reduction, ...]
    given: tuple[Given, ...]
    shapes: tuple[tuple[int, ...], ...]  # per reduction its value, then the score of a softmax
    operations: frozenset[str]
    captured: Captured
    hoisted: Hoisted
    core: Evaluator

    def of(self, home: Home) -> list[Given]:
        """The values of one home."""
        return [given for given in self.given if given.home is home]

    def per_edge(self, rows: Sequence[Tensor], num_edges: int) -> list[Tensor]:
        """The messages themselves, from one row per edge of every value that is not shared."""
        return self.core(rows, dict.fromkeys(Home, num_edges))

    def values(self, step: Step) -> list[Tensor]:
        """The values of `given`, one row per node, in a step of this kind."""
        aggregator = cast(Aggregator, step.aggregator)
        inputs = [*arguments_of(step).tensors, *self.captured.fetch(step.message, aggregator)]
        size = step.fields.graph.size
        rows = {Home.SRC: size[0], Home.DST: size[1], Home.SHARED: 1, Home.EDGE: 1}
        return self.hoisted.before(inputs, rows)

    def fits(self, step: Step) -> bool:
        """Whether the tensors that the message reaches by itself still have the shapes of the trace."""
        return self.captured.fit(step.message, cast(Aggregator, step.aggregator))

    def complete(self, step: Step, found: list[Tensor]) -> Tensor:
        """What the nodes have received, from the reductions."""
        graph, aggregator = step.fields.graph, cast(Aggregator, step.aggregator)
        counts = graph.memo(
            ("message counts", found[0].dtype), lambda: graph.in_degree.clamp(min=1).to(found[0])
        )
        return aggregator.merge(found, counts.view(-1, *[1] * (found[0].dim() - 1)))


def _key(step: Step) -> Hashable:
    """What two steps share if one reading serves both.

    Raises:
        NoMatchError, NotFusableError: no rule reads such a step.
    """
    graph, aggregator = step.fields.graph, step.aggregator
    if not isinstance(aggregator, Aggregator) or isinstance(aggregator, Custom | Several):
        raise NoMatchError(f"the aggregator {aggregator} is not made of one primitive reduction")
    if getattr(aggregator, "semi_grad", False):
        raise NoMatchError("the softmax has semi_grad=True, a gradient that no kernel has")
    if step.fields.node_dim != 0:
        raise NoMatchError(f"node_dim is {step.fields.node_dim}, but kernels need the nodes in dimension 0")
    if not graph.num_edges:
        raise NoMatchError("the graph has no edges")
    # The number of types is part of a convolution's message, the rest of a grid is not.
    return graph.num_edge_types, _types_in(step), key_of(step, types_known=True)


def _types_in(step: Step) -> tuple[str, ...]:
    """The arguments of a message that are the types which a graph gives its edges."""
    graph = step.fields.graph
    if not graph.num_edge_types:
        return ()
    found = []
    for name, (_, value) in step.arguments.items():
        given = isinstance(value, Tensor) and value.dtype == torch.int64 and value.dim() == 1
        if isinstance(value, Deferred) or (given and value is graph.edge_type):
            found.append(name)
    return tuple(found)


def _read(step: Step) -> Reading:
    """Trace a step's message and its aggregator.

    Raises:
        NotFusableError: with the reason in words.
    """
    aggregator = cast(Aggregator, step.aggregator)
    arguments = arguments_of(step)
    found: list[Reduction] = []

    def reduced(*tensors: Tensor) -> list[Tensor]:
        found.clear()
        values: list[Tensor] = []
        messages = step.message(**dict(zip(arguments.names, tensors, strict=True)), **arguments.fixed)
        for one in aggregator.split(messages):
            found.append(one.reduction)
            values += one.tensors
        return values

    traced = read_function(reduced, arguments.placed, step.message, aggregator)
    traced.find_places()
    traced.require_rows()
    outputs = traced.outputs
    hoisted = hoist(traced.module, outputs, differentiated=True)
    named = zip(placeholders_of(traced.graph), arguments.names, strict=False)  # what is captured comes behind
    typed = _types_in(step)
    types = {node for node, name in named if name in typed}
    given = tuple(
        Given(k, lives_at(node), feature_shape(node), node.meta["val"].dtype, node in types)
        for k, node in enumerate(hoisted.inputs)
    )
    if not all(g.size for g in given) or not all(map(row_size, outputs)):
        raise NotFusableError("there are values without numbers")
    if len({g.dtype for g in given if g.dtype.is_floating_point}) > 1:
        raise NotFusableError("the values are of several types")
    return Reading(
        tuple(found),
        given,
        tuple(feature_shape(node) for node in outputs),
        frozenset(op_name(node) for node in hoisted.core),
        traced.captured,
        hoisted,
        Evaluator(hoisted.inputs, {}, hoisted.core, outputs),
    )


MESSAGES = Reader("message", _key, _read)
