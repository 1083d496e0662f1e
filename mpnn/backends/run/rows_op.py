"""The per-edge program as an operation of PyTorch, for functions that `torch.compile` or `torch.export` made.

Everything that it needs is among its arguments: tensors, numbers, and the program as text. So a compiled
function that was saved runs in any process that has this package.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from itertools import accumulate, islice
from typing import Any

import torch
from torch import Tensor

from mpnn.backends.c.kernel import CKernel
from mpnn.backends.run import chunked
from mpnn.backends.run.fused import gradients_by_kernels, warn_once
from mpnn.backends.run.net import caught
from mpnn.backends.run.plans import Fused, MakeKernel
from mpnn.backends.run.trial import DistrustedError
from mpnn.backends.run.trial_of_program import believe_program
from mpnn.borrowed import saved_as_they_are
from mpnn.graph.adjacency import graph_of
from mpnn.graph.graph import Graph
from mpnn.native.compiler import has_compiler
from mpnn.native.gpu import has_triton
from mpnn.native.toolchain import CompilerError
from mpnn.plan.dropout import Seed
from mpnn.plan.homes import feature_shape
from mpnn.plan.plan import Plan
from mpnn.plan.rows import NotFusableError, Refused
from mpnn.plan.text import plan_from_text
from mpnn.plan.untraced import untraced

WHAT = "a message in a compiled function"


@functools.lru_cache(maxsize=1024)
def fused_of(program: str, device: torch.device) -> Fused:
    """The plan of a text, and its kernels for tensors on a device."""
    with untraced():
        return Fused(plan_from_text(program, device), kernels_for(device))


def kernels_for(device: torch.device) -> MakeKernel | None:
    """What makes kernels on a device, if anything here does."""
    if device.type == "cpu":
        return CKernel if has_compiler() else None
    if device.type != "cuda" or not has_triton():
        return None
    from mpnn.backends.triton.kernel import TritonKernel

    return TritonKernel


@torch.library.custom_op("mpnn::rows", mutates_args=())
def rows(
    values: Sequence[Tensor],
    edge_index: Tensor,
    num_src: int,
    num_dst: int,
    program: str,
    seed: Tensor | None,
    save: bool,
) -> list[Tensor]:
    """Run a program over all rows of a graph.

    Args:
        values: what it reads, one row per source, destination or edge, or shared.
        edge_index: `[2, num_edges]` int64.
        num_src: how many nodes can send.
        num_dst: how many nodes can receive.
        program: as `plan_to_text` wrote it.
        seed: one number, which decides the dropout in the message.
        save: whether there will be a backward pass.

    Returns:
        The reductions `[num_dst, ...]`; all but sums are followed by what the backward pass reads again.
    """
    fused, graph = fused_of(program, edge_index.device), graph_of(edge_index, (num_src, num_dst))
    plan, drawn = fused.plan, _drawn(seed)
    if fused.make is not None and not isinstance(fused.program, Refused):
        try:
            kernel = fused.forward_kernel(save)
            with untraced():
                believe_program(fused, WHAT, graph, values, None, save)
            made = kernel(graph, values, drawn)
            # What is not saved is one empty tensor, and an operation returns each of its tensors once.
            return made if save else [t if t.numel() else torch.empty_like(t) for t in made]
        except CompilerError as error:
            fused.make = None
            warn_once(error)
        except NotFusableError as error:  # not by this backend, say because a message is too wide
            fused.refused = Refused(str(error))
        except Exception as error:
            fused.make = None
            caught(WHAT, error)
    made = [values[0].new_empty(shape, dtype=dtype) for shape, dtype in _forms(fused, num_dst, save)]
    for k, reduced in zip(places(plan), chunked.reduce(plan, graph, drawn, values), strict=True):
        made[k] = reduced
    return made


@rows.register_fake
def _(
    values: Sequence[Tensor],
    edge_index: Tensor,
    num_src: int,
    num_dst: int,
    program: str,
    seed: Tensor | None,
    save: bool,
) -> list[Tensor]:
    forms = _forms(fused_of(program, values[0].device), num_dst, save)
    return [values[0].new_empty(shape, dtype=dtype) for shape, dtype in forms]


def _drawn(seed: Tensor | None) -> Seed:
    """The seed of dropout as kernels take it: from a GPU the host does not read it."""
    if seed is None:
        return 0
    return int(seed) if seed.device.type == "cpu" else seed


def places(plan: Plan) -> list[int]:
    """Where each reduction stands among what `rows` returns."""
    return list(accumulate((1 + one.saves for one in plan.reductions[:-1]), initial=0))


def _forms(fused: Fused, num_dst: int, save: bool) -> list[tuple[tuple[int, ...], torch.dtype]]:
    """Shape and type of all that `rows` returns."""
    forms = []
    nodes = iter(fused.plan.core.results)
    for reduction in fused.plan.reductions:
        value = saved = next(nodes)
        dtype = value.meta["val"].dtype
        for saved in islice(nodes, reduction.arity - 1):
            dtype = torch.promote_types(dtype, saved.meta["val"].dtype)
        forms.append(((num_dst, *feature_shape(value)), dtype))
        wide = torch.float64 if dtype == torch.float64 else torch.float32
        forms += [((num_dst, *feature_shape(saved)) if save else (0,), wide)] * reduction.saves
    return forms


@torch.library.custom_op("mpnn::rows_backward", mutates_args=())
def rows_backward(
    received: Sequence[Tensor],
    values: Sequence[Tensor],
    saved: Sequence[Tensor],
    edge_index: Tensor,
    num_src: int,
    num_dst: int,
    program: str,
    seed: Tensor | None,
    wanted: Sequence[bool],
) -> list[Tensor]:
    """The gradients of the wanted values, from those of the reductions.

    `saved` are the reductions that are no sums, each followed by what the forward pass kept for it.
    """
    fused, graph = fused_of(program, edge_index.device), graph_of(edge_index, (num_src, num_dst))
    with untraced():
        found = _gradients(fused, graph, _drawn(seed), values, saved, received, tuple(wanted))
    pairs = zip(values, found, wanted, strict=True)
    return [torch.zeros_like(v) if gradient is None else gradient for v, gradient, want in pairs if want]


def _gradients(
    fused: Fused,
    graph: Graph,
    seed: Seed,
    values: Sequence[Tensor],
    saved: Sequence[Tensor],
    received: Sequence[Tensor],
    wanted: tuple[bool, ...],
) -> list[Tensor | None]:
    if fused.make is not None and not isinstance(fused.program, Refused):
        try:
            believe_program(fused, WHAT, graph, values, wanted, save=True)
            return gradients_by_kernels(fused, graph, seed, values, saved, received, wanted)
        except CompilerError as error:
            warn_once(error)
        except DistrustedError as error:
            fused.refused = Refused(str(error))
        except NotFusableError:
            pass  # a gradient without a kernel
        except Exception as error:
            caught(WHAT, error)
    return chunked.gradients(fused.plan, graph, seed, values, received, wanted)


@rows_backward.register_fake
def _(
    received: Sequence[Tensor],
    values: Sequence[Tensor],
    saved: Sequence[Tensor],
    edge_index: Tensor,
    num_src: int,
    num_dst: int,
    program: str,
    seed: Tensor | None,
    wanted: Sequence[bool],
) -> list[Tensor]:
    return [
        torch.empty_like(v, memory_format=torch.contiguous_format)
        for v, want in zip(values, wanted, strict=True)
        if want
    ]


def _keep(ctx: Any, inputs: tuple[Any, ...], output: list[Tensor]) -> None:
    values, edge_index, ctx.num_src, ctx.num_dst, ctx.program, seed, _ = inputs
    kept = _read_again(output, ctx.program, edge_index)
    ctx.num_values, ctx.has_seed = len(values), seed is not None
    ctx.save_for_backward(*values, edge_index, *([] if seed is None else [seed]), *kept)


def _read_again(output: Sequence[Tensor], program: str, edge_index: Tensor) -> list[Tensor]:
    """Of what `rows` returns all but the sums."""
    plan = fused_of(program, edge_index.device).plan
    alone = {k for k, one in zip(places(plan), plan.reductions, strict=True) if not one.saves}
    return [tensor for k, tensor in enumerate(output) if k not in alone]


def _send_back(ctx: Any, received: Sequence[Tensor | None]) -> tuple[Any, ...]:
    try:
        values, (edge_index, *rest) = ctx.saved_tensors[: ctx.num_values], ctx.saved_tensors[ctx.num_values :]
    except RuntimeError:  # a result has been written into since, or what it was computed from
        num_given = ctx.num_values + 1 + ctx.has_seed
        given = saved_as_they_are(ctx, slice(num_given))
        values, (edge_index, *rest) = given[: ctx.num_values], given[ctx.num_values :]
        seed = rest[0] if ctx.has_seed else None
        again = rows(values, edge_index, ctx.num_src, ctx.num_dst, ctx.program, seed, True)
        rest += _read_again(again, ctx.program, edge_index)
    seed = rest.pop(0) if ctx.has_seed else None
    fused = fused_of(ctx.program, edge_index.device)
    forms = _forms(fused, ctx.num_dst, True)
    sent = []
    for k in places(fused.plan):
        gradient, (shape, dtype) = received[k], forms[k]
        sent.append(values[0].new_zeros(shape, dtype=dtype) if gradient is None else gradient)
    wanted = list(ctx.needs_input_grad[0])
    found = iter(
        rows_backward(sent, values, rest, edge_index, ctx.num_src, ctx.num_dst, ctx.program, seed, wanted)
    )
    return [next(found) if want else None for want in wanted], None, None, None, None, None, None


rows.register_autograd(_send_back, setup_context=_keep)
