"""Where each value of a traced message lives, and which operations keep its rows apart.

A value computed from source nodes alone needs computing once per node, not once per edge; so every value of
a trace gets a home. Rows are independent of each other, or the message cannot be run row by row at all.
"""

from __future__ import annotations

from enum import Enum
from math import prod
from typing import Any

import torch
from torch import Tensor, fx

from mpnn.borrowed import FakeTensor
from mpnn.plan.decompositions import ALONG_DIMENSIONS, ELEMENTWISE
from mpnn.plan.rows import (
    NotFusableError,
    Rows,
    RowsMode,
    Shape,
    mentions_rows,
    mode_of,
)


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
    """The shape of one row: without the edges, whether they are a dimension of their own or merged."""
    shape: tuple[Any, ...] = shape_of(node)
    if not has_rows(node):
        return shape
    merged = shape[0].times
    return shape[1:] if merged == 1 else (merged, *shape[1:])


def row_size(node: fx.Node) -> int:
    """How many numbers a row of a value has."""
    return prod(feature_shape(node))


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
    inputs = node.all_input_nodes
    fakes = fx.node.map_arg(args, lambda n: n.meta["val"])
    with torch.no_grad():
        if mentions_rows(args):
            fakes = mode_in(graph).symbolic(fakes)
        node.meta["val"] = target(*fakes, **kwargs)
    if all("home" in n.meta for n in inputs):
        node.meta["home"] = home_after(node)
    return node


def mode_in(graph: fx.Graph) -> RowsMode:
    """The mode whose stand-ins a graph was traced on."""
    values = (n.meta["val"] for n in graph.nodes if isinstance(n.meta.get("val"), FakeTensor))
    return mode_of(next(values))


def home_after(node: fx.Node) -> Home:
    """The home of what an operation makes."""
    home = join({n.meta["home"] for n in node.all_input_nodes})
    # A shared tensor that is repeated for every edge, or one made with a row for each.
    spread = home is Home.SHARED and (has_rows(node) or any(map(has_rows, node.all_input_nodes)))
    return Home.EDGE if spread and node.all_input_nodes else home


# The element-by-element operations that kernels have; `mpnn.backends.point` writes them.
POINT = frozenset([
    "add", "sub", "mul", "div", "div_floor", "div_trunc", "fmod", "remainder", "neg", "abs", "exp",
    "exp2", "expm1", "log", "log2", "log10", "log1p", "sqrt", "rsqrt", "reciprocal", "square", "relu",
    "sigmoid", "tanh", "sin", "cos", "tan", "asin", "acos", "atan", "atan2", "sinh", "cosh", "asinh",
    "acosh", "atanh", "erf", "erfc", "hypot", "floor", "ceil", "round", "trunc", "sign", "sgn",
    "copysign", "pow", "maximum", "minimum", "fmax", "fmin", "where", "masked_fill", "float", "gt",
    "ge", "lt", "le", "eq", "ne", "isnan", "isinf", "logical_and", "logical_or", "logical_xor",
    "logical_not", "bitwise_and", "bitwise_or", "bitwise_xor", "bitwise_not", "bfloat16", "float16",
])  # fmt: skip
# Those of ATen: besides the above what becomes one or several of them, or nothing.
POINTWISE = POINT | frozenset([
    "rsub", "clamp", "clamp_min", "clamp_max", "clone", "alias", "detach", "_to_copy", "lift_fresh_copy",
])  # fmt: skip
COPIES = frozenset(["clone", "alias", "detach", "_to_copy", "lift_fresh_copy"])
VIEWS = frozenset(
    [
        "view",
        "_unsafe_view",
        "reshape",
        "unsqueeze",
        "squeeze",
        "expand",
        "permute",
        "transpose",
        "t",
        "select",
        "slice",
        "alias",
        "detach",
        "lift_fresh_copy",
    ]
)
REDUCTIONS = frozenset(["sum", "mean", "amax", "amin", "any", "linalg_vector_norm"])
PRODUCTS = frozenset(["mm", "addmm", "bmm"])
# What runs along one dimension, and where among its arguments that stands.
ALONG = {
    **dict.fromkeys(("max", "min", "argmax", "argmin", "sort", "argsort", "median", "mode", "gather"), 1),
    **dict.fromkeys(("cumsum", "cumprod", "logcumsumexp", "cummax", "cummin"), 1),
    **dict.fromkeys(("topk", "kthvalue"), 2),
}


