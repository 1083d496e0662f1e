"""Run what comes after a step's reductions, where a pass found a better way than to call `update`."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy

from mpnn.aggregate.aggregators import Aggregator
from mpnn.backends.run.by_rows import by_rows
from mpnn.backends.run.counts import counts_of
from mpnn.backends.run.net import caught
from mpnn.backends.run.plans import Fused
from mpnn.functional import matmul
from mpnn.graph.graph import Graph
from mpnn.plan.autocast import autocast_type, without_autocast
from mpnn.plan.capture import fingerprint
from mpnn.plan.finish import CountItself, Finish, Wide, others_of, read_finish
from mpnn.plan.homes import Home
from mpnn.plan.rows import NotFusableError
from mpnn.step.fields import Argument
from mpnn.step.parameters import Residency
from mpnn.step.step import Step
from mpnn.topology import Implicit

FEW = 2048  # rows: below, what a pass spares is less than it costs to find it

Reduce = Callable[[Step], list[Tensor]]  # the reductions of a step's messages


def find_finish(step: Step, fused: Fused) -> Finish | None:
    """What is known of a step's `update`, from the cache or traced now; None if it is called as written."""
    if step.update is None or step.fields.graph.num_dst < FEW:
        return None
    graph, aggregator = step.fields.graph, cast(Aggregator, step.aggregator)
    try:
        key: Hashable = (fingerprint(step.update, aggregator), others_of(step).forms, autocast_type(graph))
    except NotFusableError:
        return None
    known = fused.finishes.get(key, False)
    if isinstance(known, Finish) and not known.captured.fit(step.update, aggregator):
        known = False
    if known is False:
        owner = getattr(step.update, "__self__", None)
        if isinstance(owner, nn.Module) and any(map(is_lazy, owner.parameters())):
            return None  # the first call, which gives them their shapes
        known = fused.finishes[key] = _read(step, fused)
    return cast(Finish | None, known)


def _read(step: Step, fused: Fused) -> Finish | None:
    autocast = autocast_type(step.fields.graph)
    try:
        with without_autocast(step.fields.graph):
            return read_finish(step, fused.plan, autocast)
    except NotFusableError:
        return None
    except Exception as error:
        caught(cast(Any, step.update), error, "as it is written")
        return None


def run(finish: Finish, step: Step, reduce: Reduce) -> Any:
    """What the nodes become."""
    graph, itself, inner = step.fields.graph, finish.count_itself, step._replace(update=None)
    with without_autocast(graph):
        given = _given(finish, step)
        counts_itself = itself is not None and _holds(itself, step, given)
        if itself is not None and counts_itself:
            finish, inner = itself.rest, inner._replace(fields=step.fields.on(graph.with_self_loops()))
        if counts_itself or finish.gains:
            early = finish.early(given, _num_rows(graph.num_dst))
            first = finish.map_first
            if first is not None:
                x, weight = step.arguments[first.argument].value, early[first.weight]
                mapped = Argument(Residency.SRC, matmul(x.to(weight.dtype), weight))
                inner = inner._replace(arguments=step.arguments | {first.argument: mapped})
            return _late(finish, step, early, reduce(inner))
    (received,) = reduce(inner)
    return step.updated(received)


def _given(finish: Finish, step: Step) -> list[Any]:
    """The arguments of the trace; None in the place of the reductions."""
    update, aggregator = cast(Any, step.update), cast(Aggregator, step.aggregator)
    graph, others = step.fields.graph, [tensor for _, tensor in others_of(step).placed]
    counts = [] if finish.counts is None else [counts_of(graph, *finish.counts)]
    return [*[None] * len(finish.places), *counts, *others, *finish.captured.fetch(update, aggregator)]


def _late(finish: Finish, step: Step, early: list[Tensor], reduced: list[Tensor]) -> Tensor:
    given = [*[reduced[k] for k in finish.places], *early]
    if finish.wide is not None:
        given = [*_in_blocks(finish.wide, given), *early]
    (made,) = finish.late(given, _num_rows(step.fields.graph.num_dst))
    return made


def _in_blocks(wide: Wide, given: list[Tensor]) -> list[Tensor]:
    """The results of a wide part, of which only some rows exist at a time."""
    rows = [given[k] for k, by_row in zip(wide.reads, wide.rows, strict=True) if by_row]
    shared = [given[k] for k, by_row in zip(wide.reads, wide.rows, strict=True) if not by_row]
    shapes: list[torch.Size] = []

    def block(*some: Tensor) -> Tensor:
        each, others = iter(some), iter(shared)
        made = wide.evaluate([next(each if r else others) for r in wide.rows], _num_rows(some[0].size(0)))
        shapes[:] = [t.shape[1:] for t in made]
        flat = [t.reshape(len(t), t.shape[1:].numel()) for t in made]
        return torch.cat(flat, 1) if len(flat) > 1 else flat[0]

    together = by_rows(block, rows, shared)
    parts = torch.split(together, list(wide.widths), 1) if len(wide.widths) > 1 else [together]
    return [part.reshape(len(part), *shape) for part, shape in zip(parts, shapes, strict=True)]


def _num_rows(count: int) -> dict[Home, int]:
    return {Home.DST: count, Home.SRC: count, Home.EDGE: count, Home.SHARED: 1}


def _holds(itself: CountItself, step: Step, given: list[Any]) -> bool:
    """Whether c is 1, both x are one tensor, and a loop can be added at every node."""
    graph: Graph = step.fields.graph
    x = step.arguments[itself.argument].value
    if x is not step.others[itself.own].value or graph.num_src != graph.num_dst or graph.is_typed:
        return False
    if isinstance(graph, Implicit) or graph.is_bipartite:
        return False
    if itself.weight is None:
        return True
    (weight,) = itself.weight(given, _num_rows(graph.num_dst))
    if weight.requires_grad or not weight.is_cpu:  # a GPU would have to be waited for
        return False
    return torch.equal(weight.detach().flatten(), torch.ones(1, dtype=weight.dtype))
