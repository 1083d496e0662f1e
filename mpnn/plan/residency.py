"""Where each value of a trace lives: one walk over its operations, in order.

Each node gets a `Place`. An operation on values of one home has that home; on those of several, the edge. The
walk refuses a trace that cannot be computed row by row.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import fx

from mpnn.plan.homes import (
    Home,
    Place,
    has_rows,
    home_after,
    is_late,
    lives_at,
    op_name,
    put,
    shape_of,
    total_of,
)
from mpnn.plan.rows import NotFusableError, Rows
from mpnn.plan.rowwise import total_kind, turned_after, turns_for_total


def find_places(graph: fx.Graph, placeholders: Mapping[str, Home], *, allow_totals: bool = False) -> None:
    """Find where every value of a trace lives.

    Args:
        graph: the trace.
        placeholders: the homes of its inputs, by name.
        allow_totals: whether a sum over all edges is taken, as in the gradient of a shared tensor. It is then
            a shared value of its `total_of` kind, and what is computed from it `is_late`.

    Raises:
        NotFusableError: an operation mixes rows, or is not known to keep them apart.
    """
    for node in graph.nodes:
        if node.op == "placeholder":
            put(node, Place(placeholders[node.name]))
        elif node.op == "get_attr":
            put(node, Place(Home.SHARED))
        elif node.op == "call_function":
            put(node, _result(node, allow_totals))
    for node in graph.nodes:
        if op_name(node) == "full" and has_rows(node) and len(node.users) == 1:
            (reader,) = node.users
            if reader.op == "call_function":
                put(node, Place(lives_at(reader)))  # it has as many rows as its only reader


def _result(node: fx.Node, allow_totals: bool) -> Place:
    """Where the result of an operation lives."""
    name, shape = op_name(node), shape_of(node)
    if sum(type(n) is Rows for n in shape) > 1:
        raise NotFusableError(f"{name} makes as many features as there are edges")
    if torch.Tag.nondeterministic_seeded in getattr(node.target, "tags", ()):
        raise NotFusableError(f"{name} draws random numbers that a second pass would not see")
    late = any(is_late(n) or total_of(n) for n in node.all_input_nodes)
    if name == "kept":
        return Place(Home.EDGE, late=late)  # each edge has its own mask, whatever the mask multiplies
    home = home_after(node)
    if home is Home.SHARED:
        if any(type(n) is Rows for n in shape[1:]):
            raise NotFusableError(f"{name} repeats a shared tensor behind its first dimension")
        return Place(home, late=late)
    if late:
        raise NotFusableError(f"{name} joins a sum over all edges with a value per edge")
    if allow_totals:
        if turns_for_total(node):
            return Place(home)
        if total := total_kind(node):
            return Place(Home.SHARED, total=total)
    return Place(home, turned=turned_after(node))
