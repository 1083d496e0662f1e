"""The trial of a step's plan: beside `eager`, results and the gradients that were asked for."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, cast

import torch
from torch import Tensor, nn

from mpnn.backends import eager
from mpnn.backends.run.odd_graph import difference, odd_graph, rows_like, scale_of
from mpnn.backends.run.plans import Fused
from mpnn.backends.run.trial import Way, believe
from mpnn.native.toolchain import CompilerError
from mpnn.plan.autocast import casting
from mpnn.plan.front import home_of, is_count
from mpnn.plan.homes import Home
from mpnn.plan.rows import NotFusableError
from mpnn.step.fields import Argument, Mapped
from mpnn.step.parameters import TOPOLOGY_NAMES, Residency
from mpnn.step.step import Step

Compute = Callable[[Step, Fused], Tensor]


def believe_step(step: Step, fused: Fused, way: Way, compute: Compute) -> None:
    """Let the kernels of a plan be believed, or not.

    Args:
        step: which is about to run on them.
        fused: the plan and its kernels.
        way: which of them it is about to run on.
        compute: runs a step by a plan.

    Raises:
        DistrustedError: they give other numbers than `eager`.
    """
    believe(fused, way, step, lambda: _fault(step, fused, compute))


def _fault(step: Step, fused: Fused, compute: Compute) -> str | None:
    """How the numbers of a plan differ from those of `eager`, or ""; None if its kernels cannot be made."""
    faults = ""
    # Where the messages of two edges tie, their bits decide who gets the gradient: those of a product of
    # matrices in PyTorch may depend on the row. So a fault counts if it is there without ties, too.
    graded = torch.is_grad_enabled()  # leaving inference mode turns gradients on
    for ties in (True, False):
        trial = _on_odd_graph(step, ties)
        with torch.inference_mode(False), torch.set_grad_enabled(graded):
            try:
                found = _numbers(trial, lambda one: compute(one, fused), fused)
            except (NotFusableError, CompilerError):
                return None  # the step itself goes another way, too
            wanted = _numbers(trial, _plainly(fused, compute), fused)
        scale = scale_of([t for _, t in (*_sources(trial, fused), *wanted)], fused.autocast)
        differences = [difference(*ours, w, scale) for ours, (_, w) in zip(found, wanted, strict=True)]
        faults = "; ".join(filter(None, differences))
        if not faults:
            return ""
    return faults


def _plainly(fused: Fused, compute: Compute) -> Callable[[Step], Tensor]:
    """`eager`, or for a message with dropout, whose masks are the plan's own, the plan in PyTorch."""
    if not fused.plan.drops:
        return eager.compute
    plain = replace(fused, make=None, kernels={}, believed=set())
    return lambda step: compute(step, plain)


def _numbers(step: Step, run: Callable[[Step], Tensor], fused: Fused) -> list[tuple[str, Tensor]]:
    """What a step gives, and its gradients, by name."""
    graph = step.fields.graph
    with torch.random.fork_rng([graph.device] if graph.device.type == "cuda" else []):
        torch.default_generator.manual_seed(0)
        if graph.device.type == "cuda":
            torch.cuda.manual_seed(0)
        with casting(graph, fused.autocast):
            made: Any = run(step)
    outs: list[Tensor] = list(made) if isinstance(made, list | tuple) else [made]
    named = [("the result", out) for out in outs]
    if torch.is_grad_enabled():
        sources = {f"the gradient at {name}": t for name, t in _sources(step, fused) if t.requires_grad}
        gradients: Sequence[Tensor | None] = [None] * len(sources)
        reached = [out for out in outs if out.requires_grad]
        if reached and sources:
            sent = [
                torch.linspace(0.5, 1.5, out.numel(), device="cpu").view(out.shape).to(out) for out in reached
            ]
            gradients = torch.autograd.grad(reached, list(sources.values()), sent, allow_unused=True)
        for (name, source), gradient in zip(sources.items(), gradients, strict=True):
            named.append((name, torch.zeros_like(source) if gradient is None else gradient))
    return [(name, t.detach()) for name, t in named]


def _sources(step: Step, fused: Fused) -> list[tuple[str, Tensor]]:
    found: list[tuple[str, Tensor]] = []
    for name, (_, value) in step.arguments.items():
        if isinstance(value, Tensor):
            found.append((name, value))
        elif isinstance(value, Mapped):
            found += [(f"{name}.{k}", part) for k, part in enumerate(value.parts)]
    captured = fused.plan.captured
    tensors = captured.fetch(step.message, cast(nn.Module, step.aggregator))
    return found + [(".".join(path), t) for (path, *_), t in zip(captured.each, tensors, strict=True)]


def _on_odd_graph(step: Step, ties: bool) -> Step:
    """The same step with other rows, on the odd graph."""
    graph, num_edges = odd_graph(step.fields.graph, ties), step.fields.graph.num_edges
    fields, aggregator = step.fields.on(graph), cast(Any, step.aggregator)
    generator = torch.Generator().manual_seed(0)
    num_rows = {Home.SRC: graph.num_src, Home.DST: graph.num_dst, Home.EDGE: graph.num_edges}

    def sampled(residency: Residency, value: Tensor) -> Tensor:
        home = home_of(residency, value, num_edges)
        return _alone(value) if home is Home.SHARED else rows_like(value, num_rows[home], ties, generator)

    arguments = {}
    for name, (residency, value) in step.arguments.items():
        place = name.rpartition(".")[2]
        if isinstance(fact := fields.fact(place) if _is_fact(residency, place) else None, Tensor):
            value = fact
        elif type(value) is int and is_count(step, name, value):
            value = fact  # any other number is part of the plan
        elif isinstance(value, Tensor):
            value = sampled(residency, value)
        elif isinstance(value, Mapped):
            bias = None if value.bias is None else _alone(value.bias)
            value = Mapped(sampled(residency, value.x), _alone(value.weight), bias, value.shape)
        arguments[name] = Argument(residency, value)

    def aggregate(messages: Any) -> Tensor:
        out: Tensor = aggregator(messages, graph.dst, None, graph.num_dst, fields.node_dim)
        return out

    return step._replace(fields=fields, arguments=arguments, aggregate=aggregate, update=None)


def _is_fact(residency: Residency, place: str) -> bool:
    return residency is Residency.GIVEN and place in TOPOLOGY_NAMES


def _alone(value: Tensor) -> Tensor:
    """A tensor that no gradient flows on from."""
    return value.detach().requires_grad_(value.requires_grad)