def annotate(graph: fx.Graph, placeholders: dict[str, Home], *, allow_totals: bool = False) -> None:
    """Write the home of every value into `node.meta["home"]`.

    With `allow_totals`, a sum over all edges is a shared value with `node.meta["total"]` set to its kind, and
    what follows from it has `node.meta["late"]`.

    Raises:
        NotFusableError: an operation that mixes rows, or that is not known to keep them apart.
    """
    for node in graph.nodes:
        inputs = node.all_input_nodes
        node.meta["total"] = ""
        node.meta["turned"] = False
        node.meta["late"] = any(n.meta["late"] or n.meta["total"] for n in inputs)
        if node.op == "placeholder":
            node.meta["home"] = placeholders[node.name]
        elif node.op == "get_attr":
            node.meta["home"] = Home.SHARED
        elif node.op == "call_function":
            if sum(type(n) is Rows for n in shape_of(node)) > 1:
                raise NotFusableError(f"{op_name(node)} makes as many features as there are edges")
            if torch.Tag.nondeterministic_seeded in getattr(node.target, "tags", ()):
                raise NotFusableError(
                    f"{op_name(node)} draws random numbers that a second pass would not see"
                )
            node.meta["home"] = home_after(node)
            if op_name(node) == "kept":
                node.meta["home"] = Home.EDGE  # a mask of its own for each edge, whatever it multiplies
                continue
            if node.meta["home"] is Home.SHARED:
                if any(type(n) is Rows for n in shape_of(node)[1:]):
                    raise NotFusableError(
                        f"{op_name(node)} repeats a shared tensor behind its first dimension"
                    )
                continue
            if node.meta["late"]:
                raise NotFusableError(f"{op_name(node)} joins a sum over all edges with a value per edge")
            if allow_totals and _turns(node):
                continue
            node.meta["total"] = total_kind(node) if allow_totals else ""
            if node.meta["total"]:
                node.meta["home"] = Home.SHARED
            else:
                node.meta["turned"] = turned_rows(node)
                if not node.meta["turned"] and not any(n.meta["turned"] for n in inputs):
                    check_rowwise(node)
    for node in graph.nodes:
        if op_name(node) == "full" and has_rows(node) and len(node.users) == 1:
            node.meta["home"] = next(iter(node.users)).meta.get("home", Home.SHARED)  # as many rows as there


def _turns(node: fx.Node) -> bool:
    """Whether a transposition brings the rows behind, as the left factor of Aᵀ B, and serves nothing else."""
    turns = op_name(node) in ("permute", "t", "transpose") and not has_rows(node)
    return turns and all(total_kind(user) == "outer" and user.args[0] is node for user in node.users)


def total_kind(node: fx.Node) -> str:
    """How a node sums over all edges: "sum", "outer" (Aᵀ B), or "" when it does not."""
    name = op_name(node)
    if name == "sum" and has_rows(node.all_input_nodes[0]):
        return "sum" if 0 in reduced_dims(node) else ""
    if name == "mm":
        left, right = args_of(node)
        turned = op_name(left) in ("permute", "t", "transpose") and not has_rows(left)
        if turned and has_rows(left.all_input_nodes[0]) and has_rows(right):
            return "outer"
    return ""


