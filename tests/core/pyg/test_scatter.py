"""The functions of `torch_scatter` against loops over single numbers, in float64, with their gradients."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from mpnn.pyg.scatter import composite, scatter, segment
from tests.compare import assert_close, assert_same

# Shape of src, shape of index, dim.
SHAPES = [
    ((9,), (9,), 0),
    ((9, 3), (9,), 0),
    ((9, 3), (9, 3), 0),
    ((2, 9, 3), (9,), 1),
    ((2, 9, 3), (2, 9), 1),
    ((2, 9, 3), (2, 9, 3), -2),
    ((2, 3, 9), (9,), -1),
    ((2, 3, 9), (2, 3, 9), 2),
]
REDUCTIONS = ["sum", "add", "mul", "mean", "min", "max"]
ROWS = 5  # of which the last has no entry


def example(shape: tuple[int, ...], of_index: tuple[int, ...], seed: int = 0) -> tuple[Tensor, Tensor]:
    torch.manual_seed(seed)
    return torch.randn(shape, dtype=torch.float64), torch.randint(ROWS - 1, of_index)


def full(index: Tensor, src: Tensor, dim: int) -> Tensor:
    """The index of every number, by numpy's rules of broadcasting alone."""
    if index.dim() == 1:
        index = index.reshape([-1 if k == dim % src.dim() else 1 for k in range(src.dim())])
    while index.dim() < src.dim():
        index = index[..., None]
    return torch.broadcast_to(index, src.shape)


def rows_of(src: Tensor, index: Tensor, dim: int, rows: int = ROWS) -> tuple[list[int], dict[Any, list[Any]]]:
    """The shape of a result, and for each of its numbers the entries, with their places in `dim`."""
    index, dim = full(index, src, dim), dim % src.dim()
    shape = [rows if k == dim else n for k, n in enumerate(src.shape)]
    entries: dict[Any, list[Any]] = {place: [] for place in itertools.product(*map(range, shape))}
    for place in itertools.product(*map(range, src.shape)):
        target = tuple(int(index[place]) if k == dim else n for k, n in enumerate(place))
        entries[target].append((src[place], place[dim]))
    return shape, entries


def by_loops(
    src: Tensor,
    index: Tensor,
    dim: int,
    one: Callable[[Tensor], Tensor],
    empty: float = 0.0,
    rows: int = ROWS,
) -> Tensor:
    shape, entries = rows_of(src, index, dim, rows)
    numbers = [
        one(torch.stack([value for value, _ in found])) if found else src.new_tensor(empty)
        for found in entries.values()
    ]
    return torch.stack(numbers).reshape(shape)


ONE: dict[str, Callable[[Tensor], Tensor]] = {
    "sum": torch.sum,
    "add": torch.sum,
    "mul": torch.prod,
    "mean": torch.mean,
    "min": torch.min,
    "max": torch.max,
}


@pytest.mark.parametrize("reduce", REDUCTIONS)
@pytest.mark.parametrize(("shape", "of_index", "dim"), SHAPES)
@pytest.mark.parametrize("kind", [torch.int64, torch.int32])
def test_scatter_is_a_loop(
    shape: tuple[int, ...], of_index: tuple[int, ...], dim: int, reduce: str, kind: torch.dtype
) -> None:
    src, index = example(shape, of_index)
    empty = 1.0 if reduce == "mul" else 0.0
    assert_same(
        lambda src: scatter.scatter(src, index.to(kind), dim, dim_size=ROWS, reduce=reduce),
        lambda src: by_loops(src, index, dim, ONE[reduce], empty),
        {"src": src},
        atol=1e-10,
    )


@pytest.mark.parametrize("which", ["min", "max"])
@pytest.mark.parametrize(("shape", "of_index", "dim"), SHAPES)
def test_the_arg_is_the_first_of_the_best_entries(
    shape: tuple[int, ...], of_index: tuple[int, ...], dim: int, which: str
) -> None:
    src, index = example(shape, of_index)
    src = src.round().requires_grad_()  # so that there are ties
    best = min if which == "min" else max
    value, arg = getattr(scatter, f"scatter_{which}")(src, index, dim, dim_size=ROWS)
    _, entries = rows_of(src.detach(), index, dim)
    for (place, found), got, at in zip(entries.items(), value.detach().flatten(), arg.flatten(), strict=True):
        expected = best((v for v, _ in found), default=src.new_tensor(0.0))
        assert float(got) == float(expected), place
        assert int(at) == min((k for v, k in found if v == expected), default=src.size(dim)), place
    (gradient,) = torch.autograd.grad(value.sum(), src)
    assert float(gradient.sum()) == sum(bool(found) for found in entries.values())  # one entry gets it all
    assert set(gradient.unique().tolist()) <= {0.0, 1.0}


