"""Recognising a message, however it was written.

A message that only adds and multiplies is a polynomial in its values, and two polynomials that agree at
random points are equal (Schwartz, 1980; Zippel, 1979): with 64-bit numbers a false match has no measurable
probability. So a pattern is a formula with which the traced message is compared at random points, and
`(q_i * k_j).sum(-1)`, an einsum and a batched product are all the same dot product. A message with any
operation that is not of this kind is compared with nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import permutations

import torch
from torch import Tensor

from mpnn.lowering.reading import Given, Reading
from mpnn.lowering.rule import NoMatchError
from mpnn.plan.homes import Home
from mpnn.plan.operations import PRODUCTS, VIEWS

# Without `detach`, which changes gradients alone.
POLYNOMIAL = (VIEWS - {"detach"}) | PRODUCTS.union(
    ["add", "sub", "rsub", "mul", "div", "neg", "sum", "mean", "full", "scalar_tensor", "clone"],
    ["index", "split", "split_with_sizes", "getitem", "cat"],
)
PROBES = 48
TOLERANCE = 1e-11


def foreign(reading: Reading) -> str:
    """An operation of a message that no polynomial has, or ""."""
    if reading.operations <= POLYNOMIAL:
        return ""
    return ", ".join(sorted(reading.operations - POLYNOMIAL))


def require_real(reading: Reading, besides: Sequence[Given] = ()) -> None:
    """Refuse whole numbers: those that are drawn are types, and stand for no others."""
    if not all(given.dtype.is_floating_point or given in besides for given in reading.given):
        raise NoMatchError("the message reads numbers that are not real")


def probe(reading: Reading, num_types: int = 1, seed: int = 0) -> list[Tensor]:
    """Random numbers for each value of a message, one row per edge of those that are not shared."""
    generator = torch.Generator().manual_seed(seed)
    rows = []
    for given in reading.given:
        shape = given.shape if given.home is Home.SHARED else (PROBES, *given.shape)
        if given.dtype.is_floating_point:
            rows.append(torch.randn(shape, generator=generator, dtype=torch.float64))
        else:
            rows.append(torch.randint(num_types, shape, generator=generator))
    return rows


def probes(reading: Reading) -> tuple[list[Tensor], list[Tensor]]:
    """Two sets of them: a coefficient that fits both does not hide a number that all edges share."""
    return probe(reading), probe(reading, seed=1)


def factors(reading: Reading, rows: Sequence[Tensor], sizes: Sequence[int]) -> list[Given | None]:
    """What may multiply all messages: nothing, or a value of some size that all edges share."""
    shared = [given for given in reading.of(Home.SHARED) if given.size in sizes]
    return [None, *(given for given in shared if rows[given.index].is_floating_point())]


def same(found: Tensor, wanted: Tensor) -> bool:
    """Whether two sets of numbers are equal but for rounding."""
    found, wanted = found.reshape(PROBES, -1), wanted.reshape(PROBES, -1)
    if found.shape != wanted.shape:
        return False
    scale = 1 + wanted.abs().amax()
    return bool(((found - wanted).abs() <= TOLERANCE * scale).all())


def is_source_field(reading: Reading, rows: Sequence[Tensor], value: Tensor) -> Given | None:
    """The field of the source that a value is."""
    for given in reading.of(Home.SRC):
        if rows[given.index].is_floating_point() and same(value, rows[given.index]):
            return given
    return None


def fit(target: Tensor, terms: Sequence[Tensor]) -> list[float] | None:
    """The coefficients with which terms `[PROBES, H]` add up to a target, or None."""
    matrix = torch.stack([term.flatten() for term in terms], dim=1)
    solution = torch.linalg.lstsq(matrix, target.flatten()[:, None]).solution
    if not same(matrix @ solution, target.flatten()):
        return None
    return [_snapped(c) for c in solution.flatten().tolist()]


def _snapped(number: float) -> float:
    # Least squares leaves an error in the last digits of numbers that were round.
    rounded = round(number, 12)
    return rounded if abs(number - rounded) < 1e-13 else number


def typed_matrices(
    reading: Reading, rows: Sequence[Tensor], message: Tensor, num_types: int
) -> tuple[Given, Given, Tensor] | None:
    """The x, W and order of dimensions with which a message is `x W[type]`, in blocks (groups) or whole.

    Returns:
        The source's field, the shared weight, and the permutation that brings the weight to
        `[types, in, out]`, or `[types, groups, in, out]` where x and the message have a dimension for groups.
    """
    shape = reading.shapes[0]
    types = [g for g in reading.of(Home.EDGE) if not g.dtype.is_floating_point and g.shape == ()]
    if len(types) != 1 or len(reading.of(Home.EDGE)) != 1:
        return None
    require_real(reading, types)
    kind = rows[types[0].index]
    for x in reading.of(Home.SRC):
        if len(x.shape) != len(shape) or not 1 <= len(shape) <= 2 or x.shape[:-1] != shape[:-1]:
            continue
        for weight in reading.of(Home.SHARED):
            wanted = (num_types, *x.shape, shape[-1])
            for order in permutations(range(len(weight.shape))):
                if tuple(weight.shape[d] for d in order) != wanted:
                    continue
                matrices = rows[weight.index].permute(order)[kind]
                if same(message, torch.einsum("e...i,e...io->e...o", rows[x.index], matrices)):
                    return x, weight, torch.tensor(order)
    return None
