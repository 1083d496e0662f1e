"""From the ATen operations of a trace to the per-edge program."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import inf, nan, prod
from typing import Any

import numpy as np
import torch
from torch import Tensor, fx

from mpnn.plan.homes import (
    Home,
    args_of,
    feature_shape,
    has_rows,
    is_turned,
    join,
    lives_at,
    op_name,
    shape_of,
)
from mpnn.plan.ir import Input, Value, view_expand, view_reshape
from mpnn.plan.operations import COPIES, POINTWISE, VIEWS
from mpnn.plan.rows import ROWS, NotFusableError
from mpnn.plan.rowwise import reduced_dims

Shape = tuple[int, ...]
# Which operands of an operation are truth values; all others are numbers.
TRUTHS: dict[str, tuple[int, ...]] = {
    "where": (0,), "masked_fill": (1,),
    **dict.fromkeys(("logical_and", "logical_or", "logical_xor", "logical_not"), (0, 1)),
    **dict.fromkeys(("bitwise_and", "bitwise_or", "bitwise_xor", "bitwise_not"), (0, 1)),
}  # fmt: skip
# The operations on whole numbers that have a kernel: a count of truth values, constants, views of these and
# choices between them.
WHOLE = VIEWS | frozenset(["sum", "full", "zeros", "ones", "scalar_tensor", "getitem", "cat", "where"])
COMPARISONS = frozenset(["gt", "ge", "lt", "le", "eq", "ne"])
HALF = {torch.bfloat16: "bfloat16", torch.float16: "float16"}  # the operation that rounds to it
# A kernel reads the weights again for every edge; with more of them, one product for many edges is faster.
MOST_WEIGHTS = 1 << 16


def input_of(node: fx.Node) -> Input:
    """The kernel's view of a value that is computed before it."""
    home = lives_at(node)
    shape = shape_of(node) if home is Home.SHARED else feature_shape(node)
    return Input(home, shape, node.meta["val"].dtype)


