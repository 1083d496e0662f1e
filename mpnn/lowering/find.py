"""Find the rule for a step, and remember it."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from threading import Lock
from typing import Any, cast

import torch
from torch import Tensor

from mpnn.graph.graph import Graph
from mpnn.lowering.rule import Lowered, NoMatchError, Reader, Rule, StepReading
from mpnn.lowering.rules import rules_for
from mpnn.plan.autocast import autocast_type, without_autocast
from mpnn.plan.rows import NotFusableError, Refused
from mpnn.step.step import Step
from mpnn.topology import Implicit

MOST_MATCHES = 1024


@dataclass(frozen=True)
class Match:
    """A rule that applies to a kind of step."""

    rule: Rule
    reading: StepReading
    run: Lowered


# One entry per kind of step, topology and schedule. The key holds all that a reading depends on; nothing else
# invalidates an entry.
_known: OrderedDict[Hashable, list[Match] | Refused] = OrderedDict()
_lock = Lock()


def lower(step: Step) -> Any:
    """Compute a step by the kernel that a rule knows for it; `Rule` says what that is.

    Raises:
        NoMatchError: no rule applies; says why.
    """
    match = _find(step)
    return match.reading.complete(step, match.run(step.fields.graph, match.reading.values(step)))


def explain(step: Step) -> str:
    """The rule that applies to a step, in a line, or why none does."""
    try:
        return _find(step).rule.description
    except NoMatchError as error:
        return f"no dense kernel: {error}"


def _find(step: Step) -> Match:
    graph, schedule = step.fields.graph, step.schedule.name
    reasons = []
    for reader, rules in rules_for(graph, schedule):
        try:
            match = _match(step, reader, rules)
            match.rule.fits(graph)
        except NoMatchError as error:
            reasons.append(str(error))
        else:
            return match
    raise NoMatchError("; ".join(reasons) or _without_rules(graph, schedule))


def _without_rules(graph: Graph, schedule: str) -> str:
    kind = type(graph).__name__
    if schedule != "parallel":
        return f"no rule is for {kind} and the schedule {schedule}"
    return f"no rule is for {kind}" if isinstance(graph, Implicit) else f"a {kind} is no regular topology"


def _match(step: Step, reader: Reader, rules: tuple[Rule, ...]) -> Match:
    try:
        graph = step.fields.graph
        key = (type(graph), step.schedule.name, autocast_type(graph), reader.name, reader.key(step))
    except NotFusableError as error:
        raise NoMatchError(str(error)) from None
    known = _known.get(key)
    if isinstance(known, Refused):
        raise NoMatchError(known.reason)
    for match in known or ():
        if match.reading.fits(step):
            return match
    with _lock:
        found = _search(step, reader, rules)
        if isinstance(found, Refused):
            _known[key] = found
            raise NoMatchError(found.reason)
        cast(list[Match], _known.setdefault(key, [])).append(found)
        while len(_known) > MOST_MATCHES:
            _known.popitem(last=False)
        return found


def _search(step: Step, reader: Reader, rules: tuple[Rule, ...]) -> Match | Refused:
    """The first rule that recognises a step, or why none does."""
    reasons, cast = [], autocast_type(step.fields.graph)
    try:
        reading = reader.read(step)
        for rule in rules:
            try:
                with torch.no_grad(), torch.inference_mode(False):
                    run = rule.match(reading, step.fields.graph)
                return Match(rule, reading, run if cast is None else _without_autocast(run))
            except NoMatchError as error:
                reasons.append(f"{rule.name}: {error}")
    except NotFusableError as error:
        reasons.append(str(error))
    return Refused("; ".join(reasons))


def _without_autocast(run: Lowered) -> Lowered:
    """The same without it: what it casts is an operation of the message, which then no rule matches."""

    def without(graph: Graph, values: Sequence[Tensor]) -> Any:
        with without_autocast(graph):
            return run(graph, values)

    return without
