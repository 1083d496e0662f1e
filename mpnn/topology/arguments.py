"""Checks of what users pass to a topology: one sentence each."""

from __future__ import annotations

import operator
from collections.abc import Sequence
from typing import Any

import numpy as np
from torch import Tensor

Array = np.ndarray[Any, Any]
Lengths = int | Sequence[int] | Array | Tensor


MOST_BATCHED = 1 << 24  # graphs of a batch, each of which has sizes of its own


def as_batch(value: int) -> int:
    """How many equal graphs there are."""
    count = as_count("batch", value)
    if count > MOST_BATCHED:
        raise ValueError(f"batch is {count}, but must be at most {MOST_BATCHED:,}.")
    return count


def as_count(name: str, value: int, at_least: int = 0) -> int:
    """An integer that is large enough."""
    try:
        count = operator.index(value)
    except TypeError:
        raise TypeError(f"{name} is {value!r}, but must be an integer.") from None
    if count < at_least:
        raise ValueError(f"{name} is {count}, but must be at least {at_least}.")
    return count


def as_lengths(name: str, value: Lengths) -> tuple[int, ...]:
    """The number of nodes of each graph of a batch; one number is one graph."""
    if isinstance(value, Tensor | np.ndarray):
        value = value.tolist()
    if not isinstance(value, Sequence):
        return (as_count(name, value),)
    return tuple(as_count(f"{name}[{k}]", length) for k, length in enumerate(value))


def as_shape(name: str, value: int | Sequence[int] | Array) -> tuple[int, ...]:
    """The extent of a lattice in each of its dimensions."""
    if isinstance(value, np.ndarray):
        value = tuple(value.tolist())
    shape = as_each(name, value, len(value) if isinstance(value, Sequence) else 1, at_least=1)
    if not shape:
        raise ValueError(f"{name} is empty, but a lattice has at least one dimension.")
    return shape


def as_each(
    name: str, value: int | Sequence[int] | Array, dimensions: int, at_least: int = 0
) -> tuple[int, ...]:
    """One integer per dimension; a single one holds for all."""
    if isinstance(value, np.ndarray):
        value = tuple(value.tolist())
    if not isinstance(value, Sequence):
        return (as_count(name, value, at_least),) * dimensions
    if len(value) != dimensions:
        raise ValueError(f"{name} is {value!r}, but must be one integer or {dimensions}, one per dimension.")
    return tuple(as_count(f"{name}[{d}]", one, at_least) for d, one in enumerate(value))