@pytest.mark.parametrize("reduce", REDUCTIONS)
@pytest.mark.parametrize(("shape", "of_index", "dim"), SHAPES)
def test_what_out_holds_is_one_more_entry(
    shape: tuple[int, ...], of_index: tuple[int, ...], dim: int, reduce: str
) -> None:
    src, index = example(shape, of_index)
    before = torch.randn_like(by_loops(src, index, dim, torch.sum))
    out = before.clone()
    made = scatter.scatter(src, index, dim, out=out, reduce=reduce)
    every = torch.arange(ROWS)
    if reduce == "mean":  # which divides by the number of new entries
        total = before + by_loops(src, index, dim, torch.sum)
        expected = total / by_loops(torch.ones_like(src), index, dim, torch.sum, 1.0)
    else:
        both = torch.cat([before, src], dim)
        all_of = torch.cat([full(every, before, dim), full(index, src, dim)], dim)
        expected = by_loops(both, all_of, dim, ONE[reduce])
    assert made is out
    assert_close(out, expected, atol=1e-10)


@pytest.mark.parametrize("reduce", REDUCTIONS)
@pytest.mark.parametrize("dtype", [torch.int32, torch.int64, torch.float16, torch.bfloat16, torch.float32])
def test_other_numbers(dtype: torch.dtype, reduce: str) -> None:
    src = torch.tensor([[4, -2], [3, 5], [2, -3], [1, 1]])
    index = torch.tensor([0, 2, 0, 2])
    made = scatter.scatter(src.to(dtype), index, 0, reduce=reduce)
    expected = by_loops(src.double(), index, 0, ONE[reduce], 1.0 if reduce == "mul" else 0.0, 3)
    assert made.dtype == dtype
    assert_close(made.double(), expected if dtype.is_floating_point else expected.floor(), atol=0)


def test_the_sum_of_many_halves_is_kept_in_float32() -> None:
    ones = torch.ones(5000, dtype=torch.bfloat16)
    assert float(scatter.scatter(ones, torch.zeros(5000, dtype=torch.int64))) == 4992  # 5000 in bfloat16


@pytest.mark.parametrize("reduce", REDUCTIONS)
def test_without_entries_there_are_no_rows_or_empty_ones(reduce: str) -> None:
    src, index = torch.empty(0, 3, requires_grad=True), torch.empty(0, dtype=torch.int64)
    assert scatter.scatter(src, index, 0, reduce=reduce).shape == (0, 3)
    rows = scatter.scatter(src, index, 0, dim_size=2, reduce=reduce)
    assert rows.tolist() == [[1.0 if reduce == "mul" else 0.0] * 3] * 2
    if reduce in ("min", "max"):
        assert getattr(scatter, f"scatter_{reduce}")(src, index, 0, dim_size=2)[1].tolist() == [[0] * 3] * 2


def test_nan_is_the_largest_and_the_smallest() -> None:
    src, index = torch.tensor([1.0, torch.nan, 2.0, -torch.inf]), torch.tensor([0, 0, 0, 1])
    for which in (scatter.scatter_min, scatter.scatter_max):
        value, arg = which(src, index)
        assert math.isnan(value[0]) and value[1] == -torch.inf
        assert arg.tolist() == [1, 3]


# Segments --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("reduce", ["sum", "add", "mean", "min", "max"])
@pytest.mark.parametrize("shape", [(9,), (9, 3)])
def test_a_segment_by_pointers_is_a_slice(shape: tuple[int, ...], reduce: str) -> None:
    src, indptr = torch.randn(shape, dtype=torch.float64), torch.tensor([1, 1, 4, 4, 8])

    def slices(src: Tensor) -> Tensor:
        each = [src[a:b] for a, b in itertools.pairwise(indptr.tolist())]
        reduced = [
            torch.stack(
                [ONE[reduce](c) for c in part.flatten(1).T] if part.dim() > 1 else [ONE[reduce](part)]
            )
            if len(part)
            else part.new_zeros(part[:1].flatten(1).shape[1] if part.dim() > 1 else 1)
            for part in each
        ]
        return torch.stack(reduced).reshape(len(each), *shape[1:])

    for kind in (torch.int64, torch.int32):
        assert_same(
            lambda src, kind=kind: segment.segment_csr(src, indptr.to(kind), reduce=reduce),
            slices,
            {"src": src},
            atol=1e-10,
        )


