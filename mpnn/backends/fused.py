"""Run a step as a plan: per-node work in PyTorch, per-edge work in kernels, forward and backward."""

from __future__ import annotations

import warnings
from collections import OrderedDict
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass, field
from threading import Lock
from typing import Any, Protocol, cast

import torch
from torch import Tensor

from mpnn.aggregate import Aggregator, Custom, Several
from mpnn.backends import chunked
from mpnn.backends.autocast import autocast_type, without_autocast
from mpnn.backends.record import Ran, listener
from mpnn.backends.work import Work
from mpnn.graph import Graph
from mpnn.native.compiler import CompilerError
from mpnn.parameters import TOPOLOGY_NAMES, Residency
from mpnn.plan.adjoint import SAVED
from mpnn.plan.capture import fetch, fingerprint, same_tensor
from mpnn.plan.dropout import Seed, draw_seed
from mpnn.plan.homes import Home, NotFusableError
from mpnn.plan.ir import Program
from mpnn.plan.plan import Backward, Plan, make_plan
from mpnn.plan.row_softmax import NumRows, calls_softmax
from mpnn.step import Step

__all__ = ["NotFusableError", "find_plan", "run", "trace_count"]


class Kernel(Protocol):
    """A program made runnable by a backend."""

    language: str

    def prepare(self, graph: Graph) -> None: ...

    def __call__(self, graph: Graph, inputs: Sequence[Tensor], seed: Seed = 0) -> list[Tensor]: ...


MakeKernel = Callable[..., Kernel]

MOST_PLANS = 1024


@dataclass
class Fused:
    """A plan and its kernels."""

    plan: Plan
    make: MakeKernel | None
    kernels: dict[Hashable, list[Kernel]] = field(default_factory=dict)

    def forward_kernel(self, save: bool) -> Kernel:
        """The kernel of the forward pass."""
        if save not in self.kernels:
            self.kernels[save] = [cast(MakeKernel, self.make)(self.plan.program, save=save)]
        return self.kernels[save][0]

    def backward_kernels(self, backward: Backward) -> list[Kernel]:
        """The kernels of a backward pass."""
        key = backward.wanted
        if key not in self.kernels:
            self.kernels[key] = [
                cast(MakeKernel, self.make)(program, save=False) for program in backward.programs
            ]
        return self.kernels[key]


_plans: OrderedDict[Hashable, list[Fused] | str] = OrderedDict()
_lock = Lock()
_traced = 0


def trace_count() -> int:
    """How many messages have been traced in this process; the numbers of nodes and edges never add to it."""
    return _traced


def find_plan(step: Step, make: MakeKernel | None) -> Fused:
    """The plan of a step, from the cache or traced now.

    Raises:
        NotFusableError: the step cannot become a kernel.
    """
    global _traced
    aggregator = step.aggregator
    if not fusible(aggregator):
        raise NotFusableError(f"the aggregator {aggregator} is not made of primitive reductions")
    rank = _rank(step)
    key = (make, _key(step), rank)
    fused = _known_plan(key, step)
    if fused is not None:
        return fused
    with _lock:
        fused = _known_plan(key, step)  # another thread may have been faster
        if fused is not None:
            return fused
        try:
            fused = Fused(_make(step), make)
            if rank and any(n.meta["val"].dim() != rank for n in fused.plan.hoisted.outputs):
                raise NotFusableError(
                    f"messages without {rank} dimensions have no dimension {-rank} of edges"
                )
        except NotFusableError as error:
            _plans[key] = str(error)
            raise
        finally:
            _traced += 1
        plans = cast(list[Fused], _plans.setdefault(key, []))
        plans.append(fused)
        while len(_plans) > MOST_PLANS:
            _plans.popitem(last=False)
    return fused


