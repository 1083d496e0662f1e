"""Which argument a sum of messages is linear in: Σ_j s_ij x_j, with a number for each edge."""

from __future__ import annotations

from torch import fx

from mpnn.aggregate.reductions import SUM
from mpnn.plan.front import placeholders_of
from mpnn.plan.homes import Home, args_of, lives_at, op_name, row_size, shape_of
from mpnn.plan.plan import Plan


def summed_rows(plan: Plan) -> str | None:
    """The argument whose rows at the sources are the messages themselves, where they are summed."""
    value, *others = plan.hoisted.outputs
    return _row_at_source(value, plan) if plan.reductions == (SUM,) and not others else None


def linear_in(plan: Plan) -> str | None:
    """The argument x of a sum or a mean of s_ij x_j, where nothing but this product reads x_j."""
    value, *others = plan.hoisted.outputs
    if others or not plan.reductions[0].linear:
        return None
    while value.op == "call_function":
        if op_name(value) not in ("mul", "div") or value.kwargs:
            return None
        x, factor = args_of(value)
        if op_name(value) == "mul" and _is_number(x):
            x, factor = factor, x
        if not _is_number(factor) or not isinstance(x, fx.Node) or shape_of(x) != shape_of(value):
            return None
        value = x
    return _row_at_source(value, plan)


def _is_number(value: object) -> bool:
    """Whether a factor is one number for each edge, or for all."""
    return not isinstance(value, fx.Node) or row_size(value) == 1


def _row_at_source(node: fx.Node, plan: Plan) -> str | None:
    """The name of an argument that is a row of a matrix at the source, and is read once."""
    once = node.op == "placeholder" and len(node.users) == 1
    if not once or lives_at(node) is not Home.SRC or len(shape_of(node)) != 2:
        return None
    name = dict(zip(placeholders_of(node.graph), plan.names, strict=False)).get(node)
    return name if name and "." not in name else None  # with a dot, it is part of a map that is to be done