@pytest.mark.parametrize("reduce", ["sum", "mean", "min", "max"])
def test_pointers_may_differ_from_row_to_row(reduce: str) -> None:
    src = torch.randn(2, 9, 3, dtype=torch.float64)
    indptr = torch.tensor([[0, 2, 5, 9], [0, 0, 9, 9]])
    made = segment.segment_csr(src, indptr, reduce=reduce)
    expected = torch.stack(
        [segment.segment_csr(*one, reduce=reduce) for one in zip(src, indptr, strict=True)]
    )
    assert_close(made, expected, atol=1e-10)
    one = segment.segment_csr(src, indptr[:1], reduce=reduce)
    assert_close(one[1], segment.segment_csr(src[1], indptr[0], reduce=reduce), atol=1e-10)


@pytest.mark.parametrize("reduce", ["sum", "mean", "min", "max"])
@pytest.mark.parametrize("of_index", [(9,), (2, 9), (1, 9), (2, 9, 3)])
def test_a_segment_by_sorted_indices_is_a_scatter(of_index: tuple[int, ...], reduce: str) -> None:
    src = (
        torch.randn(9, 3, dtype=torch.float64)
        if len(of_index) == 1
        else torch.randn(2, 9, 3, dtype=torch.float64)
    )
    index = torch.randint(ROWS - 1, of_index).sort(-2 if len(of_index) == 3 else -1)[0]
    if len(of_index) == 3:  # the entries are in the last dimension of the index
        src, index = src.transpose(1, 2), index.transpose(1, 2)
    dim = len(of_index) - 1
    whole = index.expand(*src.shape[: dim + 1])
    assert_same(
        lambda src: segment.segment_coo(src, index, dim_size=ROWS, reduce=reduce),
        lambda src: by_loops(src, whole, dim, ONE[reduce]),
        {"src": src.contiguous()},
        atol=1e-10,
    )


def test_a_segment_is_written_to_out() -> None:
    src, indptr = torch.randn(5, 2), torch.tensor([0, 2, 5])
    out = torch.full((2, 2), 7.0)
    assert segment.segment_sum_csr(src, indptr, out) is out
    assert_close(out, torch.stack([src[:2].sum(0), src[2:].sum(0)]), atol=1e-6)
    value, arg = segment.segment_max_csr(src, indptr)
    assert_close(value, torch.stack([src[:2].max(0)[0], src[2:].max(0)[0]]), atol=0)
    assert_close(src.gather(0, arg), value, atol=0)


def test_gathering_is_the_gradient_of_a_sum() -> None:
    src, index, indptr = (
        torch.randn(3, 2, dtype=torch.float64),
        torch.tensor([0, 0, 2]),
        torch.tensor([0, 2, 2, 3]),
    )
    for made in (segment.gather_coo(src, index), segment.gather_csr(src, indptr)):
        assert_close(made, src[index], atol=0)
    for gather, where in ((segment.gather_coo, index), (segment.gather_csr, indptr)):
        assert_same(lambda src: gather(src, where), lambda src: src[index], {"src": src}, atol=1e-10)  # noqa: B023
    out = torch.empty(3, 2, dtype=torch.float64)
    assert segment.gather_csr(src, indptr, out) is out
    assert_close(out, src[index], atol=0)
    wide = torch.randn(2, 3, 4)
    assert_close(segment.gather_coo(wide, index[None]), wide[:, index], atol=0)
    assert_close(segment.gather_csr(wide, indptr[None]), wide[:, index], atol=0)


# All entries of a row --------------------------------------------------------------------------------


