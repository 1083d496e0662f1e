"""Numbers as C: how they are stored, how they are written down, arithmetic with them."""

from __future__ import annotations

from collections.abc import Sequence
from math import isinf, isnan

import torch

from mpnn.backends import point
from mpnn.plan.ir import Value
from mpnn.plan.law import in_order
from mpnn.plan.nests import base_of

STORAGE = {
    torch.float32: "float",
    torch.float64: "double",
    torch.bfloat16: "bfloat16",
    torch.float16: "_Float16",
    torch.bool: "uint8_t",
}


def literal(value: float | bool) -> str:
    """A number or a truth value."""
    if isinstance(value, bool):
        return str(int(value))
    number = float(value)
    if isinf(number):
        return "INFINITY" if number > 0 else "(-INFINITY)"
    return "NAN" if isnan(number) else f"((real){number!r})"


def arithmetic(values: Sequence[Value], given: Sequence[str], prefix: str) -> tuple[list[str], list[str]]:
    """The lines that compute some values of the law of a reduction, and how these are then read.

    Args:
        values: each made of points, numbers, and loads of what is given.
        given: the text of each argument.
        prefix: with which the names of variables begin.
    """
    names: dict[Value, str] = {}

    def read(value: Value) -> str:
        base = base_of(value)
        if base.op == "const":
            return literal(base.detail)
        return given[base.detail] if base.op == "load" else names[base]

    lines = []
    for value in in_order(values):
        names[value] = f"{prefix}{len(names)}"
        kind, text = "int" if value.boolean else "real", point.C[value.name].format(*map(read, value.args))
        lines.append(f"const {kind} {names[value]} = {text};")
    return lines, [read(value) for value in values]