def _rank(step: Step) -> int:
    """How many dimensions every message must have for the nodes to be the first of them; 0 if it is anyhow.

    Raises:
        NotFusableError: the nodes are in another dimension.
    """
    node_dim = step.fields.node_dim
    if node_dim == 0:
        return 0
    values = [value for residency, value in step.arguments.values() if residency is not Residency.GIVEN]
    if node_dim > 0 or any(isinstance(v, Tensor) and v.dim() != -node_dim for v in values):
        raise NotFusableError(f"node_dim is {node_dim}: kernels need the nodes in dimension 0")
    return -node_dim


def _known_plan(key: Hashable, step: Step) -> Fused | None:
    known = _plans.get(key)
    if isinstance(known, str):
        raise NotFusableError(known)
    for fused in known or ():
        if _captures_fit(fused.plan, step):
            return fused
    return None


def fusible(aggregator: Any) -> bool:
    """Whether an aggregator is made of primitive reductions."""
    if isinstance(aggregator, Several):
        return all(map(fusible, aggregator.aggrs))
    return isinstance(aggregator, Aggregator) and not isinstance(aggregator, Custom)


def _key(step: Step) -> Hashable:
    num_edges = step.fields.graph.num_edges
    arguments: list[Hashable] = []
    for name, (residency, value) in step.arguments.items():
        if isinstance(value, Tensor):
            home = home_of(residency, value, num_edges)
            shape = value.shape if home is Home.SHARED else value.shape[1:]
            arguments.append((name, home, shape, value.dtype, value.device))
        elif _is_count(step, name, value):
            arguments.append((name, NumRows))
        elif isinstance(value, bool | int | float | str | None):
            arguments.append((name, type(value), value))
        else:
            raise NotFusableError(f"the argument {name!r} is a {type(value).__name__}")
    autocast = autocast_type(step.fields.graph)
    return (fingerprint(step.message, cast(Aggregator, step.aggregator)), tuple(arguments), autocast)


def _is_count(step: Step, name: str, value: Any) -> bool:
    """Whether an argument is a number of nodes that a message only passes on to a softmax."""
    return type(value) is int and name.rpartition(".")[2] in TOPOLOGY_NAMES and calls_softmax(step.message)


def home_of(residency: Residency, value: Tensor, num_edges: int) -> Home:
    """Where the rows of an argument live."""
    if residency is Residency.DST:
        return Home.DST
    if residency is Residency.SRC:
        return Home.SRC
    # One row per edge, or shared by all? With a single edge both readings of a row give the same numbers.
    return Home.EDGE if value.dim() > 0 and value.size(0) == num_edges else Home.SHARED


def _captures_fit(plan: Plan, step: Step) -> bool:
    for path, shape, dtype in plan.captured:
        tensor = fetch(path, step.message, cast(Aggregator, step.aggregator))
        if tensor.shape != shape or tensor.dtype != dtype:
            return False
    aggregator = cast(Aggregator, step.aggregator)
    return all(same_tensor(paths, step.message, aggregator) for paths in plan.aliases)


def _tensor_arguments(step: Step) -> list[tuple[str, Home, Tensor]]:
    num_edges = step.fields.graph.num_edges
    return [
        (name, home_of(residency, value, num_edges), value)
        for name, (residency, value) in step.arguments.items()
        if isinstance(value, Tensor)
    ]


def _make(step: Step) -> Plan:
    tensors = _tensor_arguments(step)
    names = [name for name, *_ in tensors]
    fixed = {
        name: NumRows() if _is_count(step, name, value) else value
        for name, (_, value) in step.arguments.items()
        if not isinstance(value, Tensor)
    }
    placed = [(home, value) for _, home, value in tensors]
    autocast = autocast_type(step.fields.graph)
    with without_autocast(step.fields.graph):
        return make_plan(step.message, cast(Aggregator, step.aggregator), names, placed, fixed, autocast)


