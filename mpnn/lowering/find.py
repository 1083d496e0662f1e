"""Find the rule for a step, and remember it."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Hashable
from dataclasses import dataclass
from threading import Lock
from typing import Any, cast

import torch
from torch import Tensor

from mpnn.aggregate.aggregators import Aggregator, Custom, Several, Sum
from mpnn.lowering import cell as cells
from mpnn.lowering.child_sum import ChildSum
from mpnn.lowering.reading import Reading, read
from mpnn.lowering.recurrence import Recurrent, States
from mpnn.lowering.rule import Lowered, NoMatchError, Rule
from mpnn.lowering.rules import RULES
from mpnn.plan.front import key_of
from mpnn.plan.rows import NotFusableError
from mpnn.step.step import Recurrence, Step
from mpnn.topology import Implicit

MOST_MATCHES = 1024


@dataclass(frozen=True)
class Match:
    """A rule that applies to a kind of step."""

    rule: Rule
    reading: Reading
    run: Lowered


@dataclass(frozen=True)
class CellMatch:
    """A rule that applies to a kind of recurrence."""

    rule: Rule
    run: Recurrent | ChildSum


# One entry per kind of message and topology. The key holds all that a trace depends on; nothing else
# invalidates an entry.
_known: OrderedDict[Hashable, list[Match] | str] = OrderedDict()
_known_cells: OrderedDict[Hashable, CellMatch | str] = OrderedDict()
_lock = Lock()


def lower(step: Step) -> Tensor:
    """Compute a step by the kernel that a rule knows for it.

    Raises:
        NoMatchError: no rule applies; says why.
    """
    match = _find(step)
    graph, aggregator = step.fields.graph, cast(Aggregator, step.aggregator)
    reduced = match.run(graph, match.reading.values(step))
    counts = graph.memo(
        ("message counts", reduced[0].dtype), lambda: graph.in_degree.clamp(min=1).to(reduced[0])
    )
    return aggregator.merge(reduced, counts.view(-1, *[1] * (reduced[0].dim() - 1)))


def lower_recurrence(call: Recurrence) -> tuple[Tensor, States]:
    """The first state of every node, and all states of the last nodes, by the kernel that a rule knows.

    Raises:
        NoMatchError: no rule applies; says why.
    """
    match = _find_cell(call)
    (x,) = call.fields.values()
    return match.run(call.graph, x, cells.weights_of(call, match.run.paths))


def explain(step: Step | Recurrence) -> str:
    """The rule that applies to a step, in a line, or why none does."""
    try:
        match = _find(step) if isinstance(step, Step) else _find_cell(step)
    except NoMatchError as error:
        return f"no dense kernel: {error}"
    return match.rule.description


def _find(step: Step) -> Match:
    graph = step.fields.graph
    if not isinstance(graph, Implicit):
        raise NoMatchError(f"a {type(graph).__name__} is no regular topology")
    aggregator = step.aggregator
    if not isinstance(aggregator, Aggregator) or isinstance(aggregator, Custom | Several):
        raise NoMatchError(f"the aggregator {aggregator} is not made of one primitive reduction")
    if getattr(aggregator, "semi_grad", False):
        raise NoMatchError("the softmax has semi_grad=True, a gradient that no kernel has")
    if step.fields.node_dim != 0:
        raise NoMatchError(f"node_dim is {step.fields.node_dim}, but kernels need the nodes in dimension 0")
    if not graph.num_edges:
        raise NoMatchError("the graph has no edges")
    try:
        # The number of types is part of a convolution's message, the rest of a grid is not.
        key = (type(graph), graph.num_edge_types, key_of(step, types_known=True))
    except NotFusableError as error:
        raise NoMatchError(str(error)) from None
    known = _known.get(key)
    if isinstance(known, str):
        raise NoMatchError(known)
    for match in known or ():
        if match.reading.fits(step):
            break
    else:
        with _lock:
            match = _match(step, key)
    match.rule.fits(graph)
    return match


def _match(step: Step, key: Hashable) -> Match:
    graph = step.fields.graph
    rules = _rules_for(graph, "parallel")
    reasons = []
    try:
        reading = read(step)
        for rule in rules:
            try:
                with torch.no_grad(), torch.inference_mode(False):
                    match = Match(rule, reading, rule.match(reading, graph))
            except NoMatchError as error:
                reasons.append(f"{rule.name}: {error}")
            else:
                cast(list[Match], _known.setdefault(key, [])).append(match)
                while len(_known) > MOST_MATCHES:
                    _known.popitem(last=False)
                return match
    except NotFusableError as error:
        reasons.append(str(error))
    _known[key] = "; ".join(reasons) or f"no rule is for {type(graph).__name__}"
    raise NoMatchError(cast(str, _known[key]))


def _rules_for(graph: Any, schedule: str) -> list[Rule]:
    return [rule for rule in RULES if isinstance(graph, rule.topology) and rule.schedule == schedule]


def _find_cell(call: Recurrence) -> CellMatch:
    graph = call.graph
    rules = _rules_for(graph, "topological")
    if not rules:
        raise NoMatchError(f"no rule in topological order is for {type(graph).__name__}")
    if call.truncate is not None:
        raise NoMatchError(f"gradients are cut every {call.truncate} levels")
    if type(call.aggregator) is not Sum:
        raise NoMatchError(f"the messages are reduced by {call.aggregator}, not by a sum")
    try:
        key = (type(graph), cells.key_of(call))
    except NotFusableError as error:
        raise NoMatchError(str(error)) from None
    known = _known_cells.get(key)
    if known is None:
        with _lock:
            known = _known_cells[key] = _match_cell(call, rules)
            while len(_known_cells) > MOST_MATCHES:
                _known_cells.popitem(last=False)
    if isinstance(known, str):
        raise NoMatchError(known)
    known.rule.fits(graph)
    return known


def _match_cell(call: Recurrence, rules: list[Rule]) -> CellMatch | str:
    reasons = []
    try:
        cell = cells.read_cell(call)
        for rule in rules:
            try:
                with torch.no_grad(), torch.inference_mode(False):
                    return CellMatch(rule, rule.match(cell, call.graph))
            except NoMatchError as error:
                reasons.append(f"{rule.name}: {error}")
    except NotFusableError as error:
        reasons.append(str(error))
    return "; ".join(reasons)
