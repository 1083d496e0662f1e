"""What a node of a trace says of its value: the shape, and where the rows live.

A value that is computed from source nodes alone is computed once per node, not once per edge; so every value
of a trace has a home. `mpnn.plan.residency` finds it; the functions here read what it found.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from math import prod
from typing import Any, cast

import torch
from torch import Tensor, fx

from mpnn.borrowed import FakeTensor
from mpnn.plan.rows import Rows, RowsMode, Shape, mentions_rows, mode_of


class Home(Enum):
    """Where a value lives: `EDGE` when it differs from edge to edge; `SHARED` when it is the same for all."""

    SHARED = "shared"
    DST = "destination"
    SRC = "source"
    EDGE = "edge"

    __hash__ = object.__hash__  # an enumeration's own is slow, and part of every call


def join(homes: set[Home]) -> Home:
    """The home of what is computed from values with these homes."""
    homes = homes - {Home.SHARED}
    if not homes:
        return Home.SHARED
    return homes.pop() if len(homes) == 1 else Home.EDGE


# The place of a value -----------------------------------------------------------------------------------


@dataclass(frozen=True)
class Place:
    """Where the value of a node lives, and where its rows are."""

    home: Home
    turned: bool = False  # the rows are in dimension 1, between a transposition and the one that undoes it
    total: str = ""  # how it sums over all edges: "sum", "outer" (Aᵀ B), or "" when it does not
    late: bool = False  # it is computed from such a sum, when all edges are done


def put(node: fx.Node, place: Place) -> None:
    """Note where the value of a node lives."""
    node.meta["place"] = place


def has_place(node: fx.Node) -> bool:
    """Whether it is known where the value of a node lives."""
    return "place" in node.meta


def lives_at(node: fx.Node) -> Home:
    """The home of a node's value."""
    return _place(node).home


def is_turned(node: fx.Node) -> bool:
    """Whether the rows of a node's value are in dimension 1."""
    return _place(node).turned


def total_of(node: fx.Node) -> str:
    """How a node sums over all edges: "sum", "outer" (Aᵀ B), or "" when it does not."""
    return _place(node).total


def is_late(node: fx.Node) -> bool:
    """Whether a node's value is computed from a sum over all edges."""
    return _place(node).late


def _place(node: fx.Node) -> Place:
    return cast(Place, node.meta["place"])


def home_after(node: fx.Node) -> Home:
    """The home of what an operation makes."""
    inputs = node.all_input_nodes
    home = join(set(map(lives_at, inputs)))
    # A shared tensor that is repeated for every edge, or one made with a row for each.
    spread = home is Home.SHARED and (has_rows(node) or any(map(has_rows, inputs)))
    return Home.EDGE if spread and inputs else home


# Its shape ----------------------------------------------------------------------------------------------


def shape_of(node: fx.Node) -> Shape:
    """The shape that a node, or the first of several that it makes, had in the trace."""
    shape: Shape | None = node.meta.get("shape")
    if shape is None:
        value = node.meta["val"]
        shape = node.meta["shape"] = sizes_of(value[0] if isinstance(value, list | tuple) else value)
    return shape


def sizes_of(value: Tensor) -> Shape:
    """The shape of a tensor, or of a stand-in for one."""
    sizes: tuple[Any, ...] = tuple(value.shape)
    return mode_of(value).shape_of(value) if any(type(n) is not int for n in sizes) else sizes


def has_rows(node: fx.Node) -> bool:
    """Whether dimension 0 counts edges, alone or merged with feature dimensions behind it."""
    shape = shape_of(node)
    return bool(shape) and type(shape[0]) is Rows


def feature_shape(node: fx.Node) -> tuple[int, ...]:
    """The shape of one row: the shape without the edges, also where they are merged with features."""
    shape: tuple[Any, ...] = shape_of(node)
    if not has_rows(node):
        return shape
    merged = shape[0].times
    return shape[1:] if merged == 1 else (merged, *shape[1:])


def row_size(node: fx.Node) -> int:
    """How many numbers a row of a value has."""
    return prod(feature_shape(node))


# Its operation ------------------------------------------------------------------------------------------


def args_of(node: fx.Node) -> Any:
    """The arguments of an operation, each of the type that its ATen schema says."""
    return node.args


def op_name(node: fx.Node) -> str:
    """`mul` of `aten.mul.Tensor`."""
    packet = getattr(node.target, "overloadpacket", None)
    return packet.__name__ if packet is not None else getattr(node.target, "__name__", str(node.target))


def emit(graph: fx.Graph, target: Any, *args: Any, **kwargs: Any) -> fx.Node:
    """Add an operation, with the shape and the home that a trace would have given it."""
    node = graph.call_function(target, args, kwargs)
    fakes = fx.node.map_arg(args, lambda n: n.meta["val"])
    with torch.no_grad():
        if mentions_rows(args):
            fakes = _mode_in(graph).symbolic(fakes)
        node.meta["val"] = target(*fakes, **kwargs)
    if all(map(has_place, node.all_input_nodes)):
        put(node, Place(home_after(node)))
    return node


def _mode_in(graph: fx.Graph) -> RowsMode:
    """The mode whose stand-ins a graph was traced on."""
    values = (n.meta["val"] for n in graph.nodes if isinstance(n.meta.get("val"), FakeTensor))
    return mode_of(next(values))