def spread(one: Callable[[Tensor], Tensor]) -> Callable[[Tensor, Tensor, int], Tensor]:
    """A function of all entries of a row that gives one number for each."""

    def function(src: Tensor, index: Tensor, dim: int) -> Tensor:
        where, dim = full(index, src, dim), dim % src.dim()
        made = torch.zeros_like(src).movedim(dim, -1).reshape(-1, src.size(dim))
        lines = zip(
            src.movedim(dim, -1).reshape(made.shape), where.movedim(dim, -1).reshape(made.shape), strict=True
        )
        done = []
        for line, rows in lines:
            new = torch.zeros_like(line)
            for row in rows.unique():
                new = torch.where(rows == row, new.masked_scatter(rows == row, one(line[rows == row])), new)
            done.append(new)
        return torch.stack(done).reshape(src.movedim(dim, -1).shape).movedim(-1, dim)

    return function


@pytest.mark.parametrize(("shape", "of_index", "dim"), SHAPES)
def test_softmax_and_its_logarithm(shape: tuple[int, ...], of_index: tuple[int, ...], dim: int) -> None:
    src, index = example(shape, of_index)
    src = 10 * src
    for ours, one in (
        (composite.scatter_softmax, lambda x: x.softmax(0)),
        (composite.scatter_log_softmax, lambda x: x.log_softmax(0)),
    ):
        theirs = spread(one)
        assert_same(
            lambda src, ours=ours: ours(src, index, dim),
            lambda src, theirs=theirs: theirs(src, index, dim),
            {"src": src},
            atol=1e-10,
        )


@pytest.mark.parametrize(("shape", "of_index", "dim"), SHAPES)
def test_logsumexp_and_std(shape: tuple[int, ...], of_index: tuple[int, ...], dim: int) -> None:
    src, index = example(shape, of_index)
    assert_same(
        lambda src: composite.scatter_logsumexp(src, index, dim, dim_size=ROWS),
        lambda src: by_loops(src, index, dim, lambda x: x.logsumexp(0)),
        {"src": src},
        atol=1e-10,
    )
    for unbiased in (True, False):

        def deviation(x: Tensor, unbiased: bool = unbiased) -> Tensor:
            number = max(len(x) - 1, 1) if unbiased else len(x)
            return ((x - x.mean()).square().sum() / (number + 1e-6)).sqrt()

        made = composite.scatter_std(src, index, dim, dim_size=ROWS, unbiased=unbiased)
        assert_close(made, by_loops(src, index, dim, deviation), atol=1e-10)


def test_logsumexp_with_out_has_one_more_entry() -> None:
    src, index = torch.randn(5, dtype=torch.float64), torch.tensor([0, 0, 1, 1, 1])
    before = torch.randn(3, dtype=torch.float64)
    out = before.clone()
    assert composite.scatter_logsumexp(src, index, out=out) is out
    expected = [torch.cat([src[index == k], before[k : k + 1]]).logsumexp(0) for k in range(3)]
    assert_close(out, torch.stack(expected), atol=1e-10)


# What is wrong is said -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: scatter.scatter(torch.ones(3), torch.tensor([0, 1, -1])), IndexError, "index holds -1"),
        (
            lambda: scatter.scatter(torch.ones(3), torch.tensor([0, 1, 5]), dim_size=3),
            IndexError,
            "index holds 5, but there are 3 rows",
        ),
        (lambda: scatter.scatter(torch.ones(3), torch.tensor([0, 1])), ValueError, r"index of shape \[2\]"),
        (lambda: scatter.scatter(torch.ones(3), torch.ones(3)), ValueError, "index must hold integers"),
        (lambda: scatter.scatter(torch.ones(3), torch.tensor([0, 1, 1]), 1), IndexError, "dim is 1"),
        (lambda: scatter.scatter(torch.ones(1), torch.tensor([0]), reduce="no"), ValueError, "reduce is"),
        (lambda: segment.segment_coo(torch.ones(1), torch.arange(1), None, 1, "no"), ValueError, "reduce is"),
        (lambda: segment.segment_csr(torch.ones(3), torch.tensor([2, 1])), ValueError, "ascending"),
        (lambda: segment.gather_csr(torch.ones(3), torch.tensor([0, 1])), ValueError, "one pointer more"),
        (lambda: composite.scatter_softmax(torch.arange(3), torch.arange(3)), ValueError, "floating-point"),
    ],
)  # fmt: skip
def test_a_bad_argument_is_named(call: Callable[[], Any], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        call()