def turned_rows(node: fx.Node) -> bool:
    """Whether a value has its rows in dimension 1: a product with a matrix for each group of features.

    Raises:
        NotFusableError: the rows are there, and an operation is not known to keep them apart.
    """
    name, args, inputs = op_name(node), args_of(node), node.all_input_nodes
    swaps = (name == "permute" and [d % len(args[1]) for d in args[1][:2]] == [1, 0]) or (
        name == "transpose" and {d % len(shape_of(args[0])) for d in args[1:]} == {0, 1}
    )
    if not any(n.meta["turned"] for n in inputs):
        return swaps and has_rows(args[0])
    if swaps:
        return False
    same = name in POINTWISE | ELEMENTWISE or (name in VIEWS and shape_of(node) == shape_of(inputs[0]))
    if same or (name == "bmm" and args[0].meta["turned"] and args[1].meta["home"] is Home.SHARED):
        return True
    raise NotFusableError(f"{name} mixes the messages of different edges, or is not known to keep them apart")


def check_rowwise(node: fx.Node) -> None:
    """Refuse an operation whose result in one row depends on another row."""
    name, args = op_name(node), args_of(node)
    if name in POINTWISE or name == "getitem" or (name in ELEMENTWISE and has_rows(node)):
        return
    if name in VIEWS:
        if has_rows(node) and not _touches_rows(node, name):
            return
    elif name in REDUCTIONS | ALONG_DIMENSIONS:
        if 0 not in reduced_dims(node):
            return
    elif name in ("cat", "split", "split_with_sizes"):
        position = 1 if name == "cat" else 2
        dim: Any = args[position] if len(args) > position else 0
        first = args[0][0] if name == "cat" else args[0]
        if dim % len(shape_of(first)) != 0:
            return
    elif name == "flip":
        if all(d % len(shape_of(node)) != 0 for d in args[1]):
            return
    elif name in ("slice_backward", "select_backward"):
        if args[2] % len(args[1]) != 0:
            return
    elif name in PRODUCTS:
        left = args[1] if name == "addmm" else args[0]
        right = args[2] if name == "addmm" else args[1]
        if has_rows(left) and (name == "bmm") == has_rows(right):
            return
    elif name in ALONG:
        last = -1 if name in ("sort", "argsort", "topk", "kthvalue") else None
        dim = node.kwargs.get("dim", args[ALONG[name]] if len(args) > ALONG[name] else last)
        if isinstance(dim, int) and dim % len(shape_of(args[0])) != 0 and has_rows(args[0]):
            return
    elif (
        (name == "index" and len(args[1]) == 1)
        or name == "embedding"
        or (name == "index_select" and args[1] % len(shape_of(args[0])) == 0)
    ) and not has_rows(args[0]):
        return  # rows of a table that all edges share, each picked by its own edge
    raise NotFusableError(f"{name} mixes the messages of different edges, or is not known to keep them apart")


def _touches_rows(node: fx.Node, name: str) -> bool:
    args = args_of(node)
    source = args[0]
    rank = len(shape_of(source))
    match name:
        case "permute":
            return bool(args[1][0] % rank != 0)
        case "transpose":
            return 0 in (args[1] % rank, args[2] % rank)
        case "t":
            return True
        case "select":
            return bool(args[1] % rank == 0)
        case "slice":
            return bool((args[1] if len(args) > 1 else 0) % rank == 0)
        case "unsqueeze":
            return bool(args[1] % (rank + 1) == 0)
        case _:
            return False


def reduced_dims(node: fx.Node) -> list[int]:
    """The dimensions that a reduction reduces, none negative."""
    args = args_of(node)
    rank = len(shape_of(args[0]))
    position = 2 if op_name(node) == "linalg_vector_norm" else 1
    dims = args[position] if len(args) > position else None
    if dims is None or dims == []:
        return list(range(rank))
    return [d % rank for d in ([dims] if isinstance(dims, int) else dims)]


def is_view(node: fx.Node) -> bool:
    """Whether a node only looks at its input in another way, at no cost in a kernel."""
    return node.op == "call_function" and op_name(node) in VIEWS