class Lowering:
    """Turns the nodes of a trace into values, each once."""

    def __init__(self, inputs: Sequence[fx.Node]) -> None:
        self._values: dict[fx.Node, Value] = {}
        for index, node in enumerate(inputs):
            given = input_of(node)
            boolean = given.dtype == torch.bool
            self._values[node] = Value("load", (), given.shape, "", index, given.home, boolean)

    def __call__(self, node: fx.Node) -> Value:
        """The value of a node."""
        known = self._values.get(node)
        if known is None:
            known = self._values[node] = self._lower(node)
        return known

    def _lower(self, node: fx.Node) -> Value:
        name = op_name(node)
        if is_turned(node):
            raise NotFusableError(f"{name} has no kernel where edges are not the first dimension")
        if _is_whole(node) and name not in WHOLE:
            raise NotFusableError(f"{name} of whole numbers has no kernel")
        handler = _HANDLERS.get(name)
        if handler is not None:
            return handler(self, node)
        if name in POINTWISE:
            return self._pointwise(node, name)
        raise NotFusableError(f"{name} has no kernel")

    # Arithmetic ---------------------------------------------------------------------------------------

    def _pointwise(self, node: fx.Node, name: str) -> Value:
        args = list(args_of(node))
        if name in COPIES:
            return self._copied(node)
        alpha = node.kwargs.get("alpha", 1)
        rounding = node.kwargs.get("rounding_mode")
        if rounding is not None:
            name = f"{name}_{rounding}"
        if name == "round" and node.kwargs.get("decimals"):
            return self._rounded(node)
        if name == "rsub":
            name, args = "sub", [args[1], args[0]]
        if name in ("clamp", "clamp_min", "clamp_max"):
            return self._clamp(node, name)
        if name == "pow":
            return self._power(node)
        values = [self.operand(a, node) for a in args]
        truths = TRUTHS.get(name, ())
        values = [truth(v) if k in truths else number(v) for k, v in enumerate(values)]
        if alpha != 1:
            assert isinstance(alpha, int | float)
            values[1] = point("mul", [values[1], constant(alpha)])
        if name in COMPARISONS:
            values = [_as_stored(v, a, args) for v, a in zip(values, args, strict=True)]
        value = point(name, values)
        if node.meta["val"].dtype == torch.bool:  # a product or a choice of truths
            value = truth(value)
        return self._shaped(value, node)

    def _copied(self, node: fx.Node) -> Value:
        value = self._aligned(node.args[0], node)
        target = node.meta["val"].dtype
        return truth(value) if target == torch.bool else number(value)

    def _clamp(self, node: fx.Node, name: str) -> Value:
        args = dict(zip(("value", "low", "high"), node.args, strict=False)) | {
            {"min": "low", "max": "high"}[k]: v for k, v in node.kwargs.items()
        }
        if name == "clamp_max":
            args = {"value": node.args[0], "high": node.args[1]}
        value = self.operand(args["value"], node)
        for bound, op in (("low", "maximum"), ("high", "minimum")):
            if args.get(bound) is not None:
                value = point(op, [value, self.operand(args[bound], node)])
        return self._shaped(value, node)

    def _power(self, node: fx.Node) -> Value:
        base, exponent = args_of(node)
        value = number(self.operand(base, node))
        if not isinstance(exponent, int | float):
            return point("pow", [value, number(self.operand(exponent, node))])
        match exponent:
            case 0:
                return constant(1.0, value.shape)
            case 1:
                return value
            case 2:
                return point("mul", [value, value])
            case 3:
                return point("mul", [value, point("mul", [value, value])])
            case 0.5:
                return point("sqrt", [value])
            case -0.5:
                return point("rsqrt", [value])
            case -1:
                return point("reciprocal", [value])
            case _:
                return point("pow", [value, constant(float(exponent))])

    def _rounded(self, node: fx.Node) -> Value:
        decimals = node.kwargs["decimals"]
        assert isinstance(decimals, int)
        there, back = ("mul", "div") if decimals > 0 else ("div", "mul")
        power = constant(10.0 ** abs(decimals))
        scaled = point(there, [self.operand(node.args[0], node), power])
        return self._shaped(point(back, [point("round", [scaled]), power]), node)

    def operand(self, argument: Any, user: fx.Node) -> Value:
        """An operand of an element-by-element operation, in feature dimensions."""
        if isinstance(argument, bool | int | float):
            return constant(argument)
        return self._aligned(argument, user)

    def _aligned(self, argument: Any, user: fx.Node) -> Value:
        value = self(argument)
        # A shared tensor of the same rank has length 1 in dimension 0, where the other operand has rows.
        rowless = not has_rows(argument) and has_rows(user)
        if rowless and len(shape_of(argument)) == len(shape_of(user)) and shape_of(user)[0] == ROWS:
            if shape_of(argument)[0] != 1:
                shape = list(shape_of(argument))
                raise NotFusableError(f"a tensor of shape {shape} does not say which row is whose")
            return view_reshape(value, value.shape[1:])
        return value

    def _shaped(self, value: Value, node: fx.Node) -> Value:
        return value if value.shape == feature_shape(node) else view_expand(value, feature_shape(node))

    # Views --------------------------------------------------------------------------------------------

    def _reshaped(self, node: fx.Node) -> Value:
        return view_reshape(self(_source(node)), feature_shape(node))

    def _expanded(self, node: fx.Node) -> Value:
        return view_expand(self._aligned(_source(node), node), feature_shape(node))

    def _permuted(self, node: fx.Node) -> Value:
        args = args_of(node)
        rank = len(shape_of(_source(node)))
        if op_name(node) == "permute":
            dims = [d % rank for d in args[1]]
        else:
            a, b = (0, 1) if op_name(node) == "t" else (args[1] % rank, args[2] % rank)
            dims = list(range(rank))
            dims[a], dims[b] = b, a
        value = self(_source(node))
        if has_rows(node):
            if shape_of(node)[0] != ROWS:
                raise NotFusableError("a transposition of merged rows has no kernel")
            dims = [d - 1 for d in dims[1:]]
        return Value("view", (value,), feature_shape(node), "permute", tuple(dims), value.home, value.boolean)

    def _selected(self, node: fx.Node) -> Value:
        _, dim, index = args_of(node)
        dim, length = self._feature_dim(_source(node), dim)
        start = index % length
        return view_reshape(sliced(self(_source(node)), dim, start, start + 1), feature_shape(node))

    def _sliced(self, node: fx.Node) -> Value:
        defaults = (None, 0, None, None, 1)
        args = args_of(node)
        _, dim, start, end, step = tuple(args) + defaults[len(args) :]
        dim, length = self._feature_dim(_source(node), dim)
        first, last, _ = slice(start, end).indices(length)
        return sliced(self(_source(node)), dim, first, max(first, last), step)

    def _flipped(self, node: fx.Node) -> Value:
        value = self(_source(node))
        for d in args_of(node)[1]:
            dim, length = self._feature_dim(_source(node), d)
            detail = (dim, length - 1, -1)
            value = Value("view", (value,), value.shape, "slice", detail, value.home, value.boolean)
        return value

    def _item(self, node: fx.Node) -> Value:
        split, index = args_of(node)
        if op_name(split) not in ("split", "split_with_sizes"):
            raise NotFusableError(f"{op_name(split)} has no kernel")
        _, sizes, *rest = args_of(split)
        dim, length = self._feature_dim(_source(split), rest[0] if rest else 0)
        if isinstance(sizes, int):
            sizes = [min(sizes, length - k) for k in range(0, length, sizes)]
        start = sum(sizes[:index])
        return sliced(self(_source(split)), dim, start, start + sizes[index])

    def _feature_dim(self, source: fx.Node, dim: Any) -> tuple[int, int]:
        shape = shape_of(source)
        dim = int(dim) % len(shape)
        if not has_rows(source):
            return dim, shape[dim]
        return (dim - 1 if shape[0] == ROWS else dim), shape[dim]

    def _concatenated(self, node: fx.Node) -> Value:
        args = args_of(node)
        dim, _ = self._feature_dim(node, args[1] if len(args) > 1 else 0)
        values = [self(a) for a in args[0]]
        if len(values) == 1:
            return values[0]
        starts, start = [], 0
        for value in values:
            starts.append(tuple(start if d == dim else 0 for d in range(len(value.shape))))
            start += value.shape[dim]
        return joined(values, starts, feature_shape(node))

    def _slice_backward(self, node: fx.Node) -> Value:
        _, _, dim, start, end, step = args_of(node)
        dim, length = self._feature_dim(node, dim)
        first = slice(start, end).indices(length)[0]
        value = self(_source(node))
        if step != 1:
            value = spread(value, dim, step, length - first)
        where = tuple(first if d == dim else 0 for d in range(len(value.shape)))
        return joined([value], [where], feature_shape(node))

    def _select_backward(self, node: fx.Node) -> Value:
        _, _, dim, index = args_of(node)
        dim, length = self._feature_dim(node, dim)
        value = self(_source(node))
        value = view_reshape(value, (*value.shape[:dim], 1, *value.shape[dim:]))
        where = tuple(index % length if d == dim else 0 for d in range(len(value.shape)))
        return joined([value], [where], feature_shape(node))

    # Reductions over features, and products -----------------------------------------------------------

    def _reduced(self, node: fx.Node) -> Value:
        source = _source(node)
        dims = [self._feature_dim(source, d)[0] for d in reduced_dims(node)]
        value = number(self(source))
        if op_name(node) == "any":
            if value.size == 0:
                return truth(constant(0.0, feature_shape(node)))
            return view_reshape(truth(reduced("max", number(truth(value)), dims)), feature_shape(node))
        kind = {"sum": "sum", "mean": "sum", "amax": "max", "amin": "min"}[op_name(node)]
        out = reduced(kind, value, dims)
        if op_name(node) == "mean":
            out = point("mul", [out, constant(out.size / value.size if value.size else nan)])
        if node.meta["val"].dtype == torch.bool:
            out = truth(out)
        return view_reshape(out, feature_shape(node))

    def _norm(self, node: fx.Node) -> Value:
        source, order = _source(node), (*args_of(node)[1:2], 2)[0]
        dims = [self._feature_dim(source, d)[0] for d in reduced_dims(node)]
        value = self(source)
        if order == 2:
            out = point("sqrt", [reduced("sum", point("mul", [value, value]), dims)])
        elif order in (1, inf, -inf):
            kind = {1: "sum", inf: "max", -inf: "min"}[order]
            out = reduced(kind, point("abs", [value]), dims)
        elif order == 0:
            out = reduced("sum", point("float", [point("ne", [value, constant(0.0)])]), dims)
        else:
            powers = point("pow", [point("abs", [value]), constant(float(order))])
            out = point("pow", [reduced("sum", powers, dims), constant(1 / order)])
        return view_reshape(out, feature_shape(node))

    def _product(self, node: fx.Node) -> Value:
        *bias, left, right = args_of(node)
        if not has_rows(right) and prod(shape_of(right)) > MOST_WEIGHTS:
            shape = "×".join(map(str, shape_of(right)))
            raise NotFusableError(
                f"a product with {shape} weights on every edge is faster for many edges at once"
            )
        product = self._shaped(contracted(self(left), self(right)), node)
        return point("add", [product, self.operand(bias[0], node)]) if bias else product

    def outer(self, node: fx.Node) -> Value:
        """One row's share of Aᵀ B, a sum over rows: the outer product of the two rows."""
        turned, right = args_of(node)
        a, b = self(_source(turned)), self(right)
        out = point("mul", [view_reshape(a, (*a.shape, 1)), view_reshape(b, (*b.shape[:-1], 1, b.shape[-1]))])
        leading = list(range(len(out.shape) - 2))  # feature dimensions that were merged with the rows
        return view_reshape(reduced("sum", out, leading), out.shape[-2:])

    def summed(self, node: fx.Node) -> Value:
        """One row's share of a sum whose dimensions include the rows."""
        source = _source(node)
        value = self(source)
        offset = 1 if shape_of(source)[0] == ROWS else 0
        dims = [d - offset for d in reduced_dims(node) if d >= offset]
        return view_reshape(reduced("sum", value, dims), shape_of(node))


