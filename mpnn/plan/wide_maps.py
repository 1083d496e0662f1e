"""Linear maps of wide rows: W (a ‖ s_1 b ‖ s_2 b) = W_0 a + s_1 (W_1 b) + s_2 (W_2 b).

Where parts of a row are another part times a number of the node, as degree scalers make them, neither the
scaled parts nor the wide row need exist. W_1 b and W_2 b are one product, (W_1 ‖ W_2) b.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any, NamedTuple

import torch
from torch import fx

from mpnn.plan.homes import args_of, emit, has_rows, op_name, row_size, shape_of

aten = torch.ops.aten


class _Part(NamedTuple):
    """Some columns of a row: those of a value, times numbers of the node."""

    value: fx.Node
    scales: tuple[fx.Node, ...] = ()


class _Scaled(NamedTuple):
    """Some rows of a weight, `[in, out]`, and what the map by them is multiplied by, `[num_nodes, 1]`."""

    weight: fx.Node
    scale: fx.Node


def split_wide_maps(graph: fx.Graph, late: Collection[fx.Node]) -> list[fx.Node]:
    """Rewrite the linear maps of such rows among some operations; return what they are now."""
    made: list[fx.Node] = []
    rows = _Rows(graph)
    for node in list(graph.nodes):
        if node not in late or op_name(node) not in ("mm", "addmm") or node.kwargs:
            continue
        *bias, x, weight = args_of(node)
        with graph.inserting_before(node):
            parts = rows.parts(x)
            if not any(part.scales for part in parts):
                continue
            terms = [*_terms(graph, parts, weight), *bias]
            total = terms[0]
            for term in terms[1:]:
                total = emit(graph, aten.add.Tensor, total, term)
        node.replace_all_uses_with(total)
        graph.erase_node(node)
        made.append(total)
    return made


def _terms(graph: fx.Graph, parts: Sequence[_Part], weight: fx.Node) -> list[fx.Node]:
    """What the map makes of the parts; those of one value, scaled in several ways, are one term."""
    terms: list[fx.Node] = []
    scaled: dict[fx.Node, list[_Scaled]] = {}
    first = 0
    for value, scales in parts:
        last = first + row_size(value)
        own = emit(graph, aten.slice.Tensor, weight, 0, first, last)
        if scales:
            scale = scales[0]
            for factor in scales[1:]:
                scale = emit(graph, aten.mul.Tensor, scale, factor)
            scaled.setdefault(value, []).append(_Scaled(own, scale))
        else:
            terms.append(emit(graph, aten.mm.default, value, own))
        first = last
    return terms + [_sum_of_maps(graph, value, maps) for value, maps in scaled.items()]


def _sum_of_maps(graph: fx.Graph, value: fx.Node, maps: Sequence[_Scaled]) -> fx.Node:
    """Σ_k s_k (W_k b), with all W_k side by side: every product reads all of b, its gradient writes it."""
    beside = emit(graph, aten.cat.default, [m.weight for m in maps], 1)
    factors = emit(graph, aten.cat.default, [m.scale for m in maps], 1)
    product = emit(graph, aten.mm.default, value, beside)
    each = emit(graph, aten.unflatten.int, product, 1, [len(maps), shape_of(maps[0].weight)[1]])
    return emit(
        graph,
        aten.sum.dim_IntList,
        emit(graph, aten.mul.Tensor, each, emit(graph, aten.unsqueeze.default, factors, 2)),
        [1],
    )


class _Rows:
    """The rows of a trace, as parts."""

    def __init__(self, graph: fx.Graph) -> None:
        self.graph = graph
        self.groups: dict[tuple[fx.Node, int, int], fx.Node] = {}

    def parts(self, node: fx.Node) -> list[_Part]:
        """The parts of a row, side by side; a row without scaled parts is one part."""
        name, args = op_name(node), args_of(node)
        if node.op != "call_function" or node.kwargs:
            return [_Part(node)]
        last = len(shape_of(node)) - 1
        if name == "cat" and _dim(args, 1, last + 1) == last:
            parts = [part for one in args[0] for part in self.parts(one)]
            return parts if any(part.scales for part in parts) else [_Part(node)]
        if name == "mul":
            for scale, value in (args, args[::-1]):
                if (
                    _is_scale(scale, node)
                    and isinstance(value, fx.Node)
                    and shape_of(value) == shape_of(node)
                ):
                    return [_Part(part.value, (*part.scales, scale)) for part in self.parts(value)]
        if name == "select" and 0 < (dim := args[1] % (last + 2)) <= last:
            parts = self.parts(args[0])
            if any(part.scales for part in parts):
                return [self._selected(part, dim, args[2]) for part in parts]
        return [_Part(node)]

    def _selected(self, part: _Part, dim: int, index: int) -> _Part:
        """One group of columns, of parts that all have one dimension of groups."""
        value, *scales = [self._group(n, dim, index) for n in (part.value, *part.scales)]
        return _Part(value, tuple(scales))

    def _group(self, value: fx.Node, dim: int, index: int) -> fx.Node:
        """One group of a value, the same node each time: a selection's gradient is as wide as the value."""
        only = shape_of(value)[dim] == 1
        key = (value, dim, 0 if only else index)
        if key not in self.groups:
            target, args = (aten.squeeze.dim, (dim,)) if only else (aten.select.int, (dim, index))
            self.groups[key] = emit(self.graph, target, value, *args)
        return self.groups[key]


def _is_scale(value: Any, product: fx.Node) -> bool:
    """Whether a factor is one number for each row, in the rank of the product."""
    if not isinstance(value, fx.Node) or not has_rows(value) or row_size(value) != 1:
        return False
    return len(shape_of(value)) == len(shape_of(product))


def _dim(args: Any, place: int, rank: int) -> int:
    return int(args[place] if len(args) > place else 0) % rank
