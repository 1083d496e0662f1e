"""Products with a matrix that each edge picks from a table, `bmm(x, table[index])`: the relations of a graph.

One product for each matrix of the table needs no tensor with a matrix for each edge.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, fx

from mpnn.plan.homes import Home, args_of, lives_at, op_name, shape_of
from mpnn.plan.rows import ROWS
from mpnn.plan.typed import typed_linear

FEW = 16  # edges for each matrix: with fewer, a call for each matrix costs more than it saves
SMALL = 1 << 22  # numbers, as many as a chunk of edges may have


def picked(product: fx.Node) -> tuple[fx.Node, fx.Node, fx.Node, bool, bool] | None:
    """The arguments of `product_with_picked`, if that is what a node computes on the CPU."""
    if op_name(product) != "bmm" or product.meta["val"].device.type != "cpu":
        return None
    left, right = args_of(product)
    turned = False
    while (step := _look(right)) is not None:
        right, turned = args_of(right)[0], turned != (step == "turned")
    name, args = op_name(right), args_of(right)
    if name == "index_select" and args[1] == 0:
        table, index = args[0], args[2]
    elif name == "index" and len(args[1]) == 1:
        table, (index,) = args
    else:
        return None
    whole = shape_of(left)[:2] == (ROWS, 1) and shape_of(index) == (ROWS,) and len(shape_of(table)) == 3
    if not whole or lives_at(table) is not Home.SHARED or index.meta["val"].dtype != torch.int64:
        return None
    return left, table, index, turned, name == "index"


def _look(node: fx.Node) -> str | None:
    """How a view shows the matrices of its input: "same" or "turned"; None if a node is no such view."""
    if node.op != "call_function":
        return None
    name, args = op_name(node), args_of(node)
    if name in ("view", "_unsafe_view", "expand", "alias") and shape_of(node) == shape_of(args[0]):
        return "same"
    if name == "permute" and list(args[1]) in ([0, 1, 2], [0, 2, 1]):
        return "same" if list(args[1]) == [0, 1, 2] else "turned"
    if name == "transpose" and {d % 3 for d in args[1:]} == {1, 2}:
        return "turned"
    return None


def product_with_picked(left: Tensor, table: Tensor, index: Tensor, turned: Any, from_end: Any) -> Tensor:
    """`bmm(left, table[index])`, with the matrices transposed if `turned`.

    Shapes: left `[num_edges, 1, in]`, table `[num_matrices, in, out]`, index `[num_edges]` ->
    `[num_edges, 1, out]`; with `from_end` an index below zero counts from the end.
    """
    if turned:
        table = table.transpose(1, 2)
    if from_end:
        index = torch.where(index < 0, index + table.size(0), index)
    edges = index.numel()
    if edges < FEW * table.size(0) and edges * table.size(1) * table.size(2) <= SMALL:
        return torch.bmm(left, table.index_select(0, index))
    return typed_linear(left.squeeze(1), table, index).unsqueeze(1)
