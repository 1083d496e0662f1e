"""A plan without a kernel: its per-edge part on a bounded number of edges at a time, in plain PyTorch.

For messages with dense work on a pair of nodes that no kernel should do, and for machines without a compiler.
Rows of the graph are taken in blocks, so that every reduction sees all of its messages; the backward pass
computes each block again instead of keeping it.

The host must know where blocks begin, to launch the work on them: a graph on a GPU that does not fit into one
tells it once for each width of messages, and nothing waits after that.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple, cast

import numpy as np
import torch
from torch import Tensor

from mpnn.aggregate.reduce import add_rows_
from mpnn.graph.csr import CSR
from mpnn.graph.graph import Graph
from mpnn.native.reach import is_single
from mpnn.plan.autocast import without_autocast
from mpnn.plan.dropout import Seed, seeded
from mpnn.plan.homes import Home
from mpnn.plan.plan import Plan

NUMBERS_PER_CHUNK = 1 << 22  # in the widest tensor: 16 MB of float32, which a cache about holds


class _Block(NamedTuple):
    """Some rows and all of their edges."""

    rows: slice
    src: Tensor
    dst: Tensor  # numbers of nodes
    edges: Tensor

    def lift(self, value: Tensor, home: Home) -> Tensor:
        index = {Home.SRC: self.src, Home.DST: self.dst, Home.EDGE: self.edges}.get(home)
        return value if index is None else value.index_select(0, index)

    def add(self, lifted: Tensor, total: Tensor, home: Home) -> None:
        """Sum what `lift` has repeated, into `total`."""
        if home is Home.EDGE:
            total.index_copy_(0, self.edges, lifted)  # each edge is in one block
        elif home is Home.DST:
            add_rows_(total[self.rows], self.dst - self.rows.start, lifted)
        elif total.is_cpu and total.size(0) > 4 * self.src.numel():
            # There PyTorch looks at every row of `total`, however few are meant.
            few, place = torch.unique(self.src, return_inverse=True)
            sums = lifted.new_zeros(few.numel(), *lifted.shape[1:]).index_add_(0, place, lifted)
            total.index_copy_(0, few, total.index_select(0, few) + sums)
        else:
            add_rows_(total, self.src, lifted)


def run(plan: Plan, graph: Graph, seed: Seed, values: Sequence[Tensor]) -> list[Tensor]:
    """The plan's reductions, each `[num_dst, ...]`."""
    if torch.is_grad_enabled() and any(v.requires_grad for v in values):
        return list(cast(Any, _Chunks.apply)(plan, graph, seed, *values))
    return reduce(plan, graph, seed, values)


def _blocks(plan: Plan, graph: Graph) -> Iterator[_Block]:
    most = max(1, NUMBERS_PER_CHUNK // max(1, plan.width))
    csr = graph.by_dst
    for rows, slots in graph.memo(("blocks of rows", most), lambda: _bounds(csr, most)):
        counts = csr.indptr[rows.start : rows.stop + 1].diff()
        numbers = torch.arange(rows.start, rows.stop, device=counts.device)
        dst = torch.repeat_interleave(numbers, counts, output_size=slots.stop - slots.start)
        yield _Block(rows, csr.indices[slots].long(), dst, csr.edge_ids[slots].long())


def _bounds(csr: CSR, most: int) -> list[tuple[slice, slice]]:
    """Rows and slots of each block: as many whole rows as fit, and at least one, however long it is."""
    if csr.indices.numel() <= most:  # no need to look
        return [(slice(0, csr.num_rows), slice(0, csr.indices.numel()))] if csr.num_rows else []
    indptr = csr.indptr.cpu().numpy()
    bounds, row = [], 0
    while row < csr.num_rows:
        last = int(np.searchsorted(indptr, int(indptr[row]) + most, side="right")) - 1
        last = min(max(last, row + 1), csr.num_rows)
        bounds.append((slice(row, last), slice(int(indptr[row]), int(indptr[last]))))
        row = last
    return bounds


def _reduce_block(plan: Plan, block: _Block, seed: Seed, lifted: Sequence[Tensor]) -> list[Tensor]:
    with seeded(seed, block.edges):
        values = plan.per_edge(lifted, block.src.numel())
    return plan.reduce(values, block.dst - block.rows.start, block.rows.stop - block.rows.start)


def reduce(plan: Plan, graph: Graph, seed: Seed, values: Sequence[Tensor]) -> list[Tensor]:
    """The same, without a way back."""
    parts = [
        _reduce_block(plan, b, seed, [b.lift(v, h) for v, h in zip(values, plan.homes, strict=True)])
        for b in _blocks(plan, graph)
    ]
    if not parts:  # a graph without rows still tells the shapes
        empty = graph.src.new_empty(0)
        nothing = _Block(slice(0, 0), empty, empty, empty)
        return _reduce_block(
            plan, nothing, seed, [nothing.lift(v, h) for v, h in zip(values, plan.homes, strict=True)]
        )
    return [torch.cat(columns) for columns in zip(*parts, strict=True)]


def gradients(
    plan: Plan,
    graph: Graph,
    seed: Seed,
    values: Sequence[Tensor],
    received: Sequence[Tensor | None],
    wanted: Sequence[bool],
) -> list[Tensor | None]:
    """The gradients of the wanted values, from those of the reductions: the same blocks again."""
    totals = [torch.zeros_like(v) if want else None for v, want in zip(values, wanted, strict=True)]
    for block in _blocks(plan, graph):
        with torch.enable_grad():
            lifted = [
                block.lift(v.detach(), home).requires_grad_(want)
                for v, home, want in zip(values, plan.homes, wanted, strict=True)
            ]
            outputs = _reduce_block(plan, block, seed, lifted)
        pairs = [
            (output, gradient[block.rows])
            for output, gradient in zip(outputs, received, strict=True)
            if gradient is not None and output.requires_grad
        ]
        asked = [t for t, want in zip(lifted, wanted, strict=True) if want]
        outputs, sent = [output for output, _ in pairs], [gradient for _, gradient in pairs]
        found = iter(torch.autograd.grad(outputs, asked, sent, allow_unused=True))
        for total, home, want in zip(totals, plan.homes, wanted, strict=True):
            gradient = next(found) if want else None
            if total is None or gradient is None:
                continue
            if home is Home.SHARED:
                total += gradient
            else:
                block.add(gradient, total, home)
    return totals


class _Chunks(torch.autograd.Function):
    """Forward block by block; backward the same blocks again."""

    @staticmethod
    def forward(ctx: Any, plan: Plan, graph: Graph, seed: Seed, *values: Tensor) -> tuple[Tensor, ...]:
        ctx.plan, ctx.graph, ctx.seed = plan, graph, seed
        ctx.save_for_backward(*values)
        return tuple(reduce(plan, graph, seed, values))

    @staticmethod
    def backward(ctx: Any, *received: Tensor | None) -> tuple[Any, ...]:
        plan, graph, seed = ctx.plan, ctx.graph, ctx.seed
        values, wanted = ctx.saved_tensors, ctx.needs_input_grad[3:]
        with without_autocast(graph):
            found = (
                plan.differentiable_gradients(graph, seed, values, None, received, wanted)
                if torch.is_grad_enabled() or not all(map(is_single, received))
                else gradients(plan, graph, seed, values, received, wanted)
            )
        return (None, None, None, *found)
