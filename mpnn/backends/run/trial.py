"""A kernel is checked before it is believed.

The first time that a plan's kernels are to run on a machine, they run on a small odd graph beside `eager`:
results, and the gradients that were asked for. The graph has repeated edges, self loops, nodes without edges,
messages that tie, and a row longer than the block of edges that a kernel takes at once; the features are rows
of the caller's, each of another size, so that they are numbers that the message can take. The verdict stays
beside the compiled files. A plan that fails has no kernel: its steps run without, after one warning.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import warnings
from collections.abc import Callable, Sequence
from contextvars import ContextVar
from dataclasses import replace
from math import isfinite
from threading import RLock
from typing import Any, NamedTuple, cast

import torch
from torch import Tensor, fx, nn

from mpnn.backends import eager
from mpnn.backends.run.autocast import casting
from mpnn.backends.run.net import title
from mpnn.backends.run.plans import Fused
from mpnn.backends.run.record import unseen
from mpnn.graph.graph import Graph
from mpnn.native.compiler import CompilerError, cache_folder
from mpnn.native.gpu import interprets
from mpnn.plan.front import home_of, is_count
from mpnn.plan.hoist import Hoisted
from mpnn.plan.homes import Home, lives_at, shape_of
from mpnn.plan.rows import NotFusableError
from mpnn.step.fields import Argument, Mapped
from mpnn.step.parameters import TOPOLOGY_NAMES, Residency
from mpnn.step.step import Step
from mpnn.strict import is_strict

Compute = Callable[[Step, Fused], Tensor]
# Of which of a kernel's inputs a gradient is asked for; None where there is no way back; and with "chunks"
# where there is no kernel, and the plan runs on some edges at a time in PyTorch.
Way = tuple[bool, ...] | tuple[str, tuple[bool, ...]] | None


class DistrustedError(NotFusableError):
    """The kernels of a plan give other numbers than `eager`."""


# Row 1 has more edges than a kernel takes at once; two edges are there twice; nodes 3 and 6 send nothing, 2,
# 6 and 7 receive nothing; 4 sends to itself.
_SRC = [0, 1, 2, 4, 5, 0, 0, 1, 4, 5, 2, 0, 4, 5, 5, 2, 4, 4, 1, 0, 5, 2, 1]
_DST = [1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 0, 0, 0, 0, 4, 4, 4, 5, 5, 5, 3, 3]
_NUM_SRC, _NUM_DST = 7, 8
_TWINS = (0, 5)  # rows that are the same, so that messages of two edges tie
_EDITION = "2"  # of the trial: verdicts of another are not read
_TOLERANCE = {torch.float64: 1e-6, torch.float32: 1e-3}
_IN_HALF = 0.15  # of sums that PyTorch rounds at every message

_on_trial: ContextVar[bool] = ContextVar("mpnn_trial", default=False)
_lock = RLock()


def believe(step: Step, fused: Fused, way: Way, compute: Compute) -> None:
    """Let the kernels of a plan be believed, or not.

    Args:
        step: which is about to run on them.
        fused: the plan and its kernels.
        way: which of them it is about to run on.
        compute: runs a step by a plan.

    Raises:
        DistrustedError: they give other numbers than `eager`.
    """
    if _on_trial.get() or (fused.language == "Triton" and interprets()):
        return
    with _lock:
        if way in fused.believed:
            return
        verdict = _Verdict(fused, way)
        fault = verdict.read()
        if fault is None:
            token = _on_trial.set(True)
            try:
                with unseen():
                    fault = _fault(step, fused, compute)
            finally:
                _on_trial.reset(token)
            if fault is not None:
                verdict.write(fault)
        if fault:
            raise DistrustedError(_distrusted(step, fault))
        fused.believed.add(way)


def _distrusted(step: Step, fault: str) -> str:
    reason = f"the kernel of {title(step)} failed its trial: {fault}"
    if is_strict():
        raise AssertionError(reason)
    warnings.warn(
        f"mpnn goes on without a kernel for {title(step)}, which failed its trial ({fault}): results are "
        "right, and slower. Please report it with the code of the message.",
        RuntimeWarning,
        stacklevel=2,
    )
    return reason


# The trial ----------------------------------------------------------------------------------------------


def _fault(step: Step, fused: Fused, compute: Compute) -> str | None:
    """How the numbers of a plan differ from those of `eager`, or ""; None if its kernels cannot be made."""
    faults = ""
    # Where the messages of two edges tie, their bits decide who gets the gradient: those of a product of
    # matrices in PyTorch may depend on the row. So a fault counts if it is there without ties, too.
    graded = torch.is_grad_enabled()  # leaving inference mode turns gradients on
    for ties in (True, False):
        trial = _on_small_graph(step, ties)
        with torch.inference_mode(False), torch.set_grad_enabled(graded):
            try:
                found = _numbers(trial, lambda one: compute(one, fused), fused)
            except (NotFusableError, CompilerError):
                return None  # the step itself goes another way, too
            wanted = _numbers(trial, _plainly(fused, compute), fused)
        scale = _scale([t for _, t in (*_sources(trial, fused), *wanted)], fused.autocast)
        differences = [_difference(*ours, w, scale) for ours, (_, w) in zip(found, wanted, strict=True)]
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


class _Scale(NamedTuple):
    """The largest difference allowed: of the numbers, and of what is 0 but for rounding."""

    relative: float
    absolute: float


def _scale(tensors: Sequence[Tensor], autocast: torch.dtype | None) -> _Scale:
    """By the coarsest type in which a step computes, and its largest number.

    A variance of equal numbers is 0 but for the rounding of their squares.
    """
    floating = [t.detach() for t in tensors if t.is_floating_point()]
    types = {t.dtype for t in floating} | ({autocast} if autocast is not None else set())
    coarsest = max(types, key=lambda dtype: torch.finfo(dtype).eps, default=torch.float64)
    sizes = [abs(float(end)) for t in floating if t.numel() for end in t.aminmax()]
    largest = max([1.0, *filter(isfinite, sizes)])
    return _Scale(_TOLERANCE.get(coarsest, _IN_HALF), 64 * torch.finfo(coarsest).eps * largest**2)


def _difference(name: str, found: Tensor, wanted: Tensor, scale: _Scale) -> str:
    """In words, or ""."""
    if found.shape != wanted.shape or found.dtype != wanted.dtype:
        form = f"{found.dtype} {list(found.shape)}, not {wanted.dtype} {list(wanted.shape)}"
        return f"{name} is {form}"
    a, b = (t.float() if t.itemsize < 4 else t for t in (found, wanted))
    finite = a.isfinite() & b.isfinite()
    same = torch.where(finite, True, (a == b) | (a.isnan() & b.isnan()))
    if not same.all():
        return f"{name} is not finite elsewhere"
    off, size = ((torch.where(finite, t, 0.0)).abs().amax() if t.numel() else 0.0 for t in (a - b, b))
    return f"{name} is off by {float(off):.3g}" if off > scale.relative * size + scale.absolute else ""


# On a small graph ---------------------------------------------------------------------------------------


def _on_small_graph(step: Step, ties: bool) -> Step:
    """The same step with other rows, on the graph above."""
    graph, num_edges = _small_graph(step.fields.graph, ties), step.fields.graph.num_edges
    fields, aggregator = step.fields.on(graph), cast(Any, step.aggregator)
    generator = torch.Generator().manual_seed(0)
    num_rows = {Home.SRC: graph.num_src, Home.DST: graph.num_dst, Home.EDGE: graph.num_edges}

    def sampled(residency: Residency, value: Tensor) -> Tensor:
        home = home_of(residency, value, num_edges)
        return _alone(value) if home is Home.SHARED else _rows(value, num_rows[home], ties, generator)

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


def _small_graph(like: Graph, ties: bool) -> Graph:
    """The graph above; without `ties` no edge is there twice."""
    pairs = list(zip(_SRC, _DST, strict=True))
    edges = torch.tensor(pairs if ties else sorted(set(pairs)), device=like.device).T
    return Graph(edges, num_nodes=(_NUM_SRC, _NUM_DST) if like.is_bipartite else _NUM_DST)


def _rows(value: Tensor, num_rows: int, ties: bool, generator: torch.Generator) -> Tensor:
    """As many rows, each one of those of a tensor in another size."""
    if not value.size(0):
        value = value.new_zeros(1, *value.shape[1:])
    picked = value.detach()[torch.arange(num_rows, device=value.device) % value.size(0)]
    if value.is_floating_point():
        drawn = torch.rand(picked.shape, generator=generator, device="cpu").to(picked)
        picked = torch.where(picked == 0, 0.5 * drawn, picked * (0.75 + 0.5 * drawn))
    if ties:
        picked[_TWINS[1]] = picked[_TWINS[0]]
    return picked.requires_grad_(value.requires_grad)


def _alone(value: Tensor) -> Tensor:
    """A tensor that no gradient flows on from."""
    return value.detach().requires_grad_(value.requires_grad)


# What is remembered -------------------------------------------------------------------------------------


class _Verdict:
    """What a trial found, beside the compiled files: by the programs, and by what is computed around them."""

    def __init__(self, fused: Fused, way: Way) -> None:
        self._path = None
        folder = cache_folder()
        if folder is not None and fused.language == "C" and (way is None or way[:1] != ("chunks",)):
            described = _described(fused, cast(tuple[bool, ...] | None, way)).encode()
            self._path = folder / f"{hashlib.sha256(described).hexdigest()[:32]}.trial"

    def read(self) -> str | None:
        """The fault that was found, "" if none was, None where there was no trial."""
        try:
            return None if self._path is None else self._path.read_text()
        except (OSError, UnicodeDecodeError):
            return None

    def write(self, fault: str) -> None:
        """Keep it, where that can be done."""
        if self._path is not None:
            with contextlib.suppress(OSError):
                beside = self._path.with_suffix(f".{os.getpid()}")
                beside.write_text(fault)
                beside.replace(self._path)


def _described(fused: Fused, wanted: tuple[bool, ...] | None) -> str:
    """All that the numbers of a plan follow from."""
    plan = fused.plan
    parts = [_EDITION, torch.__version__, repr(plan.reductions), _operations(plan.hoisted)]
    kernels = [fused.forward_kernel(save=wanted is not None)]
    if wanted is not None:
        backward = fused.backward(wanted)
        parts.append(_operations(backward.hoisted))
        kernels += fused.backward_kernels(backward)
    return "\n".join([*parts, *(cast(Any, kernel).identity() for kernel in kernels)])


def _operations(hoisted: Hoisted) -> str:
    return "\n".join(map(_operation, [*hoisted.moved, *hoisted.core, *hoisted.inputs]))


def _operation(node: fx.Node) -> str:
    return f"{node.name} = {node.target}{node.args}{node.kwargs} {shape_of(node)} {lives_at(node).value}"
