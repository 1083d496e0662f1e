"""The LSTM on trees and other directed acyclic graphs: two products for each level, in one autograd function.

    h = Σ_j h_j,  f_j = σ(x_f + U_f h_j),  (i, g, o) = σ, tanh, σ(x_igo + U_igo h)
    c' = i g + Σ_j f_j c_j,  h' = o tanh(c')                            (Tai et al., 2015, eq. 2 to 8)

The nodes are numbered level by level, so that a level is a slice of every tensor and is written in place.
Forget gates are computed only for nodes with incoming edges. The backward pass writes the gradients of the
gates of each level, and then computes the gradient of each weight as one product over all levels.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, cast

import torch
import torch.nn.functional as F
from torch import Tensor

from mpnn.aggregate.reduce import add_rows, pick_rows
from mpnn.graph.csr import compress
from mpnn.graph.graph import Graph
from mpnn.lowering.cell import Cell
from mpnn.lowering.recurrence import LSTM, Recurrent, Roles, States, find_roles, in_roles
from mpnn.lowering.rule import NoMatchError
from mpnn.native.child_sum import LevelKernel, functions
from mpnn.native.products import gram, linear, matmul, multiply
from mpnn.native.reach import in_reach
from mpnn.topology.levels import topological_levels


@dataclass(frozen=True)
class Layout:
    """A directed acyclic graph, its nodes numbered level by level, its edges by their destination."""

    order: Tensor  # the node with each number
    place: Tensor  # the number of each node
    src: Tensor
    dst: Tensor
    in_ptr: Tensor  # the edges that enter n: in_ptr[n] to in_ptr[n + 1]
    out_ptr: Tensor
    out_edge: Tensor  # the edges that leave n: out_edge[out_ptr[n]] to out_edge[out_ptr[n + 1]]
    last: Tensor  # numbers of the nodes without outgoing edges, in their order in the graph
    levels: tuple[tuple[int, int, int, int], ...]  # the first node and the next level's, the same of edges

    @classmethod
    def of(cls, graph: Graph) -> Layout:
        """Number the nodes."""
        found, size = topological_levels(graph), graph.num_nodes
        place = torch.empty_like(found.nodes)
        place[found.nodes] = torch.arange(size, device=place.device)
        src, dst = place[graph.edge_index[:, found.edges]]
        entering, leaving = compress(dst, src, size, size), compress(src, dst, size, size)
        last = place[(graph.out_degree == 0).nonzero().squeeze(1)]
        pairs = zip(pairwise(found.node_ptr), pairwise(found.edge_ptr), strict=True)
        return cls(
            found.nodes,
            place,
            src,
            dst,
            entering.indptr.long(),
            leaving.indptr.long(),
            leaving.edge_ids.long(),
            last,
            tuple((*nodes, *edges) for nodes, edges in pairs),
        )


def by_levels(layout: Layout, x: Tensor, w: Tensor, u: Tensor, b: Tensor | None) -> tuple[Tensor, Tensor]:
    """The states h and c, `[num_nodes, width]`, in PyTorch's operations; all in the order of the layout."""
    width, first = u.size(1), layout.levels[0][1]
    b_igo, b_f = (None, None) if b is None else _parted(b)
    (w_igo, w_f), (u_igo, u_f) = _parted(w), _parted(u)
    gates, x_f = linear(x, w_igo, b_igo), linear(x[first:], w_f, b_f)
    h, c = (gates.new_zeros(len(x), width) for _ in range(2))
    for n0, n1, e0, e1 in layout.levels:
        now, kept = gates[n0:n1], gates.new_zeros(n1 - n0, width)
        if n0:
            src, dst = layout.src[e0:e1], layout.dst[e0:e1]
            h_j, c_j = pick_rows(h, 0, src), pick_rows(c, 0, src)
            now = now + F.linear(add_rows(kept, 0, dst - n0, h_j), u_igo)
            forget = (pick_rows(x_f, 0, dst - first) + F.linear(h_j, u_f)).sigmoid()
            kept = add_rows(kept, 0, dst - n0, forget * c_j)
        i, g, o = now.chunk(3, 1)
        c_now = i.sigmoid() * g.tanh() + kept
        c[n0:n1] = c_now
        h[n0:n1] = o.sigmoid() * c_now.tanh()
    return h, c


