"""A cycle as text, for errors."""

from __future__ import annotations

from collections.abc import Sequence

SHOWN = 12


def show_cycle(following: Sequence[int], start: int, backwards: bool = False) -> str:
    """The cycle that `start` runs into, from its smallest node: "0 -> 3 -> 5 -> 0".

    Args:
        following: the node behind each node; only those that can be reached from `start` are read.
        start: where to begin.
        backwards: `following` is the node before each node; the cycle is shown in the right direction.

    >>> show_cycle([3, 0, 1, 5, 4, 0], start=2)
    '0 -> 3 -> 5 -> 0'
    """
    walked: dict[int, int] = {}
    node = start
    while node not in walked:
        walked[node] = len(walked)
        node = following[node]
    cycle = list(walked)[walked[node] :]
    if backwards:
        cycle.reverse()
    first = cycle.index(min(cycle))
    cycle = cycle[first:] + cycle[:first]
    if len(cycle) <= SHOWN:
        return " -> ".join(map(str, [*cycle, cycle[0]]))
    shown = " -> ".join(map(str, cycle[:SHOWN]))
    return f"{shown} -> ... -> {cycle[-1]} -> {cycle[0]} ({len(cycle)} nodes)"
