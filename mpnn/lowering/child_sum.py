"""The LSTM on trees and other directed acyclic graphs: a few products a level, and no graph of autograd's.

    h = Σ_j h_j,  f_j = σ(x_f + U_f h_j),  (i, o, g) = σ, σ, tanh(x_iog + U_iog h)
    c' = i g + Σ_j f_j c_j,  h' = o tanh(c')                            (Tai et al., 2015, eq. 2 to 8)

The nodes are numbered level by level, so that a level is a slice of every tensor and is written in place. On
the way back each level leaves the gradients at its gates, and those of the weights are one product each, over
all levels at once.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, cast

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import once_differentiable

from mpnn.graph import Graph
from mpnn.levels import topological_levels
from mpnn.lowering.cell import Cell
from mpnn.lowering.recurrence import LSTM, Recurrent, States, find_roles
from mpnn.lowering.rule import NoMatchError
from mpnn.plan.capture import Path


@dataclass(frozen=True)
class Level:
    """The nodes of a level and the edges that enter them, as slices of all."""

    nodes: slice
    edges: slice
    src: Tensor  # of its edges, in the numbers of the layout
    dst: Tensor  # the same, counted from the level's first node
    degree: int  # of every node of the level, or 0 if they differ
    counts: Tensor  # edges of each node
    one_listener: bool  # no two of its edges have the same source

    def total(self, per_edge: Tensor) -> Tensor:
        """The sum over the edges that enter each node."""
        if self.degree == 1:
            return per_edge
        if self.degree:
            return per_edge.view(-1, self.degree, per_edge.size(1)).sum(1)
        return torch.segment_reduce(per_edge, "sum", lengths=self.counts, axis=0)

    def add_to_sources(self, gradient: Tensor, per_edge: Tensor) -> None:
        """Add to each source's row what its edges say."""
        if self.one_listener:
            gradient.index_copy_(0, self.src, per_edge.add_(gradient.index_select(0, self.src)))
        else:
            gradient.index_add_(0, self.src, per_edge)


@dataclass(frozen=True)
class Layout:
    """A directed acyclic graph, its nodes numbered level by level, its edges by their destination."""

    order: Tensor  # the node with each number
    place: Tensor  # the number of each node
    src: Tensor
    dst: Tensor
    last: Tensor  # numbers of the nodes that nobody hears, in their order in the graph
    levels: tuple[Level, ...]

    @classmethod
    def of(cls, graph: Graph) -> Layout:
        """Number the nodes."""
        found = topological_levels(graph)
        place = torch.empty_like(found.nodes)
        place[found.nodes] = torch.arange(graph.num_nodes)
        edges = graph.edge_index[:, found.edges]
        src, dst = place[edges[0]], place[edges[1]]
        degrees = torch.bincount(dst, minlength=graph.num_nodes)
        levels = []
        for (n0, n1), (e0, e1) in zip(pairwise(found.node_ptr), pairwise(found.edge_ptr), strict=True):
            counts, sources = degrees[n0:n1], src[e0:e1]
            degree = int(counts[0]) if bool((counts == counts[0]).all()) else 0
            alone = len(set(sources.tolist())) == e1 - e0
            levels.append(
                Level(slice(n0, n1), slice(e0, e1), sources, dst[e0:e1] - n0, degree, counts, alone)
            )
        last = place[(graph.out_degree == 0).nonzero().squeeze(1)]
        return cls(found.nodes, place, src, dst, last, tuple(levels))


