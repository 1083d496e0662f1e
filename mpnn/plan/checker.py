"""What holds of every trace: with `MPNN_STRICT=1` it is checked after each pass.

A pass that leaves a wrong shape, a value without a home or a size where a number belongs is found where it
happens, not by the numbers of a kernel three passes later.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, fx

from mpnn.plan.homes import has_place, home_after, lives_at, op_name, shape_of, sizes_of, total_of
from mpnn.plan.rows import Rows, RowsMode, mentions_rows, outside_sizes
from mpnn.strict import is_strict


class TraceError(AssertionError):
    """A pass left a trace that is not valid; the text says which pass, and what is wrong."""


def check(graph: fx.Graph, mode: RowsMode, after: str, *, homes: bool = False) -> None:
    """With `MPNN_STRICT=1`, raise if a trace is not what every pass expects.

    Args:
        graph: the operations.
        mode: the mode whose stand-ins the trace was made with.
        after: the name of the last pass.
        homes: whether every value has a home by now.

    Raises:
        TraceError: the trace is not valid.
    """
    if not is_strict():
        return
    known: set[fx.Node] = set()
    for node in graph.nodes:
        fault = (
            "reads what comes later" if not set(node.all_input_nodes) <= known else _fault(node, mode, homes)
        )
        if fault:
            raise TraceError(f"after {after}, {node.name} = {node.target}{node.args} {fault}")
        known.add(node)


def _fault(node: fx.Node, mode: RowsMode, homes: bool) -> str:
    if node.op == "output":
        return ""
    value = node.meta.get("val")
    if not isinstance(value, Tensor | list | tuple):
        return "has no value"
    shape = shape_of(node)
    if shape != sizes_of(value if isinstance(value, Tensor) else value[0]):
        return f"has another shape than its value, {shape}"
    if homes and sum(type(n) is Rows for n in shape) > 1:
        return f"has rows in several dimensions, {shape}"
    if homes and not has_place(node):
        return "has no home"
    if node.op != "call_function":
        return ""
    if any(mentions_rows(v) for v in outside_sizes(node)):
        return "takes the number of rows as a number"
    if homes and op_name(node) not in ("kept", "full") and not total_of(node):
        expected = home_after(node)
        if lives_at(node) is not expected:
            return f"is at home in {lives_at(node).value}, not in {expected.value}"
    return _other_value(node, mode)


def _other_value(node: fx.Node, mode: RowsMode) -> str:
    """How the value that the trace keeps differs from what the operation gives now."""
    target: Any = node.target
    args, kwargs = fx.node.map_arg(mode.symbolic((node.args, node.kwargs)), lambda n: n.meta["val"])
    with torch.no_grad(), mode:
        found, value = target(*args, **kwargs), node.meta["val"]
    if isinstance(found, list | tuple):
        found, value = found[0], value[0]
    if found.dtype != value.dtype or sizes_of(found) != sizes_of(value):
        return f"gives {found.dtype} {sizes_of(found)}, not {value.dtype} {sizes_of(value)}"
    return ""
