"""The grammar's knowledge of a value: its shape, a bound of its size, and a bound of its rounding."""

from __future__ import annotations

from dataclasses import dataclass, replace


@dataclass(frozen=True)
class Value:
    """A name in the message.

    Where a value is known only up to rounding, the message asks nothing of it that jumps (floor, sign,
    a comparison): two backends may round it to either side. `error` bounds the rounding, in units of it.
    """

    text: str
    shape: tuple[int, ...]  # without the dimension of edges
    rows: bool = True  # whether there is one for each edge
    kind: str = "float"  # or "int" or "bool"
    size: float = 4.0  # no number in it is larger
    error: float = 0.0  # 0: every backend has the same bits
    whole: bool = False  # whole numbers, so that sums and products of few of them are exact
    steady: bool = True  # equal rows stay equal to the bit; those of a matrix product need not, in PyTorch

    @property
    def width(self) -> int:
        """The length of the last dimension."""
        return self.shape[-1]

    def but(self, **changes: object) -> Value:
        """A copy with some fields changed."""
        return replace(self, **changes)  # type: ignore[arg-type]


@dataclass(frozen=True)
class Limits:
    """How far numbers may go in one type before rounding alone could fail a comparison."""

    size: float
    error: float
    exact: float  # whole numbers up to here have no rounding


LIMITS = {
    "float64": Limits(1e9, 1e6, 2.0**50),
    "float32": Limits(1e5, 2e4, 2.0**23),
    "bfloat16": Limits(1e3, 1e3, 2.0**7),
}


def broadcast(a: Value, b: Value) -> tuple[int, ...] | None:
    """The shape of an elementwise operation, without edges; None where PyTorch would refuse or misread it."""
    if a.rows and b.rows:
        return _same_rank(a.shape, b.shape) if len(a.shape) == len(b.shape) else None
    if not a.rows and not b.rows:
        shorter, longer = sorted((a.shape, b.shape), key=len)
        return _same_rank((1,) * (len(longer) - len(shorter)) + shorter, longer)
    rows, shared = (a, b) if a.rows else (b, a)
    over = len(shared.shape) - len(rows.shape)
    if over > 1 or (over == 1 and shared.shape[0] != 1):
        return None  # its first dimension would meet the edges, or come before them
    tail = shared.shape[1:] if over == 1 else shared.shape
    return _same_rank(rows.shape, (1,) * (len(rows.shape) - len(tail)) + tail)


def _same_rank(a: tuple[int, ...], b: tuple[int, ...]) -> tuple[int, ...] | None:
    found = []
    for m, n in zip(a, b, strict=True):
        if m != n and 1 not in (m, n):
            return None
        found.append(n if m == 1 else m)
    return tuple(found)
