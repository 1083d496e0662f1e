"""Compiled draws of neighbours, and hash tables that number nodes."""

from __future__ import annotations

import ctypes
import functools
from typing import Any, NamedTuple

import torch
from torch import Tensor

from mpnn.native.gate import address, buffer
from mpnn.native.library import library
from mpnn.native.threads import threads_for

SMALL = 1 << 12  # below this many entries one thread is quicker
NUMBER = torch.int64


@functools.cache
def _library(index_type: torch.dtype) -> ctypes.CDLL | None:
    made = library("neighbors", index_t=index_type)
    if made is None:
        return None
    at: Any = ctypes.c_void_p
    count: Any = ctypes.c_int64
    made.plan_rows.argtypes = [at, at, count, count, at, *[count] * 3, at, count, at, count, at, at, at]
    made.plan_rows.restype = count
    made.draw_entries.argtypes = [
        *[at] * 4, *[count] * 3, at, ctypes.c_uint64, at, count, count, at, at, at, count,
    ]  # fmt: skip
    made.draw_entries.restype = count
    made.number_keys.argtypes = [at, count, at, count, count, count, at, at]
    made.number_keys.restype = count
    made.numbers_of.argtypes = [at, count, at, count, at, count]
    made.move_table.argtypes = [at, count, at, count]
    return made


def can_draw(index_type: torch.dtype) -> bool:
    """Whether there is a compiler for indices of this type."""
    return index_type in (torch.int32, torch.int64) and _library(index_type) is not None


class Planned(NamedTuple):
    """Of each row the first entry that may be drawn, how many there are, and the draws before it."""

    begin: Tensor
    width: Tensor
    offsets: Tensor


class BadRowError(ValueError):
    """The row at a place of the frontier cannot be drawn from."""

    def __init__(self, place: int, unsorted: bool) -> None:
        super().__init__(place, unsorted)
        self.place, self.unsorted = place, unsorted


def plan(
    indptr: Tensor,
    indices: Tensor,
    nodes: Tensor,
    count: int,
    replace: bool,
    time: Tensor | None,
    of_edges: bool,
    limit: Tensor | None,
    last: bool,
) -> Planned:
    """The rows of nodes, with a limit of time for each.

    Raises:
        BadRowError: a row is out of range, or its times are unsorted.
    """
    library = _library(indptr.dtype)
    assert library is not None
    kind, number, rows = indptr.dtype, nodes.numel(), indptr.numel() - 1
    made = Planned(*(buffer(length, NUMBER) for length in (number, number, number + 1)))
    failed = library.plan_rows(
        address(indptr, kind, rows + 1), address(indices, kind, indices.numel()), rows, indices.numel(),
        address(nodes, NUMBER, number), number, count, replace,
        None if time is None else address(time, NUMBER, time.numel()), of_edges,
        None if limit is None else address(limit, NUMBER, number), last,
        *(address(one, NUMBER, one.numel()) for one in made),
    )  # fmt: skip
    if failed:
        raise BadRowError(abs(failed) - 1, failed < 0)
    return made


def draw(
    indices: Tensor,
    planned: Planned,
    count: int,
    replace: bool,
    weights: Tensor | None,
    seed: int,
    example: Tensor | None,
    stride: int,
    first: int,
) -> tuple[Tensor, Tensor, Tensor]:
    """The slots that are drawn, the numbers of their rows from `first` on, and the keys of their other ends.

    Raises:
        BadRowError: the weights of a row are no weights.
        MemoryError: there is none.
    """
    library = _library(indices.dtype)
    assert library is not None
    number, total = planned.begin.numel(), int(planned.offsets[-1])
    slots, rows, ends = (buffer(total, NUMBER) for _ in range(3))
    failed = library.draw_entries(
        address(indices, indices.dtype, indices.numel()),
        *(address(one, NUMBER, one.numel()) for one in planned), number, count, replace,
        None if weights is None else address(weights, torch.float64, indices.numel()), seed,
        None if example is None else address(example, NUMBER, number), stride, first,
        *(address(one, NUMBER, total) for one in (slots, rows, ends)), threads_for(total, SMALL),
    )  # fmt: skip
    if failed == 1:
        raise MemoryError("there is no memory to draw neighbours in")
    if failed:
        raise BadRowError(failed - 2, False)
    return slots, rows, ends


class Table:
    """Numbers of keys, in the order in which they came."""

    def __init__(self) -> None:
        library = _library(NUMBER)
        assert library is not None
        self._library = library
        self.known = 0
        self._room = 64
        self._table = _empty(self._room)

    def add(self, keys: Tensor, first: int, every: bool = False) -> tuple[Tensor, Tensor]:
        """The number of each key, and the keys that are new, which get numbers from `first` on.

        With `every`, key k gets the number `first + k`, and one that is repeated keeps its first.
        """
        amount = keys.numel()
        self._make_room(self.known + amount)
        numbers, fresh = buffer(amount, NUMBER), buffer(amount, NUMBER)
        places = (address(one, NUMBER, amount) for one in (numbers, fresh))
        found = self._library.number_keys(
            *self._at(), address(keys, NUMBER, amount), amount, first, every, *places
        )
        self.known += found
        return numbers, fresh[:found]

    def get(self, keys: Tensor) -> Tensor:
        """The number of each key, -1 of one that is not known."""
        amount = keys.numel()
        numbers = buffer(amount, NUMBER)
        given, out = address(keys, NUMBER, amount), address(numbers, NUMBER, amount)
        self._library.numbers_of(*self._at(), given, amount, out, threads_for(amount, SMALL))
        return numbers

    def _at(self) -> tuple[int, int]:
        return address(self._table, NUMBER, 2 * self._room), self._room

    def _make_room(self, amount: int) -> None:
        if 2 * amount <= self._room:
            return
        room = 1 << (4 * amount - 1).bit_length()
        larger = _empty(room)
        self._library.move_table(*self._at(), address(larger, NUMBER, 2 * room), room)
        self._table, self._room = larger, room


def _empty(room: int) -> Tensor:
    return buffer(2 * room, NUMBER).fill_(-1)