class _Compiled(torch.autograd.Function):
    """`by_levels` as an autograd function: two products for each level, and a loop in C."""

    @staticmethod
    def forward(ctx: Any, layout: Layout, *inputs: Tensor | None) -> tuple[Tensor, Tensor]:
        x, w, u, b = cast(Any, inputs)
        width, first = u.size(1), layout.levels[0][1]
        b_igo, b_f = (None, None) if b is None else _parted(b)
        (w_igo, w_f), (u_igo, u_f) = _parted(w), _parted(u)
        gates, x_f = linear(x, w_igo, b_igo), linear(x[first:], w_f, b_f)
        made = {"gates": gates}
        made |= {name: x.new_empty(len(x), width) for name in ("h", "c", "tanh_c", "h_sum")}
        made |= {name: x.new_empty(layout.src.numel(), width) for name in ("forget", "h_src")}
        kernel = _kernel(layout, made | {"x_f": x_f})
        u_t, u_f_t = u_igo.t(), u_f.t()
        ends = [n1 for _, n1, *_ in layout.levels[1:]] + [len(x)]
        for (n0, n1, e0, e1), end in zip(layout.levels, ends, strict=True):
            if n0:
                torch.mm(made["h_src"][e0:e1], u_f_t, out=made["forget"][e0:e1])
                gates[n0:n1].addmm_(made["h_sum"][n0:n1], u_t)
            kernel.forward(n0, n1, end)
        ctx.layout, ctx.names = layout, tuple(made)
        ctx.save_for_backward(*inputs, *made.values())
        return made["h"], made["c"]

    @staticmethod
    def backward(ctx: Any, d_h: Tensor, d_c: Tensor) -> tuple[Any, ...]:
        layout, inputs = cast(Layout, ctx.layout), ctx.saved_tensors[:4]
        wanted = ctx.needs_input_grad[1:]
        if torch.is_grad_enabled() or not (in_reach(d_h) and in_reach(d_c)):
            # If the gradients are differentiated again, or are a batch of gradients.
            asked = [v for v, is_asked in zip(inputs, wanted, strict=True) if is_asked]
            again = torch.is_grad_enabled()
            with torch.enable_grad():
                out = by_levels(layout, *inputs)
            found = iter(torch.autograd.grad(out, asked, (d_h, d_c), create_graph=again))
            return None, *(next(found) if is_asked else None for is_asked in wanted)
        x, w, u, _ = inputs
        made = dict(zip(ctx.names, ctx.saved_tensors[4:], strict=True))
        (w_igo, w_f), (u_igo, u_f) = _parted(w), _parted(u)
        first = layout.levels[0][1]
        new = {"d_gates": "gates", "d_h_sum": "h_sum", "d_forget": "forget", "d_h_src": "forget"}
        made |= {name: torch.empty_like(made[like]) for name, like in new.items()}
        made |= {"d_x_f": x.new_empty(len(x) - first, u.size(1)), "d_h": d_h.contiguous(), "d_c": d_c.clone()}
        kernel = _kernel(layout, made)
        d_gates, d_forget, d_x_f = made["d_gates"], made["d_forget"], made["d_x_f"]
        for n0, n1, e0, e1 in reversed(layout.levels):
            kernel.backward(n0, n1)
            if n0:
                torch.mm(d_gates[n0:n1], u_igo, out=made["d_h_sum"][n0:n1])
                torch.mm(d_forget[e0:e1], u_f, out=made["d_h_src"][e0:e1])
        d_x = d_w = d_u = d_b = None
        if wanted[0]:
            d_x = matmul(d_gates, w_igo)
            multiply(d_x_f, w_f, d_x[first:], plus=d_x[first:])
        if wanted[1]:
            d_w = _joined(gram(d_gates, x), gram(d_x_f, x[first:]))
        if wanted[2]:
            d_u = _joined(gram(d_gates[first:], made["h_sum"][first:]), gram(d_forget, made["h_src"]))
        if wanted[3]:
            d_b = _joined(d_gates.sum(0), d_x_f.sum(0))
        return None, d_x, d_w, d_u, d_b


def _kernel(layout: Layout, tensors: dict[str, Tensor]) -> LevelKernel:
    edges = {name: getattr(layout, name) for name in ("in_ptr", "src", "out_ptr", "out_edge", "dst")}
    return LevelKernel(layout.levels[0][1], **edges, **tensors)


def _parted(weight: Tensor) -> tuple[Tensor, Tensor]:
    """Split torch.nn's gates i, f, g, o into the gates of a node, i, g, o, and the gate of an edge, f."""
    i, f, g, o = weight.chunk(4)
    return torch.cat([i, g, o]), f


def _joined(igo: Tensor, f: Tensor) -> Tensor:
    return torch.cat([igo[: len(f)], f, igo[len(f) :]])


@dataclass(frozen=True)
class ChildSum:
    """A recognised LSTM, and which value of the cell is each of its weights."""

    roles: Roles

    def __call__(self, graph: Graph, values: Sequence[Tensor]) -> tuple[Tensor, States]:
        """The first state of every node, `[num_nodes, hidden]`, and all states of the last nodes."""
        layout: Layout = graph.memo("layout by levels", lambda: Layout.of(graph))
        x, (w, u, b, b_h, _) = values[0], in_roles(values, self.roles)
        assert w is not None and u is not None
        bias = b if b_h is None else b_h if b is None else b + b_h
        ordered = x.index_select(0, layout.order)
        is_compiled = all(map(in_reach, (x, w, u))) and functions(x.dtype) is not None
        run = cast(Any, _Compiled).apply if is_compiled else by_levels
        h, c = run(layout, ordered, w, u, bias)
        last = tuple(state.index_select(0, layout.last) for state in (h, c))
        return h.index_select(0, layout.place), last


def match_child_sum(cell: Cell, graph: Graph) -> ChildSum:
    """Recognise a cell with the equations of the LSTM, and a separate forget gate for each child."""
    found: Recurrent = find_roles(cell, (LSTM,), several=True)
    if found.roles[-1] is not None:
        raise NoMatchError("the cell projects its state")
    return ChildSum(found.roles)


def fits_child_sum(graph: Graph) -> None:
    """Require the CPU, where the sums over edges are repeatable."""
    if graph.device.type != "cpu":
        raise NoMatchError("the graph is not on the CPU")
    if torch.is_autocast_enabled("cpu"):
        raise NoMatchError("autocast decides the types of single operations")
    if graph.is_bipartite:
        raise NoMatchError("the graph is bipartite")
    if graph.num_nodes == 0:
        raise NoMatchError("the graph has no nodes")
