"""Distinct rows of several integers, sorted; also where one number for each row would not fit in 64 bits."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod

import torch
from torch import Tensor

INT64_MAX = 2**63 - 1

Columns = Sequence[Tensor] | Tensor  # of a table, `[num_rows]` each


def distinct_rows(columns: Columns, sizes: Sequence[int]) -> tuple[list[Tensor], Tensor]:
    """Each row once, in lexicographic order, and `[num_rows]`: which of these each given row is.

    Args:
        columns: integers `[num_rows]` each; those of column k are 0 .. sizes[k] - 1.
        sizes: of each column how many values it may have.

    >>> distinct_rows([torch.tensor([1, 0, 1]), torch.tensor([2, 5, 2])], [2, 6])
    ([tensor([0, 1]), tensor([5, 2])], tensor([1, 0, 1]))
    """
    first, which = first_of_each(columns, sizes)
    return [column[first] for column in columns], which


def first_of_each(columns: Columns, sizes: Sequence[int]) -> tuple[Tensor, Tensor]:
    """Where each distinct row stands first, in lexicographic order, and which of these each given row is."""
    (key,) = keys(sizes, columns)
    found, which = torch.unique(key, return_inverse=True)
    first = torch.full_like(found, key.numel())
    return first.scatter_reduce_(0, which, torch.arange(key.numel(), device=key.device), "amin"), which


def keys(sizes: Sequence[int], *tables: Columns) -> list[Tensor]:
    """One int64 for each row of some tables: equal where two rows are, and in their lexicographic order.

    The row read as a number with digits below `sizes`, if all such numbers fit; else its rank among the rows
    of these tables, so that keys of one call compare with each other alone.

    >>> keys([2**40, 2**40], torch.tensor([[7, 0], [1, 2]]), torch.tensor([[7], [1]]))
    [tensor([1, 0]), tensor([1])]
    """
    if prod(max(size, 1) for size in sizes) <= INT64_MAX:
        return [_digits(table, sizes) for table in tables]
    lengths = [table[0].numel() for table in tables]
    return list(torch.split(_ranks([torch.cat(parts) for parts in zip(*tables, strict=True)]), lengths))


def _digits(columns: Columns, sizes: Sequence[int]) -> Tensor:
    key = columns[0]
    for column, size in zip(columns[1:], sizes[1:], strict=True):
        key = key * max(size, 1) + column
    return key


def _ranks(columns: Sequence[Tensor]) -> Tensor:
    order = torch.arange(columns[0].numel(), device=columns[0].device)
    for column in reversed(columns):  # stably, by the last key first
        order = order[torch.argsort(column[order], stable=True)]
    in_order = torch.stack(list(columns))[:, order]
    rank = torch.zeros_like(order)
    rank[order[1:]] = (in_order[:, 1:] != in_order[:, :-1]).any(0).cumsum(0)
    return rank
