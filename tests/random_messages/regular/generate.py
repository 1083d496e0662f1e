"""From a seed to a program on a regular graph."""

from __future__ import annotations

from collections.abc import Callable
from random import Random

from tests.random_messages.case import Case
from tests.random_messages.inputs import drawn
from tests.random_messages.regular.attention import attention
from tests.random_messages.regular.cells import cell
from tests.random_messages.regular.linear import linear
from tests.random_messages.regular.windowed import convolution, pooling

FIRST = 1_000_000
KINDS: dict[Callable[[Random, int, str], Case], float] = {
    attention: 4,
    linear: 2,
    convolution: 2,
    pooling: 2,
    cell: 3,
}
DTYPES = {"float64": 8, "float32": 1, "bfloat16": 0.5}


def random_regular_case(seed: int) -> Case:
    """The program of a seed: the same on every machine."""
    random = Random(seed)
    write = drawn(random, KINDS)
    return write(random, seed, drawn(random, DTYPES))