def _source(node: fx.Node) -> fx.Node:
    source: fx.Node = args_of(node)[0]
    return source


# Building values ----------------------------------------------------------------------------------------

_BOOLEAN = frozenset([
    "gt", "ge", "lt", "le", "eq", "ne", "isnan", "isinf", "logical_and", "logical_or", "logical_xor",
    "logical_not", "bitwise_and", "bitwise_or", "bitwise_xor", "bitwise_not",
])  # fmt: skip


def constant(number: Any, shape: Shape = ()) -> Value:
    """A number as a value of a shape."""
    return Value("const", (), shape, "", number, Home.SHARED, isinstance(number, bool))


def truth(value: Value) -> Value:
    """The truth value of each number: whether it is not 0."""
    return value if value.boolean and value.op != "const" else point("ne", [number(value), constant(0.0)])


def number(value: Value) -> Value:
    """A truth value as the number 0 or 1, with which PyTorch computes."""
    if value.op == "const":
        return constant(float(value.detail), value.shape)
    return point("float", [value]) if value.boolean else value


def _as_stored(value: Value, argument: Any, others: Sequence[Any]) -> Value:
    """A number rounded to the type of its tensor: PyTorch compares half precision after storing it."""
    if isinstance(argument, fx.Node):
        name = HALF.get(argument.meta["val"].dtype)
        return value if name is None or _base(value).op in ("load", "const") else point(name, [value])
    types = {o.meta["val"].dtype for o in others if isinstance(o, fx.Node)}
    if types and types <= HALF.keys() and value.op == "const":
        return constant(torch.tensor(float(value.detail), dtype=max(types, key=str)).item(), value.shape)
    return value


