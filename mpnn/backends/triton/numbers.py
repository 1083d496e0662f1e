"""Numbers as Triton: how they are written down, arithmetic with them."""

from __future__ import annotations

from collections.abc import Sequence
from math import isinf, isnan

from mpnn.backends import point
from mpnn.plan.ir import Value
from mpnn.plan.law import in_order
from mpnn.plan.nests import base_of

# The operands from which the result has its type: one of them at least must be a tensor.
TYPED_BY = {"where": (1, 2), "masked_fill": (0, 2)}
# Others write a method of an operand, or call a function of the prelude that does.
LITERALS_FIT = frozenset([
    "add", "sub", "mul", "div", "maximum", "minimum", "where", "masked_fill",
    "gt", "ge", "lt", "le", "eq", "ne",
])  # fmt: skip


def literal(value: float | bool) -> str:
    """A number or a truth value."""
    if isinstance(value, bool):
        return str(int(value))
    number = float(value)
    return f'float("{number}")' if isinf(number) or isnan(number) else repr(number)


def needs_tensors(name: str, literals: Sequence[bool]) -> bool:
    """Whether an operation takes no literals where these stand among its operands."""
    typed_by = [literals[k] for k in TYPED_BY.get(name, range(len(literals)))]
    return name not in LITERALS_FIT or all(typed_by)


def arithmetic(
    values: Sequence[Value], given: Sequence[str], real: str, prefix: str = "v"
) -> tuple[list[str], list[str]]:
    """The lines that compute some values of the law of a reduction, and how these are then read.

    Args:
        values: each made of points, numbers, and loads of what is given.
        given: the text of each argument, a tensor.
        real: the type that is computed in.
        prefix: with which the names of variables begin.
    """
    names: dict[Value, str] = {}

    def read(value: Value, as_tensor: bool) -> str:
        base = base_of(value)
        if base.op == "const":  # without a dimension, as functions that reduce slots want it
            return f"tl.full([], {literal(base.detail)}, {real})" if as_tensor else literal(base.detail)
        return given[base.detail] if base.op == "load" else names[base]

    lines = []
    for value in in_order(values):
        as_tensors = needs_tensors(value.name, [base_of(a).op == "const" for a in value.args])
        operands = [read(a, as_tensors) for a in value.args]
        names[value] = f"{prefix}{len(names)}"
        text = point.TRITON[value.name].replace("REAL", real).format(*operands)
        lines.append(f"{names[value]} = {text}")
    return lines, [read(value, as_tensor=True) for value in values]
