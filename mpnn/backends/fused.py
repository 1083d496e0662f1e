"""Run a step as a plan: per-node work in PyTorch, per-edge work in kernels, forward and backward."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Any, cast

import torch
from torch import Tensor

from mpnn.aggregate import Aggregator
from mpnn.backends import chunked
from mpnn.backends.autocast import without_autocast
from mpnn.backends.plans import Fused, MakeKernel, find_plan
from mpnn.backends.record import Ran, listener
from mpnn.backends.work import Work
from mpnn.graph import Graph
from mpnn.native.compiler import CompilerError
from mpnn.plan.adjoint import SAVED
from mpnn.plan.dropout import Seed, draw_seed
from mpnn.plan.homes import Home, NotFusableError
from mpnn.plan.ir import Program
from mpnn.plan.plan import Plan
from mpnn.step import Step


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
        return [made[k] for k in plan.positions]
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


class _Rows(torch.autograd.Function):
    """The per-edge program as one differentiable operation on per-node tensors."""

    boxed_grads_call = True  # the gradients come as a list that may be emptied (PyTorch 2.12 and later)

    @staticmethod
    def forward(ctx: Any, fused: Fused, graph: Graph, seed: Seed, *values: Tensor) -> tuple[Tensor, ...]:
        made = fused.forward_kernel(save=True)(graph, values, seed)
        ctx.fused, ctx.graph, ctx.seed = fused, graph, seed
        # A sum is not needed again, and may be written into by its reader.
        ctx.save_for_backward(*values, *[made[k] for k in fused.plan.needed_again])
        ctx.num_values = len(values)
        return tuple([made[k] for k in fused.plan.positions])

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
    kernels = fused.backward_kernels(backward)
    if let_go:
        for kernel in kernels:
            kernel.prepare(graph)  # once this is done, nobody will have to do without them
    numbers = _read_back(plan, graph, values, saved, gradients)
    num_rows = {Home.SRC: graph.num_src, Home.DST: graph.num_dst, Home.SHARED: 1, Home.EDGE: graph.num_edges}
    inputs = backward.hoisted.before(numbers, num_rows)
    if let_go:
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
