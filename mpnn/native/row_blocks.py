"""Blocks of some thousand rows of a graph: work by blocks needs no tensor of all rows."""

from __future__ import annotations

from collections.abc import Iterator

ROWS_AT_ONCE = 8192
MOST_BLOCKS = 64


def row_blocks(num_rows: int) -> list[slice]:
    """Slices that cover all rows, of one size except the last, which is at least as large.

    They depend on the number of rows alone, so a sum over them always has the same order.

    >>> row_blocks(20_000)
    [slice(0, 8192, None), slice(8192, 20000, None)]
    """
    step = ROWS_AT_ONCE * max(1, -(-num_rows // (ROWS_AT_ONCE * MOST_BLOCKS)))
    starts = range(0, max(1, num_rows // step) * step, step)
    return [slice(k, num_rows if k == starts[-1] else k + step) for k in starts]


def rows_at_a_time(num_rows: int, most: int) -> Iterator[slice]:
    """Slices of `most` rows each; the last may have fewer.

    >>> list(rows_at_a_time(5, 3))
    [slice(0, 3, None), slice(3, 5, None)]
    """
    return (slice(first, min(first + most, num_rows)) for first in range(0, num_rows, most))


def has_several(size: tuple[int, int]) -> bool:
    """Whether a graph has more than one block of rows at an end."""
    return max(size) >= 2 * ROWS_AT_ONCE
