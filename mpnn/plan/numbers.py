"""Numbers that change from call to call are arguments of a kernel, not part of its text.

A temperature that is annealed differs in each step; a plan for each value would be traced and compiled anew.
So if a step differs from a known one only in numbers that its message or aggregator reads
(`self.temperature`, a variable of the enclosing scope, an argument), these become inputs of the kernel, as
tensors of one number. A message that needs such a number as a number, say for a branch, gets a plan for each
value, up to `MOST_ALIKE`, and then none.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass, field
from types import CellType, FunctionType, MethodType
from typing import Any

import torch
from torch import nn

from mpnn.plan.capture import Path
from mpnn.plan.composed import with_attributes
from mpnn.plan.functions import all_names

MOST_ALIKE = 16  # plans that differ in numbers alone

_NUMBERS = (float, int)


def masked(key: Hashable, values: list[Any]) -> Hashable:
    """A key without its numbers, which are added to `values` in order."""
    if type(key) is not tuple:
        return key
    if len(key) == 2 and key[0] in _NUMBERS and type(key[1]) is key[0]:
        values.append(key[1])
        return (key[0],)
    return tuple([masked(part, values) for part in key])


@dataclass
class Family:
    """Steps that differ in numbers alone."""

    values: list[Any]  # of the first of them, by place in its key
    reached: dict[Path, float]  # of the first of them, by path
    paths: frozenset[Path] = frozenset()  # of those that have changed
    by_itself: set[tuple[Any, ...]] = field(default_factory=set)  # numbers for which there is a plan
    by_value: bool = False  # whether the message needs a number as a number

    def changed(self, values: Sequence[Any]) -> set[int]:
        """The places of the numbers that differ from the first step's."""
        return {k for k, (old, new) in enumerate(zip(self.values, values, strict=True)) if old != new}

    def see(self, reached: Mapping[Path, float]) -> None:
        """Note the paths of the numbers that have changed; a path without a number now is not among them."""
        both = self.reached.keys() & reached.keys()
        self.paths |= {path for path in both if self.reached[path] != reached[path]}


def sentinels(paths: frozenset[Path], reached: Mapping[Path, float]) -> dict[Path, float]:
    """Numbers that occur nowhere else; set at a path, they show where in a key that path's number is."""
    return {path: type(reached[path])(2.0**80 + k * 2.0**40) for k, path in enumerate(sorted(paths), start=1)}


def numbers_of(
    function: Callable[..., Any], aggregator: nn.Module, arguments: Mapping[str, Any]
) -> dict[Path, float]:
    """The numbers that a message and its aggregator read, by path."""
    found: dict[Path, Any] = {("argument", name): value for name, value in arguments.items()}
    owner, plain = getattr(function, "__self__", None), getattr(function, "__func__", function)
    if isinstance(owner, nn.Module):
        found.update({("self", name): value for name, value in owner.__dict__.items()})
    found.update({("aggregator", name): value for name, value in aggregator.__dict__.items()})
    if isinstance(plain, FunctionType):
        cells: tuple[CellType, ...] = plain.__closure__ or ()
        found.update({("closure", str(k)): cell.cell_contents for k, cell in enumerate(cells)})
        names = set(all_names(plain.__code__)) & plain.__globals__.keys()
        found.update({("global", name): plain.__globals__[name] for name in names})
    return {path: value for path, value in found.items() if type(value) in _NUMBERS}


def with_numbers(
    function: Callable[..., Any], aggregator: nn.Module, numbers: Mapping[Path, Any]
) -> tuple[Callable[..., Any], nn.Module]:
    """The same message and aggregator, with other values for some of the numbers that they read."""
    given: dict[str, dict[str, Any]] = {}
    for root, name in numbers:
        given.setdefault(root, {})[name] = numbers[root, name]
    if "aggregator" in given:
        aggregator = with_attributes(aggregator, given["aggregator"])
    owner, plain = getattr(function, "__self__", None), getattr(function, "__func__", function)
    if "self" in given:
        assert isinstance(owner, nn.Module)
        owner = with_attributes(owner, given["self"])
    if "closure" in given or "global" in given:
        cells = [
            CellType(given.get("closure", {}).get(str(k), cell.cell_contents))
            for k, cell in enumerate(plain.__closure__ or ())
        ]
        namespace = {**plain.__globals__, **given.get("global", {})}
        made = FunctionType(
            plain.__code__, namespace, plain.__name__, plain.__defaults__, tuple(cells) if cells else None
        )
        made.__kwdefaults__ = plain.__kwdefaults__
        plain = made
    return plain if owner is None else MethodType(plain, owner), aggregator


def type_beside(tensors: Sequence[torch.Tensor]) -> torch.dtype | None:
    """The type of a number that becomes a tensor beside others; None if whole numbers would become real."""
    if any(not t.is_floating_point() for t in tensors):
        return None
    return torch.float64 if any(t.dtype == torch.float64 for t in tensors) else torch.float32
