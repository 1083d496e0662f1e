"""Run a step as a plan: per-node work in PyTorch, per-edge work in kernels, forward and backward."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from functools import partial
from itertools import islice
from typing import Any, TypeVar, cast

import torch
from torch import Tensor

from mpnn.aggregate.aggregators import Aggregator
from mpnn.backends.run import chunked, own_rows, updates
from mpnn.backends.run.counts import counts_of, reciprocal_counts
from mpnn.backends.run.gradients import Gradients
from mpnn.backends.run.net import caught
from mpnn.backends.run.plans import Fused, MakeKernel, find_plan, numbers_now, tensors_of
from mpnn.backends.run.record import LISTENER, Ran
from mpnn.backends.run.trial import DistrustedError
from mpnn.backends.run.trial_of_step import believe_step
from mpnn.backends.run.updates import find_finish
from mpnn.backends.run.work import Work
from mpnn.borrowed import applied_outside_transforms, saved_as_they_are
from mpnn.graph.graph import Graph
from mpnn.native.gate import NotOrdinaryError
from mpnn.native.memory import is_spare
from mpnn.native.reach import is_single
from mpnn.native.row_blocks import has_several
from mpnn.native.toolchain import CompilerError
from mpnn.plan.autocast import without_autocast
from mpnn.plan.dropout import Seed, draw_seed
from mpnn.plan.homes import Home, feature_shape, shape_of
from mpnn.plan.plan import Plan
from mpnn.plan.rows import NotFusableError, Refused
from mpnn.plan.stems import Inputs, MappedRows
from mpnn.step.step import Step

R = TypeVar("R")


def run(step: Step, make: MakeKernel | None) -> Any:
    """Compute a step by its plan: with kernels, or a bounded number of edges at a time without.

    Raises:
        NotFusableError: the step has no plan; only all of its edges at once will do.
    """
    try:
        fused = find_plan(step, make)
        finish = find_finish(step, fused)
    except (NotFusableError, NotOrdinaryError):
        raise
    except Exception as error:  # of the search; those of tracing are remembered with the plan
        raise NotFusableError(caught(step, error)) from error
    if finish is None:
        return step.updated(_guarded(step, fused, compute))
    return updates.run(finish, step, lambda inner: _guarded(inner, find_plan(inner, make), reductions))


def _guarded(step: Step, fused: Fused, compute: Callable[[Step, Fused], R]) -> R:
    """Compute something by a step's plan; a plan that fails is not taken again."""
    try:
        return compute(step, fused)
    except NotOrdinaryError:  # these tensors, not this plan
        raise
    except NotFusableError as error:
        fused.give_up(str(error))
        raise
    except Exception as error:
        reason = caught(step, error)
        fused.give_up(reason)
        raise NotFusableError(reason) from error


def compute(step: Step, fused: Fused) -> Tensor:
    """What the nodes receive, by a plan.

    Raises:
        NotFusableError: its kernels are not believed.
    """
    reduced = reductions(step, fused)
    aggregator = cast(Aggregator, step.aggregator)
    if fused.plan.is_merged(aggregator):
        return reduced[0]
    return aggregator.merge(reduced, counts_of(step.fields.graph, reduced[0].dtype, reduced[0].dim()))


def reductions(step: Step, fused: Fused) -> list[Tensor]:
    """The reductions of a step's messages, by a plan, before the aggregator makes one tensor of them.

    Raises:
        NotFusableError: its kernels are not believed.
    """
    plan, graph = fused.plan, step.fields.graph
    inputs = [tensor for _, value in step.arguments.values() for tensor in tensors_of(value)]
    if plan.numbers:
        inputs += numbers_now(step, plan)
    with without_autocast(graph):
        stems = plan.stems if _in_blocks(fused, graph) and plan.stems is not None else plan.inputs
        given = plan.given(stems, inputs, step.message, cast(Aggregator, step.aggregator), graph.size)
        seed: Seed = draw_seed(graph.device) if plan.drops else 0
        ran = LISTENER.get()
        if ran is None:
            reduced = _reduced(step, fused, seed, given, stems.inputs)
        else:
            with Work() as work:
                reduced = _reduced(step, fused, seed, given, stems.inputs)
            ran.append(Ran(step, "plan", "", work, fused, _wanted(given, stems.inputs)))
    return plan.shared(reduced)