def run(step: Step, make: MakeKernel | None) -> Tensor:
    """Compute a step by its plan: with kernels, or a bounded number of edges at a time without.

    Raises:
        NotFusableError: the step has no plan; only all of its edges at once will do.
    """
    fused = find_plan(step, make)
    plan, graph = fused.plan, step.fields.graph
    aggregator = cast(Aggregator, step.aggregator)
    inputs = [value for _, value in step.arguments.values() if isinstance(value, Tensor)]
    with without_autocast(graph):
        values = plan.values(inputs, step.message, aggregator, graph.size)
        seed: Seed = draw_seed(graph.device) if plan.drops else 0
        ran = listener()
        if ran is None:
            reduced = _reduced(fused, graph, seed, values)
        else:
            with Work() as work:
                reduced = _reduced(fused, graph, seed, values)
            ran.append(Ran(step, "plan", "", work, fused, tuple([v.requires_grad for v in values])))
    shared = plan.shared(reduced)
    if plan.kinds == ["mean"] or type(aggregator).merge is Aggregator.merge:
        return shared[0]
    return aggregator.merge(shared, counts_of(graph, shared[0]))


def _reduced(fused: Fused, graph: Graph, seed: Seed, values: Sequence[Tensor]) -> list[Tensor]:
    plan = fused.plan
    if fused.make is None or isinstance(plan.program, str):
        return chunked.run(plan, graph, seed, values)
    try:
        return _by_kernels(fused, graph, seed, values)
    except NotFusableError as error:  # not by this backend, say because a message is too wide
        plan.program = str(error)
    except CompilerError as error:
        fused.make = None
        warn_once(error)
    return chunked.run(plan, graph, seed, values)


def _by_kernels(fused: Fused, graph: Graph, seed: Seed, values: Sequence[Tensor]) -> list[Tensor]:
    plan = fused.plan
    wanted = tuple([v.requires_grad for v in values])
    if True not in wanted or not torch.is_grad_enabled():
        made = fused.forward_kernel(save=False)(graph, values, seed)
        return [made[k] for k in positions(plan)]
    fused.forward_kernel(save=True)
    try:
        fused.backward_kernels(plan.backward(wanted))
    except NotFusableError as error:  # a gradient without a kernel: then both ways without
        plan.backwards[wanted] = str(error)
        return chunked.run(plan, graph, seed, values)
    return list(cast(Any, _Rows.apply)(fused, graph, seed, *values))


_warned = False


def warn_once(error: CompilerError) -> None:
    """Say that the compiler failed, the first time."""
    global _warned
    if not _warned:
        _warned = True
        first = str(error).splitlines()[0]
        warnings.warn(f"mpnn goes on without compiled kernels: {first}.", RuntimeWarning, stacklevel=2)


def counts_of(graph: Graph, like: Tensor) -> Tensor:
    """How many messages each node gets, at least 1, in the type and the rank of a reduction."""
    key = ("message counts", like.dtype)
    counts = graph.memo(key, lambda: graph.in_degree.clamp(min=1).to(like.dtype))
    return counts.view(-1, *[1] * (like.dim() - 1))


def _reciprocal_counts(graph: Graph, dtype: torch.dtype) -> Tensor:
    return graph.memo(("reciprocal counts", dtype), lambda: 1 / graph.in_degree.clamp(min=1).to(dtype))


def positions(plan: Plan) -> list[int]:
    """Where each reduction stands among a kernel's outputs, some of which are followed by what they save."""
    positions, at = [], 0
    for kind in plan.kinds:
        positions.append(at)
        at += 1 + SAVED[kind]
    return positions


def _needed_again(plan: Plan) -> list[bool]:
    """Which of a kernel's outputs the backward pass reads."""
    return [needed for kind in plan.kinds for needed in ([True, True] if SAVED[kind] else [False])]


