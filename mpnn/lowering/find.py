"""Find the rule for a step, and remember it."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Hashable
from dataclasses import dataclass
from threading import Lock
from typing import cast

import torch
from torch import Tensor

from mpnn.aggregate import Aggregator, Custom, Several
from mpnn.lowering.reading import Reading, key_of, read
from mpnn.lowering.rule import Lowered, NoMatchError, Rule
from mpnn.lowering.rules import RULES
from mpnn.plan.homes import NotFusableError
from mpnn.step import Step
from mpnn.topology import Implicit

MOST_MATCHES = 1024


@dataclass(frozen=True)
class Match:
    """A rule that applies to a kind of step."""

    rule: Rule
    reading: Reading
    run: Lowered


# One entry per kind of message and topology. The key holds all that a trace depends on; nothing else
# invalidates an entry.
_known: OrderedDict[Hashable, list[Match] | str] = OrderedDict()
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


def explain(step: Step) -> str:
    """The rule that applies to a step, in a line, or why none does."""
    try:
        return _find(step).rule.description
    except NoMatchError as error:
        return f"no dense kernel: {error}"


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
        key = (type(graph), graph.num_edge_types, key_of(step))
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
    rules = [rule for rule in RULES if isinstance(graph, rule.topology)]
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