def _in_blocks(fused: Fused, graph: Graph) -> bool:
    """Whether the linear maps before a kernel are part of its step: they, and their gradients, in blocks."""
    return (
        fused.plan.stems is not None
        and fused.make is not None
        and graph.is_on_cpu
        and has_several(graph.size)
    )


def _wanted(given: Sequence[Tensor], made: Inputs | None) -> tuple[bool, ...]:
    """Which of a kernel's inputs need a gradient."""
    wanted = tuple([t.requires_grad for t in given])
    return wanted if made is None else made.wanted(wanted)


def _reduced(
    step: Step, fused: Fused, seed: Seed, given: Sequence[Tensor], made: Inputs | None
) -> list[Tensor]:
    if fused.make is not None and not isinstance(fused.program, Refused):
        try:
            return _by_kernels(step, fused, seed, given, made)
        except DistrustedError:
            raise
        except NotFusableError as error:  # not by this backend, say because a message is too wide
            fused.refused = Refused(str(error))
        except CompilerError as error:
            fused.make = None
            warn_once(error)
    return _in_chunks(step, fused, seed, given, made)


def _in_chunks(
    step: Step, fused: Fused, seed: Seed, given: Sequence[Tensor], made: Inputs | None
) -> list[Tensor]:
    wanted = _wanted(given, made) if torch.is_grad_enabled() else ()
    if ("chunks", wanted) not in fused.believed:
        believe_step(step, fused, ("chunks", wanted), compute)
    return chunked.run(fused.plan, step.fields.graph, seed, given if made is None else made(given))


def _by_kernels(
    step: Step, fused: Fused, seed: Seed, given: Sequence[Tensor], made: Inputs | None
) -> list[Tensor]:
    plan, graph = fused.plan, step.fields.graph
    wanted = _wanted(given, made)
    if True not in wanted or not torch.is_grad_enabled():
        kernel = fused.forward_kernel(save=False)
        if None not in fused.believed:
            believe_step(step, fused, None, compute)
        outputs = (
            kernel(graph, given, seed)
            if made is None
            else own_rows.run(kernel, graph, made.in_rows(given), seed)
        )
        return [outputs[k] for k in plan.positions]
    fused.forward_kernel(save=True)
    try:
        backward = fused.backward(wanted)
        fused.backward_kernels(backward)
    except NotFusableError as error:  # a gradient without a kernel: then both ways without
        fused.backwards[wanted] = Refused(str(error))
        return _in_chunks(step, fused, seed, given, made)
    if wanted not in fused.believed:
        believe_step(step, fused, wanted, compute)
    if made is not None:
        given, made = made.of_distinct(given)
    return list(_apply_rows(fused, graph, seed, backward.reads, made, step.message, *given))


_warned = False


def warn_once(error: CompilerError) -> None:
    """Say that the compiler failed, the first time."""
    global _warned
    if not _warned:
        _warned = True
        first = str(error).splitlines()[0]
        warnings.warn(f"mpnn goes on without compiled kernels: {first}.", RuntimeWarning, stacklevel=2)