def _base(value: Value) -> Value:
    while value.op == "view":
        value = value.args[0]
    return value


def _is_whole(node: fx.Node) -> bool:
    """Whether a node gives whole numbers, which PyTorch divides and rounds differently."""
    value = node.meta["val"]
    return isinstance(value, Tensor) and not (value.dtype.is_floating_point or value.dtype == torch.bool)


def point(name: str, args: Sequence[Value]) -> Value:
    """Element-by-element arithmetic on broadcast operands."""
    shape = np.broadcast_shapes(*(a.shape for a in args))
    return Value("point", tuple(args), tuple(shape), name, None, _home(args), name in _BOOLEAN)


def sliced(value: Value, dim: int, start: int, end: int, step: int = 1) -> Value:
    """A range of one dimension."""
    count = len(range(start, end, step))
    shape = tuple(count if d == dim else n for d, n in enumerate(value.shape))
    if shape == value.shape:
        return value
    return Value("view", (value,), shape, "slice", (dim, start, step), value.home, value.boolean)


def spread(value: Value, dim: int, step: int, length: int) -> Value:
    """Every `step`-th of `length` places along a dimension, zeros between: a slice with a step, undone."""
    before, behind = value.shape[:dim], value.shape[dim + 1 :]
    blocks = -(-length // step)
    column = view_reshape(value, (*value.shape[: dim + 1], 1, *behind))
    wide = joined([column], [(0,) * len(column.shape)], (*before, blocks, step, *behind))
    return sliced(view_reshape(wide, (*before, blocks * step, *behind)), dim, 0, length)


def joined(values: Sequence[Value], where: Sequence[Shape], shape: Shape) -> Value:
    """Values side by side in a larger one that is zero elsewhere."""
    parts = [(value, at) for value, at in zip(values, where, strict=True) if value.size]
    if not parts:
        return constant(0.0, shape)
    values, where = zip(*parts, strict=True)
    return Value("join", values, shape, "", where, _home(values))


def reduced(kind: str, value: Value, dims: Sequence[int]) -> Value:
    """A reduction over feature dimensions, which keep length one."""
    if all(value.shape[d] == 1 for d in dims):
        return value
    shape: Shape = tuple(1 if d in dims else n for d, n in enumerate(value.shape))
    if value.size == 0:  # so that the printers never get a dimension of length 0
        if kind != "sum" and 0 not in shape:
            raise NotFusableError(f"the {kind}imum of no numbers is none")
        return constant(0.0, shape)
    return Value("reduce", (value,), shape, kind, tuple(sorted(dims)), value.home)


def contracted(left: Value, right: Value) -> Value:
    """[..., k] times [k, n], or [..., m, k] times [..., k, n], row by row."""
    if len(right.shape) == 2 and right.home is Home.SHARED:
        product = point("mul", [view_reshape(left, (*left.shape, 1)), right])
    else:
        grown = view_reshape(right, (*right.shape[:-2], 1, *right.shape[-2:]))
        product = point("mul", [view_reshape(left, (*left.shape, 1)), grown])
    axis = len(product.shape) - 2
    out = reduced("sum", product, [axis])
    return view_reshape(out, (*out.shape[:axis], out.shape[-1]))


def _home(values: Sequence[Value]) -> Home:
    return join({v.home for v in values})


_HANDLERS: dict[str, Callable[[Lowering, fx.Node], Value]] = {
    **dict.fromkeys(("view", "_unsafe_view", "reshape", "unsqueeze", "squeeze"), Lowering._reshaped),
    **dict.fromkeys(("permute", "transpose", "t"), Lowering._permuted),
    **dict.fromkeys(("sum", "mean", "amax", "amin", "any"), Lowering._reduced),
    **dict.fromkeys(("mm", "addmm", "bmm"), Lowering._product),
    "linalg_vector_norm": Lowering._norm,
    "expand": Lowering._expanded,
    "select": Lowering._selected,
    "slice": Lowering._sliced,
    "flip": Lowering._flipped,
    "getitem": Lowering._item,
    "cat": Lowering._concatenated,
    "slice_backward": Lowering._slice_backward,
    "select_backward": Lowering._select_backward,
    "full": lambda _, node: constant(node.args[1], feature_shape(node)),
    "zeros": lambda _, node: constant(0.0, feature_shape(node)),
    "ones": lambda _, node: constant(1.0, feature_shape(node)),
    "kept": lambda _, node: Value(
        "point", (), feature_shape(node), "kept", (args_of(node)[1], args_of(node)[2]), Home.EDGE
    ),
    "scalar_tensor": lambda _, node: constant(node.args[0]),
}
