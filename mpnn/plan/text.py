"""The per-edge part of a plan as text, from which another process can make the plan again.

A compiled function that was saved holds what its kernels do in this form: the ATen operations of the trace,
as JSON. Nothing of it is executed as Python; only operations of PyTorch and of this package can be named.
"""

from __future__ import annotations

import json
import operator
from collections.abc import Callable, Sequence
from typing import Any, cast

import torch
from torch import Tensor, fx

from mpnn.aggregate.aggregators import Aggregator
from mpnn.aggregate.reduction import Applied, applied, named
from mpnn.borrowed import FakeTensorMode, OpOverload
from mpnn.plan.homes import Home, feature_shape, has_rows, lives_at, shape_of
from mpnn.plan.plan import Plan, make_plan
from mpnn.plan.rows import NotFusableError, Rows, replaced

NAMESPACES = ("aten", "mpnn")
VERSION = 1  # of the text: another one as soon as an older mpnn would read it wrongly, or not at all


class Reduced(Aggregator):
    """Of a message that says itself how it is reduced."""

    def split(self, messages: list[Applied]) -> list[Applied]:
        """The message."""
        return messages


def plan_to_text(plan: Plan) -> str:
    """The operations of a plan per edge and per row, without those once per node before them.

    Raises:
        NotFusableError: an operation of the plan has no form as text.
    """
    number = {node: k for k, node in enumerate([*plan.hoisted.inputs, *plan.hoisted.core])}
    inputs = [
        [lives_at(n).value, list(_row_shape(n)), _write(n.meta["val"].dtype, number), _is_merged(n)]
        for n in plan.hoisted.inputs
    ]
    operations = [
        [_name(n.target), _write(n.args, number), _write(n.kwargs, number)] for n in plan.hoisted.core
    ]
    outputs = [number[n] for n in plan.core.results]
    kinds = [reduction.name for reduction in plan.reductions]
    program = {"inputs": inputs, "operations": operations, "kinds": kinds, "outputs": outputs}
    return json.dumps({"version": VERSION} | program)


def plan_from_text(text: str, device: torch.device | str = "cpu") -> Plan:
    """The plan of a text, for tensors on a device, where it also makes new tensors such as a table of zeros.

    Raises:
        ValueError: the text is not one that `plan_to_text` of this version writes.
    """
    try:
        written = _of_this_version(json.loads(text))
        operations = [
            (_function(name), _read(args, device), _read(kwargs, device))
            for name, args, kwargs in written["operations"]
        ]
        examples = []
        for home, shape, dtype, _ in written["inputs"]:
            one_row = shape if home == "shared" else (1, *shape)
            with FakeTensorMode():
                example = torch.empty(one_row, dtype=_read(dtype, device), device=device)
            examples.append((Home(home), example))
        merged, outputs = [m for *_, m in written["inputs"]], written["outputs"]
        reductions = [named(kind) for kind in written["kinds"]]
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise ValueError(
            f"a compiled function holds a program of mpnn that cannot be read ({error})."
        ) from error
    names = [f"v{k}" for k in range(len(examples))]
    with_rows = {name for name, (home, _) in zip(names, examples, strict=True) if home is not Home.SHARED}

    def message(**inputs: Tensor) -> list[Applied]:
        values: list[Any] = [
            inputs[name].flatten(0, 1) if m else inputs[name] for name, m in zip(names, merged, strict=True)
        ]
        num_rows = next((inputs[name].size(0) for name in names if name in with_rows), 0)
        for function, args, kwargs in operations:
            args, kwargs = (_looked_up(replaced(given, num_rows), values) for given in (args, kwargs))
            values.append(function(*args, **kwargs))
        return applied(reductions, [values[k] for k in outputs])

    plan = make_plan(message, Reduced(), names, examples, {})
    if plan.hoisted.moved or len(plan.hoisted.inputs) != len(names) or plan.captured.each:
        raise NotFusableError("the program of a compiled function is not what this version makes of it")
    return plan


def _of_this_version(written: Any) -> dict[str, Any]:
    version = written.get("version") if isinstance(written, dict) else None
    if version != VERSION:
        raise ValueError(
            f"its version is {version!r}, and this mpnn reads version {VERSION}: compile and save it again"
        )
    return cast(dict[str, Any], written)


def _row_shape(node: fx.Node) -> tuple[int, ...]:
    return shape_of(node) if lives_at(node) is Home.SHARED else feature_shape(node)


def _is_merged(node: fx.Node) -> bool:
    return lives_at(node) is not Home.SHARED and has_rows(node) and _row_shape(node) != shape_of(node)[1:]


# Names of functions, and arguments ----------------------------------------------------------------------


def _name(target: Any) -> str:
    if target is operator.getitem:
        return "getitem"
    name = str(target)
    if not isinstance(target, OpOverload) or name.split(".")[0] not in NAMESPACES:
        raise NotFusableError(f"{name} cannot be written down")
    return name


def _function(name: str) -> Callable[..., Any]:
    if name == "getitem":
        return operator.getitem
    namespace, operation, overload = name.split(".")
    if namespace not in NAMESPACES:
        raise ValueError(f"{name} is no operation of PyTorch")
    return cast(Callable[..., Any], getattr(getattr(getattr(torch.ops, namespace), operation), overload))


class _Place(int):
    """The value of an earlier operation."""


_TYPES: dict[str, type] = {"dtype": torch.dtype, "memory_format": torch.memory_format, "layout": torch.layout}


def _write(value: Any, number: dict[fx.Node, int]) -> Any:
    if isinstance(value, fx.Node):
        return {"value": number[value]}
    if isinstance(value, list | tuple):
        return [_write(v, number) for v in value]
    if isinstance(value, dict):
        return {"kwargs": {name: _write(v, number) for name, v in value.items()}}
    if isinstance(value, torch.device):
        return {"device": str(value)}
    for name, kind in _TYPES.items():
        if isinstance(value, kind):
            return {name: str(value).removeprefix("torch.")}
    if isinstance(value, Rows):
        return {"rows": value.times}
    if value is None or isinstance(value, bool | int | float | str):
        return value
    raise NotFusableError(f"a {type(value).__name__} cannot be written down")


def _read(value: Any, device: torch.device | str) -> Any:
    if isinstance(value, list):
        return [_read(v, device) for v in value]
    if not isinstance(value, dict):
        return value
    ((name, content),) = value.items()
    if name == "value":
        return _Place(content)
    if name == "rows":
        return Rows(int(content))
    if name == "kwargs":
        return {key: _read(v, device) for key, v in content.items()}
    if name == "device":
        return torch.device(device)
    found = getattr(torch, content)
    if not isinstance(found, _TYPES[name]):
        raise ValueError(f"{content} is no {name}")
    return found


def _looked_up(value: Any, values: Sequence[Any]) -> Any:
    if isinstance(value, _Place):
        return values[value]
    if isinstance(value, list):
        return [_looked_up(v, values) for v in value]
    if isinstance(value, dict):
        return {name: _looked_up(v, values) for name, v in value.items()}
    return value