class _Rows(torch.autograd.Function):
    """The per-edge program as one differentiable operation on per-node tensors.

    It computes the program's inputs from them, if they are `made` of them and not the same.
    """

    boxed_grads_call = True  # the gradients come as a list that may be emptied (PyTorch 2.12 and later)

    @staticmethod
    def forward(
        ctx: Any,
        fused: Fused,
        graph: Graph,
        seed: Seed,
        reads: tuple[bool, ...],
        made: Inputs | None,
        message: Callable[..., Any],
        *tensors: Tensor,
    ) -> tuple[Tensor, ...]:
        kernel = fused.forward_kernel(save=True)
        values: Sequence[Tensor | None] = tensors
        if made is None:  # as in most calls, which then have nothing to look for
            outputs = kernel(graph, tensors, seed)
        else:
            rows = made.in_rows(tensors)
            outputs = own_rows.run(kernel, graph, rows, seed)
            values = [own_rows.known(one) for one in rows]
        ctx.fused, ctx.graph, ctx.seed, ctx.made, ctx.message = fused, graph, seed, made, message
        # What the way back does not read, say a sum, is not kept, and may be written into by its reader.
        kept = [v if read else None for v, read in zip(values, reads, strict=True)]
        needed = [outputs[k] for k in fused.plan.needed_again]
        ctx.num_values, ctx.num_tensors = len(kept), 0 if made is None else len(tensors)
        ctx.save_for_backward(*kept, *needed, *tensors[: ctx.num_tensors])
        return tuple([outputs[k] for k in fused.plan.positions])

    @staticmethod
    def backward(ctx: Any, *received: Any) -> tuple[Any, ...]:
        gradients = received[0] if isinstance(received[0], list) else list(received)
        try:
            saved = list(ctx.saved_tensors)
        except RuntimeError:  # a result has been written into since, or what it was computed from
            saved = _with_results_again(ctx)
        ctx.maybe_clear_saved_tensors()  # not if the graph is retained
        end = len(saved) - ctx.num_tensors
        values, saved, tensors = saved[: ctx.num_values], saved[ctx.num_values : end], saved[end:]
        fused, graph, seed, made = ctx.fused, ctx.graph, ctx.seed, ctx.made
        wanted = tuple(ctx.needs_input_grad[6:])
        with without_autocast(graph):
            if not torch.is_grad_enabled() and all(map(is_single, gradients)):
                into, asked, read = None, wanted, values
                if made is not None:
                    into, asked = Gradients(made, tensors, wanted), made.wanted(wanted)
                    read = made.in_rows(tensors, values)
                    values.clear()
                try:
                    found = gradients_by_kernels(
                        fused, graph, seed, read, saved, gradients, asked, into, let_go=True
                    )
                    if into is not None:
                        found = into.with_others(found)
                    return (None, None, None, None, None, None, *found)
                except CompilerError as error:
                    warn_once(error)
                except NotFusableError:
                    pass  # some of the gradients have no kernel without the others
                except Exception as error:
                    if len(read) != len(fused.plan.homes):  # what they were made of is gone
                        raise
                    caught(ctx.message, error)
            if made is None:
                tensors = _with_those_not_kept(fused.plan, graph, values, wanted)
            found = fused.plan.differentiable_gradients(graph, seed, tensors, made, gradients, wanted)
            return (None, None, None, None, None, None, *found)


def _with_results_again(ctx: Any) -> list[Tensor | None]:
    """What was saved for the way back, with its results computed again: their reader may have changed them.

    A copy of each of them, as large as a result, would be dearer in all other calls.

    Raises:
        RuntimeError: what the results were computed from was changed as well.
    """
    end = ctx.num_values + len(ctx.fused.plan.needed_again)
    values, tensors = (saved_as_they_are(ctx, part) for part in (slice(ctx.num_values), slice(end, None)))
    fused, graph, made = ctx.fused, ctx.graph, ctx.made
    kernel = fused.forward_kernel(save=True)
    with torch.no_grad(), without_autocast(graph):
        if made is None:
            # What no gradient depends on, no result that the way back reads does either.
            given = _with_those_not_kept(fused.plan, graph, values, [False] * len(values))
            outputs = kernel(graph, given, ctx.seed)
        else:
            outputs = own_rows.run(kernel, graph, made.in_rows(tensors, values), ctx.seed)
    return [*values, *(outputs[k] for k in fused.plan.needed_again), *tensors]


def _with_those_not_kept(
    plan: Plan, graph: Graph, values: Sequence[Tensor | None], wanted: Sequence[bool]
) -> list[Tensor]:
    """The program's inputs, those that no gradient depends on as zeros."""
    num_rows = {Home.SRC: graph.num_src, Home.DST: graph.num_dst, Home.EDGE: graph.num_edges}
    found = []
    for value, node, home, want in zip(values, plan.hoisted.inputs, plan.homes, wanted, strict=True):
        if value is None:
            zero = torch.zeros((), dtype=node.meta["val"].dtype, device=graph.device)
            shape = (num_rows[home], *feature_shape(node)) if home in num_rows else shape_of(node)
            value = zero.expand(shape).requires_grad_(want)
        found.append(value)
    return found