class _Levels(torch.autograd.Function):
    """From x_i, x_o, x_g, x_f side by side, and the weights that states meet, to h and c; in layout order."""

    @staticmethod
    def forward(ctx: Any, layout: Layout, x: Tensor, u: Tensor, u_f: Tensor) -> tuple[Tensor, Tensor]:
        width = u.size(1)
        gates = x[:, : 3 * width].clone()  # i, o, g
        x_f = x[:, 3 * width :]
        h, c, tanh_c, heard = (x.new_empty(len(x), width) for _ in range(4))
        forget = x.new_empty(layout.src.numel(), width)
        for level in layout.levels:
            at, entering = level.nodes, level.edges
            now = gates[at]
            if level.src.numel():
                children = h.index_select(0, level.src)
                f = forget[entering]
                torch.addmm(x_f[at].index_select(0, level.dst), children, u_f.t(), out=f).sigmoid_()
                kept = level.total(f * c.index_select(0, level.src))
                heard[at] = level.total(children)
                now.addmm_(heard[at], u.t())
            else:
                kept = None
                heard[at] = 0
            now[:, : 2 * width].sigmoid_()
            now[:, 2 * width :].tanh_()
            i, o, g = now.chunk(3, 1)
            torch.mul(i, g, out=c[at])
            if kept is not None:
                c[at] += kept
            torch.tanh(c[at], out=tanh_c[at])
            torch.mul(o, tanh_c[at], out=h[at])
        ctx.layout = layout
        ctx.save_for_backward(u, u_f, gates, forget, h, c, tanh_c, heard)
        return h, c

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, d_h: Tensor, d_c: Tensor) -> tuple[Any, ...]:
        layout = cast(Layout, ctx.layout)
        u, u_f, gates, forget, h, c, tanh_c, heard = ctx.saved_tensors
        width = u.size(1)
        d_h, d_c = d_h.clone(), d_c.clone()
        d_x = gates.new_zeros(len(gates), 4 * width)
        d_gates, d_forget = d_x[:, : 3 * width], torch.empty_like(forget)
        i, o, g = gates.chunk(3, 1)
        # What a gradient at h or c becomes at the gates does not depend on the levels above.
        to_c = o * (1 - tanh_c * tanh_c)
        to_i, to_o, to_g = g * i * (1 - i), tanh_c * o * (1 - o), i * (1 - g * g)
        slope = forget * (1 - forget) * c.index_select(0, layout.src)
        for level in reversed(layout.levels):
            at, entering = level.nodes, level.edges
            at_h, at_c = d_h[at], d_c[at]
            at_c.addcmul_(at_h, to_c[at])
            now = d_gates[at]
            torch.mul(at_c, to_i[at], out=now[:, :width])
            torch.mul(at_h, to_o[at], out=now[:, width : 2 * width])
            torch.mul(at_c, to_g[at], out=now[:, 2 * width :])
            if not level.src.numel():
                continue
            at_edges = at_c.index_select(0, level.dst)
            d_f = torch.mul(at_edges, slope[entering], out=d_forget[entering])
            d_children = torch.addmm((now @ u).index_select(0, level.dst), d_f, u_f)
            d_x[at, 3 * width :] = level.total(d_f)
            level.add_to_sources(d_h, d_children)
            level.add_to_sources(d_c, at_edges.mul_(forget[entering]))
        d_u = d_gates.t() @ heard if ctx.needs_input_grad[2] else None
        d_u_f = d_forget.t() @ h.index_select(0, layout.src) if ctx.needs_input_grad[3] else None
        return None, d_x, d_u, d_u_f


@dataclass(frozen=True)
class ChildSum:
    """A recognised LSTM, and where its weights are."""

    paths: tuple[Path | None, ...]

    def __call__(self, graph: Graph, x: Tensor, weights: Sequence[Tensor | None]) -> tuple[Tensor, States]:
        """The first state of every node, `[num_nodes, hidden]`, and all states of the last nodes."""
        layout: Layout = graph.memo("layout by levels", lambda: Layout.of(graph))
        w, u, b, b_h, _ = weights
        assert w is not None and u is not None
        bias = b if b_h is None else b_h if b is None else b + b_h
        # In the order i, o, g, f: those of a node side by side, that of an edge behind them.
        w, u = (_reordered(weight) for weight in (w, u))
        inputs = F.linear(x.index_select(0, layout.order), w, None if bias is None else _reordered(bias))
        width = u.size(1)
        h, c = cast(Any, _Levels.apply)(layout, inputs, u[: 3 * width], u[3 * width :])
        last = tuple(state.index_select(0, layout.last) for state in (h, c))
        return h.index_select(0, layout.place), last


def _reordered(weight: Tensor) -> Tensor:
    i, f, g, o = weight.chunk(4)
    return torch.cat([i, o, g, f])


def match_child_sum(cell: Cell, graph: Graph) -> ChildSum:
    """A cell with the equations of the LSTM, of which each child has a forget gate of its own."""
    found: Recurrent = find_roles(cell, (LSTM,), several=True)
    if found.paths[-1] is not None:
        raise NoMatchError("the cell projects its state")
    return ChildSum(found.paths)


def fits_child_sum(graph: Graph) -> None:
    """What the sums over edges are made of is repeatable on the CPU."""
    if graph.device.type != "cpu":
        raise NoMatchError("the graph is not on the CPU")
    if torch.is_autocast_enabled("cpu"):
        raise NoMatchError("autocast decides the types of single operations")
    if graph.is_bipartite:
        raise NoMatchError("the graph is bipartite")