class _Rows(torch.autograd.Function):
    """The per-edge program as one differentiable operation on per-node tensors."""

    boxed_grads_call = True  # the gradients come as a list that may be emptied (PyTorch 2.12 and later)

    @staticmethod
    def forward(ctx: Any, fused: Fused, graph: Graph, seed: Seed, *values: Tensor) -> tuple[Tensor, ...]:
        made = fused.forward_kernel(save=True)(graph, values, seed)
        ctx.fused, ctx.graph, ctx.seed = fused, graph, seed
        # A sum is not needed again, and may be written into by its reader.
        needed = [m for m, keep in zip(made, _needed_again(fused.plan), strict=True) if keep]
        ctx.save_for_backward(*values, *needed)
        ctx.num_values = len(values)
        return tuple(made[k] for k in positions(fused.plan))

    @staticmethod
    def backward(ctx: Any, *received: Any) -> tuple[Any, ...]:
        gradients = received[0] if isinstance(received[0], list) else list(received)
        saved = list(ctx.saved_tensors)
        ctx.maybe_clear_saved_tensors()  # not if the graph is retained
        values, saved = saved[: ctx.num_values], saved[ctx.num_values :]
        fused, graph, seed = ctx.fused, ctx.graph, ctx.seed
        wanted = tuple(ctx.needs_input_grad[3:])
        with without_autocast(graph):
            if not torch.is_grad_enabled():
                try:
                    found = gradients_by_kernels(
                        fused, graph, seed, values, saved, gradients, wanted, let_go=True
                    )
                    return (None, None, None, *found)
                except CompilerError as error:
                    warn_once(error)
                except NotFusableError:
                    pass  # some of the gradients have no kernel without the others
            found = fused.plan.differentiable_gradients(graph, seed, values, gradients, wanted)
            return (None, None, None, *found)


def gradients_by_kernels(
    fused: Fused,
    graph: Graph,
    seed: Seed,
    values: Sequence[Tensor],
    saved: Sequence[Tensor],
    gradients: Sequence[Tensor | None],
    wanted: tuple[bool, ...],
    let_go: bool = False,
) -> list[Tensor | None]:
    """The gradients of the wanted values, from those of the reductions and what these saved.

    With `let_go` these are lists, which come back empty: what no kernel reads is freed before they run.

    Raises:
        NotFusableError: a gradient that has no kernel.
    """
    plan = fused.plan
    backward = plan.backward(wanted)
    numbers = _read_back(plan, graph, values, saved, gradients)
    num_rows = {Home.SRC: graph.num_src, Home.DST: graph.num_dst, Home.SHARED: 1, Home.EDGE: graph.num_edges}
    inputs = backward.hoisted.before(numbers, num_rows)
    kernels = fused.backward_kernels(backward)
    if let_go:
        for kernel in kernels:
            kernel.prepare(graph)  # once this is done, nobody will have to do without them
        for tensors in (numbers, values, saved, gradients):
            cast(list[Any], tensors).clear()
    results: list[Tensor | None] = [None] * sum(wanted)
    totals: dict[int, Tensor] = {}
    for kernel, targets in zip(kernels, backward.targets, strict=True):
        for target, tensor in zip(targets, kernel(graph, inputs, seed), strict=True):
            if target >= 0:
                results[target] = tensor
            else:
                totals[-1 - target] = tensor
    if backward.shared:
        late = backward.after([totals[k] for k in range(len(totals))], inputs)
        for target, tensor in zip(backward.shared, late, strict=True):
            results[target] = tensor
    found = iter(results)
    return [next(found) if want else None for want in wanted]


def _read_back(
    plan: Plan,
    graph: Graph,
    values: Sequence[Tensor],
    saved: Sequence[Tensor],
    gradients: Sequence[Tensor | None],
) -> list[Tensor]:
    """What the way back reads: the values, and what `adjoint.READ` counts for each reduction."""
    numbers = list(values)
    remaining = iter(saved)
    program = cast(Program, plan.program)
    for output, gradient in zip(program.outputs, gradients, strict=True):
        if gradient is None:
            shape = (graph.num_dst, *output.value.shape)
            gradient = values[0].new_zeros(shape, dtype=output.dtype)
        numbers.append(gradient)
        if output.kind == "mean":
            numbers.append(_reciprocal_counts(graph, gradient.dtype))
        elif SAVED[output.kind]:
            aggregate = next(remaining)
            kept = next(remaining)
            numbers += [aggregate, kept if output.kind == "softmax" else kept.to(aggregate.dtype)]
    return numbers