# Past the part of `apply` that serves torch.func, half of its time: no plan runs there.
_apply_rows: Callable[..., tuple[Tensor, ...]] = applied_outside_transforms(_Rows)


def gradients_by_kernels(
    fused: Fused,
    graph: Graph,
    seed: Seed,
    values: Sequence[Tensor | MappedRows | None],
    saved: Sequence[Tensor],
    gradients: Sequence[Tensor | None],
    wanted: tuple[bool, ...],
    into: Gradients | None = None,
    let_go: bool = False,
) -> list[Tensor | None]:
    """The gradients of the wanted values, from those of the reductions and what these saved.

    What `into` takes of them is not returned. With `let_go` these are lists, which come back empty: what no
    kernel reads is freed before they run.

    Raises:
        NotFusableError: a gradient that has no kernel.
    """
    plan = fused.plan
    backward = fused.backward(wanted)
    kernels = fused.backward_kernels(backward)
    if let_go:
        for kernel in kernels:
            kernel.prepare(graph)  # which may fail, and then the other way still needs them
    numbers = _read_back(plan, graph, values, saved, gradients, let_go)
    num_rows = {Home.SRC: graph.num_src, Home.DST: graph.num_dst, Home.SHARED: 1, Home.EDGE: graph.num_edges}
    for k, outside in enumerate(backward.outside):
        value = numbers[k]
        if outside and isinstance(value, MappedRows):
            numbers[k] = value.made()
    inputs: Sequence[Tensor | MappedRows] = backward.hoisted.before(cast(Any, numbers), num_rows)
    if let_go:
        for tensors in (numbers, values, saved, gradients):
            cast(list[Any], tensors).clear()
    results: list[Tensor | None] = [None] * sum(wanted)
    totals: dict[int, Any] = {}
    asked = [] if into is None else [k for k, want in enumerate(wanted) if want]
    for number, (kernel, targets) in enumerate(zip(kernels, backward.targets, strict=True)):
        made: Sequence[Tensor | None]
        if into is None:
            made = kernel(graph, cast(Any, inputs), seed)
        else:
            places = [-1 if target.is_total else asked[target.place] for target in targets]
            made = into.run(kernel, places, graph, inputs, seed)
            own_rows.let_go(inputs, [later.program for later in kernels[number + 1 :]])
        for target, tensor in zip(targets, made, strict=True):
            if target.is_total:
                totals[target.place] = tensor
            else:
                results[target.place] = tensor
    if backward.shared:
        late = backward.after([totals[k] for k in range(len(totals))], cast(Any, inputs))
        for place, tensor in zip(backward.shared, late, strict=True):
            results[place] = tensor
    found = iter(results)
    return [next(found) if want else None for want in wanted]


def _read_back(
    plan: Plan,
    graph: Graph,
    values: Sequence[Tensor | MappedRows | None],
    saved: Sequence[Tensor],
    gradients: Sequence[Tensor | None],
    let_go: bool,
) -> list[Tensor | MappedRows | None]:
    """What the way back reads: the values, and of each reduction what its gradient is computed from."""
    numbers: list[Tensor | MappedRows | None] = list(values)
    remaining = iter(saved)
    program = plan.kernel_program
    for k, output in enumerate(program.outputs):
        is_ours = let_go and is_spare(gradients, k)
        gradient = gradients[k]
        if gradient is None:
            shape = (graph.num_dst, *output.value.shape)
            gradient = torch.zeros(shape, dtype=output.dtype, device=graph.device)
        kept = [*islice(remaining, 1 + output.saves)] if output.saves else []
        numbers += output.reduction.at_nodes(gradient, kept, partial(reciprocal_counts, graph), is_ours)
    return numbers
