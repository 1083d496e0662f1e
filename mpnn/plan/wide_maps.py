"""Linear maps of wide rows: W (a ‖ s_1 b ‖ s_2 b) = W_0 a + s_1 (W_1 b) + s_2 (W_2 b).

Where parts of a row are another part times a number of the node, as degree scalers make them, neither the
scaled parts nor the wide row need exist.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Any, NamedTuple

import torch
from torch import fx

from mpnn.plan.homes import args_of, emit, has_rows, op_name, row_size, shape_of

aten = torch.ops.aten


class _Part(NamedTuple):
    """Some columns of a row: those of a value, times numbers of the node."""

    value: fx.Node
    scales: tuple[fx.Node, ...] = ()


def split_wide_maps(graph: fx.Graph, late: Collection[fx.Node]) -> list[fx.Node]:
    """Rewrite the linear maps of such rows among some operations; return what they are now."""
    made: list[fx.Node] = []
    for node in list(graph.nodes):
        if node not in late or op_name(node) not in ("mm", "addmm") or node.kwargs:
            continue
        *bias, x, weight = args_of(node)
        with graph.inserting_before(node):
            parts = _parts(graph, x)
            if not any(part.scales for part in parts):
                continue
            total: fx.Node | None = None
            first = 0
            for value, scales in parts:
                last = first + row_size(value)
                term = emit(
                    graph, aten.mm.default, value, emit(graph, aten.slice.Tensor, weight, 0, first, last)
                )
                for scale in scales:
                    term = emit(graph, aten.mul.Tensor, term, scale)
                total = term if total is None else emit(graph, aten.add.Tensor, total, term)
                first = last
            assert total is not None
            if bias:
                total = emit(graph, aten.add.Tensor, total, bias[0])
        node.replace_all_uses_with(total)
        graph.erase_node(node)
        made.append(total)
    return made


def _parts(graph: fx.Graph, node: fx.Node) -> list[_Part]:
    """The parts of a row, side by side; a row without scaled parts is one part."""
    name, args = op_name(node), args_of(node)
    if node.op != "call_function" or node.kwargs:
        return [_Part(node)]
    last = len(shape_of(node)) - 1
    if name == "cat" and _dim(args, 1, last + 1) == last:
        parts = [part for one in args[0] for part in _parts(graph, one)]
        return parts if any(part.scales for part in parts) else [_Part(node)]
    if name == "mul":
        for scale, value in (args, args[::-1]):
            if _is_scale(scale, node) and isinstance(value, fx.Node) and shape_of(value) == shape_of(node):
                return [_Part(part.value, (*part.scales, scale)) for part in _parts(graph, value)]
    if name == "select" and 0 < (dim := args[1] % (last + 2)) <= last:
        parts = _parts(graph, args[0])
        if any(part.scales for part in parts):
            return [_selected(graph, part, dim, args[2]) for part in parts]
    return [_Part(node)]


def _selected(graph: fx.Graph, part: _Part, dim: int, index: int) -> _Part:
    """One group of columns, of parts that all have one dimension of groups."""
    scales = [emit(graph, aten.select.int, s, dim, index if shape_of(s)[dim] > 1 else 0) for s in part.scales]
    return _Part(emit(graph, aten.select.int, part.value, dim, index), tuple(scales))


def _is_scale(value: Any, product: fx.Node) -> bool:
    """Whether a factor is one number for each row, in the rank of the product."""
    if not isinstance(value, fx.Node) or not has_rows(value) or row_size(value) != 1:
        return False
    return len(shape_of(value)) == len(shape_of(product))


def _dim(args: Any, place: int, rank: int) -> int:
    return int(args[place] if len(args) > place else 0) % rank
