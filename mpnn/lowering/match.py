"""Recognising a message, however it was written.

A message that only adds and multiplies is a polynomial in its values, and two polynomials that agree at
random points are equal (Schwartz, 1980; Zippel, 1979): with 64-bit numbers a false match has no measurable
probability. So a pattern is a formula with which the traced message is compared at random points, and
`(q_i * k_j).sum(-1)`, an einsum and a batched product are all the same dot product. A message with any
operation that is not of this kind is compared with nothing.

Half of the points are of all magnitudes, each value at another: there a term with a small coefficient, such
as a physical constant or an epsilon, is larger than those that the pattern has.
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
NEAR = 24  # those around 1; behind them are those of all magnitudes
FARTHEST = 64  # the largest and the smallest power of two
TOLERANCE = 1e-11


def foreign(reading: Reading) -> str:
    """An operation of a message that no polynomial has, or ""."""
    if reading.operations <= POLYNOMIAL:
        return ""
    return ", ".join(sorted(reading.operations - POLYNOMIAL))


def require_real(reading: Reading) -> None:
    """Refuse whole numbers but the types of the graph's edges: those that are drawn stand for no others."""
    if not all(given.dtype.is_floating_point or given.is_type for given in reading.given):
        raise NoMatchError("the message reads numbers that are not real")


def probes(reading: Reading, num_types: int = 1) -> tuple[list[Tensor], list[Tensor]]:
    """Two sets of random numbers for each value of a message, one row per edge of those that are not shared.

    A coefficient that fits both does not hide a number that all edges share.
    """
    return _probe(reading, num_types, 0), _probe(reading, num_types, 1)


def _probe(reading: Reading, num_types: int, seed: int) -> list[Tensor]:
    generator = torch.Generator().manual_seed(seed)
    rows = []
    for given in reading.given:
        is_shared = given.home is Home.SHARED
        shape = given.shape if is_shared else (PROBES, *given.shape)
        if not given.dtype.is_floating_point:
            rows.append(torch.randint(num_types, shape, generator=generator))
            continue
        numbers = torch.randn(shape, generator=generator, dtype=torch.float64)
        powers = torch.randint(-FARTHEST, FARTHEST, (PROBES,), generator=generator).double()
        if is_shared:  # in the second set of another magnitude
            rows.append(numbers * 2 ** (seed * powers[0]))
            continue
        powers[:NEAR] = 0
        rows.append(numbers * 2 ** powers.view(-1, *[1] * len(given.shape)))
    return rows


def factors(reading: Reading, sizes: Sequence[int]) -> list[Given | None]:
    """What may multiply all messages: nothing, or a value of some size that all edges share."""
    return [None, *(given for given in reading.of(Home.SHARED) if given.size in sizes)]


def same(found: Tensor, wanted: Tensor, scale: Tensor | None = None) -> bool:
    """Whether numbers `[rows, ...]` are equal but for rounding, which grows with the numbers of a row.

    Args:
        found: numbers.
        wanted: those that they should be.
        scale: for each row the largest number that was added, where the sum may be small.
    """
    found, wanted = found.reshape(len(found), -1), wanted.reshape(len(wanted), -1)
    if found.shape != wanted.shape:
        return False
    scale = wanted.abs().amax(1, keepdim=True) if scale is None else scale
    return bool(((found - wanted).abs() <= TOLERANCE * scale).all())


def is_source_field(
    reading: Reading, probed: Sequence[Sequence[Tensor]], values: Sequence[Tensor]
) -> Given | None:
    """The field of the source that a value is; in each set of numbers."""
    for given in reading.of(Home.SRC):
        pairs = zip(values, (rows[given.index] for rows in probed), strict=True)
        if given.dtype.is_floating_point and all(same(*pair) for pair in pairs):
            return given
    return None


def fit(target: Tensor, terms: Sequence[Tensor]) -> list[float] | None:
    """The coefficients with which terms `[rows, H]` add up to a target, or None.

    The first `NEAR` rows tell them, all rows must agree.
    """
    matrix = torch.stack(list(terms), dim=-1)
    unit = float(target[:NEAR].abs().amax()) or 1.0
    near, wanted = matrix[:NEAR].flatten(0, 1), target[:NEAR].flatten()[:, None] / unit
    solution = torch.linalg.lstsq(near, wanted).solution.flatten().tolist()
    # Least squares leaves an error in the last digits of numbers that were 0 or round.
    found = [_rounded(unit * c) if abs(c) > 1e-13 else 0.0 for c in solution]
    parts = matrix * torch.tensor(found, dtype=matrix.dtype)
    scale = parts.abs().amax(-1).amax(1, keepdim=True)
    return found if same(parts.sum(-1), target, scale) else None


def _rounded(number: float) -> float:
    rounded = float(f"{number:.12e}")
    return rounded if abs(number - rounded) < 1e-13 * abs(number) else number


def typed_matrices(
    reading: Reading, probed: Sequence[Sequence[Tensor]], messages: Sequence[Tensor], num_types: int
) -> tuple[Given, Given, Tensor] | None:
    """The x, W and order of dimensions with which a message is `x W[type]`, in blocks (groups) or whole.

    Returns:
        The source's field, the shared weight, and the permutation that brings the weight to
        `[types, in, out]`, or `[types, groups, in, out]` where x and the message have a dimension for groups.
    """
    shape = reading.shapes[0]
    types = reading.of(Home.EDGE)
    if len(types) != 1 or not types[0].is_type:
        return None
    (kind,) = types
    for x in reading.of(Home.SRC):
        if len(x.shape) != len(shape) or not 1 <= len(shape) <= 2 or x.shape[:-1] != shape[:-1]:
            continue
        for weight in reading.of(Home.SHARED):
            wanted = (num_types, *x.shape, shape[-1])
            for order in permutations(range(len(weight.shape))):
                if tuple(weight.shape[d] for d in order) != wanted:
                    continue
                products = (
                    torch.einsum(
                        "e...i,e...io->e...o",
                        rows[x.index],
                        rows[weight.index].permute(order)[rows[kind.index]],
                    )
                    for rows in probed
                )
                if all(same(*pair) for pair in zip(messages, products, strict=True)):
                    return x, weight, torch.tensor(order)
    return None
