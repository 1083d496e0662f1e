"""The per-edge program: a small typed language that every kernel printer knows.

A value has a feature shape, without the row that a tensor would have in front. An operation is one of

    load     an input: `index` says which
    const    a number
    point    arithmetic, element by element, operands broadcast from the right
    view     the same numbers in another shape or order: "reshape", "permute", "expand", "slice" with their
             arguments; a slice is (dimension, first index, step), and the step may be negative
    join     values side by side in a larger one, zeros elsewhere: `where` gives each operand's first index
    reduce   "sum", "max" or "min" over feature dimensions, which stay with length one
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from functools import cached_property
from math import prod
from typing import Any

import torch

from mpnn.aggregate.reduction import PerNode, Reduction
from mpnn.plan.homes import Home


@dataclass(frozen=True, eq=False)
class Value:
    """One value of the program."""

    op: str
    args: tuple[Value, ...]
    shape: tuple[int, ...]
    name: str = ""
    detail: Any = None
    home: Home = Home.SHARED
    boolean: bool = False

    @property
    def size(self) -> int:
        """How many numbers it holds."""
        return prod(self.shape)


@dataclass(frozen=True)
class Input:
    """A tensor that the kernel reads: `[rows of its home, *shape]`."""

    home: Home
    shape: tuple[int, ...]
    dtype: torch.dtype

    @property
    def size(self) -> int:
        """Numbers per row."""
        return prod(self.shape)


class Over(Enum):
    """The edges whose values an output reduces together."""

    ROW = "row"
    EDGE = "edge"  # each alone: the value is written as it is
    ALL = "all"


@dataclass(frozen=True)
class Output:
    """How a per-edge value is reduced and stored; a reduction of two tensors has a score as well."""

    reduction: Reduction  # over more than a row a sum
    value: Value
    dtype: torch.dtype  # in which it is stored
    score: Value | None = None
    over: Over = Over.ROW

    @property
    def saves(self) -> int:
        """How many tensors follow the output, for the way back."""
        return self.reduction.saves if self.over is Over.ROW else 0

    @property
    def saved_shape(self) -> tuple[int, ...]:
        """Of a row of each of these."""
        return (self.score or self.value).shape

    @property
    def is_empty(self) -> bool:
        """Whether an edge has no numbers in it."""
        return (self.score or self.value).size == 0

    def forms_per_node(self, real: torch.dtype) -> list[tuple[tuple[int, ...], torch.dtype]]:
        """Shape and type of what the way back reads per node, in kernels that compute in `real`."""
        forms = {
            PerNode.GRADIENT: (self.value.shape, self.dtype),
            PerNode.AGGREGATE: (self.value.shape, self.dtype),
            PerNode.SAVED: (self.saved_shape, real),
            PerNode.SHARE: ((), self.dtype),
        }
        return [forms[one] for one in self.reduction.reads]


@dataclass(frozen=True)
class Program:
    """What is done for each edge of a row, and how the rows are reduced.

    `by` is the end of the edges that owns a row: `Home.DST` runs over the edges that enter a node, `Home.SRC`
    over those that leave it.
    """

    inputs: tuple[Input, ...]
    outputs: tuple[Output, ...]
    by: Home
    dtype: torch.dtype  # to which those of the inputs and outputs are promoted
    # Whether the same numbers must come out of another kernel bit by bit. The gradient of a maximum goes to
    # the message that equals it; a softmax weighs by exp(score - top), where a large score's last bit counts.
    exact: bool = False

    def tensor_of(self, k: int) -> int:
        """Which of the tensors that a kernel writes is output k; what it saves, if anything, comes next."""
        return sum(1 + o.saves for o in self.outputs[:k])

    @cached_property
    def reads(self) -> frozenset[int]:
        """Which of the inputs are read."""
        found, values = set(), [v for o in self.outputs for v in (o.value, o.score) if v is not None]
        seen = set(values)
        while values:
            value = values.pop()
            if value.op == "load":
                found.add(value.detail)
            new = [arg for arg in value.args if arg not in seen]
            seen.update(new)
            values += new
        return frozenset(found)

    @property
    def num_tensors(self) -> int:
        """How many tensors a kernel writes."""
        return self.tensor_of(len(self.outputs))


def compute_type(dtype: torch.dtype) -> torch.dtype:
    """What a kernel computes in: half precision is for storage."""
    return torch.float64 if dtype == torch.float64 else torch.float32


def view_reshape(value: Value, shape: tuple[int, ...]) -> Value:
    """The same numbers in another shape."""
    if shape == value.shape:
        return value
    return Value("view", (value,), shape, "reshape", None, value.home, value.boolean)


def view_expand(value: Value, shape: tuple[int, ...]) -> Value:
    """Repeat along dimensions of length one, and along new ones in front."""
    if shape == value.shape:
        return value
    return Value("view", (value,), shape, "expand", None, value.home, value.boolean)
