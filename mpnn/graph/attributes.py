"""Attributes of networkx's nodes and edges as rows of numbers."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor


def attribute_rows(
    items: Iterable[tuple[str, Mapping[str, Any]]], names: str | Sequence[str], argument: str
) -> Tensor:
    """Return the numbers of each item, its attributes beside each other, `[num_items, channels]`.

    Args:
        items: what each is called in sentences, such as `node 3`, and its attributes.
        names: the attributes, in this order; a value is a number, or a row of numbers that is equally long
            everywhere.
        argument: what the names are called in sentences.

    Raises:
        TypeError: a value is no number.
        ValueError: an item lacks an attribute, rows of numbers are of several lengths, or no name is given.

    >>> attribute_rows([("node 0", {"age": 3, "place": [0.5, 1.0]})], ["place", "age"], "node_attrs")
    tensor([[0.5000, 1.0000, 3.0000]])
    """
    names = [names] if isinstance(names, str) else list(names)
    if not names:
        raise ValueError(f"{argument} is empty, but should name an attribute at least.")
    rows: list[list[float]] = []
    widths: dict[str, tuple[str, int]] = {}
    for called, attributes in items:
        row: list[float] = []
        for name in names:
            if name not in attributes:
                raise ValueError(f"{argument} names {name!r}, which {called} lacks.")
            numbers = _numbers(attributes[name])
            if numbers is None:
                raise TypeError(
                    f"{argument} names {name!r}, which is {attributes[name]!r} at {called}, but should be a "
                    "number or a row of numbers."
                )
            first, width = widths.setdefault(name, (called, len(numbers)))
            if len(numbers) != width:
                raise ValueError(
                    f"{argument} names {name!r}, which is {len(numbers)} numbers at {called}, but {width} at "
                    f"{first}."
                )
            row += numbers
        rows.append(row)
    width = sum(width for _, width in widths.values()) or len(names)
    return torch.tensor(rows, dtype=torch.get_default_dtype()).reshape(len(rows), width)


def _numbers(value: Any) -> list[float] | None:
    """A number, or a row of them, as a list; None if it is something else."""
    if isinstance(value, Tensor):
        value = value.detach().cpu().numpy()
    if isinstance(value, str | bytes | Mapping):
        return None
    try:
        array = np.asarray(value)
    except (TypeError, ValueError):  # rows of rows that are not equally long
        return None
    if array.ndim > 1 or array.dtype.kind not in "biuf":
        return None
    return [float(one) for one in array.reshape(-1)]
