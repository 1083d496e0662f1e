"""Rows of a graph, some thousand at a time: what is made of these need not exist as a whole."""

from __future__ import annotations

ROWS_AT_ONCE = 8192
MOST_BLOCKS = 64


def row_blocks(num_rows: int) -> list[slice]:
    """Blocks of similar size that cover all rows: at least one, and no small ones beside others.

    They depend on the number of rows alone, so that sums over them always have the same order.

    >>> row_blocks(20_000)
    [slice(0, 10000, None), slice(10000, 20000, None)]
    """
    count = min(max(1, num_rows // ROWS_AT_ONCE), MOST_BLOCKS)
    return [slice(num_rows * k // count, num_rows * (k + 1) // count) for k in range(count)]


def has_several(size: tuple[int, int]) -> bool:
    """Whether a graph has more than one block of rows at an end."""
    return max(size) >= 2 * ROWS_AT_ONCE
