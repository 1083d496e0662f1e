"""Entries reduced by row: the sums, products, extremes and softmaxes that all aggregation is made of."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import numpy as np
import torch
from torch import Tensor


def scatter(values: Tensor, index: Tensor, num_rows: int, reduce: str = "sum", dim: int = 0) -> Tensor:
    """Reduce the entries of `values` that have the same `index`.

    Args:
        values: `[..., num_entries, ...]` with the entries in dimension `dim`.
        index: `[num_entries]` int64, the row that each entry belongs to.
        num_rows: how many rows the result has in dimension `dim`.
        reduce: "sum", "mean", "max", "min", "mul" or "logsumexp".
        dim: the dimension of the entries.

    Raises:
        ValueError: another shape of `index`, another name in `reduce`, `num_rows` below 0.
        TypeError: `num_rows` or `dim` is no integer.
        IndexError: an index out of range.

    >>> scatter(torch.tensor([1.0, 2.0, 5.0]), torch.tensor([0, 0, 2]), num_rows=3)
    tensor([3., 0., 5.])
    """
    dim = check_entries("values", values, index, dim)
    _check_range(index, num_rows)
    return scatter_rows(values, index, num_rows, reduce, dim)


def scatter_known(values: Tensor, index: Tensor, num_rows: int, reduce: str = "sum", dim: int = 0) -> Tensor:
    """`scatter` by the index of a graph, which was checked when that was made: a look costs time on a GPU."""
    dim = check_entries("values", values, index, dim)
    return scatter_rows(values, index, num_rows, reduce, dim)


def softmax(score: Tensor, index: Tensor, num_rows: int, dim: int = 0) -> Tensor:
    """exp(score_e) / Σ exp(score_e') over the entries e' with the same `index` as e.

    Args:
        score: `[..., num_entries, ...]` with the entries in dimension `dim`.
        index: `[num_entries]` int64, the row that each entry belongs to.
        num_rows: how many rows there are.
        dim: the dimension of the entries.

    Raises:
        ValueError: another shape of `index`.
        IndexError: an index out of range.

    >>> softmax(torch.zeros(3), torch.tensor([0, 0, 1]), num_rows=2)
    tensor([0.5000, 0.5000, 1.0000])
    """
    dim = check_entries("score", score, index, dim)
    _check_range(index, num_rows)
    return softmax_rows(score, index, num_rows, dim)


def scatter_rows(values: Tensor, index: Tensor, num_rows: int, reduce: str, dim: int) -> Tensor:
    """`scatter` with arguments that are known to be good."""
    if reduce not in _BY_NAME:
        raise ValueError(f"reduce must be one of {', '.join(_BY_NAME)}, got {reduce!r}.")
    return _BY_NAME[reduce](values, index, num_rows, dim)


def sum_rows(values: Tensor, index: Tensor, num_rows: int, dim: int) -> Tensor:
    """Σ over the entries of a row."""
    total = _wide_sum(values, index, num_rows, dim)
    return total.to(values.dtype) if is_half(values) else total


def mean_rows(values: Tensor, index: Tensor, num_rows: int, dim: int) -> Tensor:
    """Σ over the entries of a row, over how many there are; of truth values the share of the true."""
    if values.dtype == torch.bool:
        values = values.to(torch.get_default_dtype())
    total = _wide_sum(values, index, num_rows, dim)
    total = total / along(count_rows(index, num_rows), dim, values).to(total.dtype)
    return total.to(values.dtype) if is_half(values) else total


def _wide_sum(values: Tensor, index: Tensor, num_rows: int, dim: int) -> Tensor:
    # In bfloat16 256 + 1 = 256: sums of half precision run in float32.
    wide = values.float() if is_half(values) else values
    return add_rows(wide.new_zeros(_shape(values, num_rows, dim)), dim, index, wide)


def extreme_rows(values: Tensor, index: Tensor, num_rows: int, dim: int, which: str) -> Tensor:
    """The "max" or "min" of the entries of a row, 0 of none; of truth values whether any or all are true."""
    if values.dtype == torch.bool:
        return extreme_rows(values.byte(), index, num_rows, dim, which).bool()
    # scatter_reduce counts the value that it starts from among the ties, also with include_self=False:
    # from 0 or -inf, a maximum of that would get less than its gradient. Nothing is equal to NaN.
    start = torch.nan if values.dtype.is_floating_point else 0
    out = values.new_full(_shape(values, num_rows, dim), start).scatter_reduce(
        dim, along(index, dim, values).expand_as(values), values, f"a{which}", include_self=False
    )
    # 1, not True, which torch.jit.trace has no way to write down.
    reached = index.new_zeros(num_rows, dtype=torch.bool).index_fill(0, index, 1)
    return out.masked_fill(~along(reached, dim, values), 0)


def mul_rows(values: Tensor, index: Tensor, num_rows: int, dim: int) -> Tensor:
    """Π over the entries of a row."""
    places = along(index, dim, values).expand_as(values)
    return values.new_ones(_shape(values, num_rows, dim)).scatter_reduce(dim, places, values, "prod")


def logsumexp_rows(values: Tensor, index: Tensor, num_rows: int, dim: int) -> Tensor:
    """The logarithm of Σ exp(entry) over a row, 0 of none; whole numbers count as floating-point ones."""
    if not values.is_floating_point():
        values = values.to(torch.get_default_dtype())
    wide = values.float() if is_half(values) else values
    highest = extreme_rows(wide.detach(), index, num_rows, dim, "max")
    shift = highest.masked_fill(highest.isinf(), 0.0)
    total = sum_rows((wide - shift.index_select(dim, index)).exp(), index, num_rows, dim)
    # Where all entries are -inf their sum is 0, where the logarithm has no slope: none gets a gradient.
    nothing = total == 0
    out = total.masked_fill(nothing, 1.0).log() + shift
    return out.masked_fill(nothing & (highest == -torch.inf), -torch.inf).to(values.dtype)


_BY_NAME: dict[str, Callable[[Tensor, Tensor, int, int], Tensor]] = {
    "sum": sum_rows,
    "mean": mean_rows,
    "max": partial(extreme_rows, which="max"),
    "min": partial(extreme_rows, which="min"),
    "mul": mul_rows,
    "logsumexp": logsumexp_rows,
}


def is_half(values: Tensor) -> bool:
    """Whether numbers have half precision, which is for storage."""
    return values.dtype in (torch.float16, torch.bfloat16)


def _shape(values: Tensor, num_rows: int, dim: int) -> list[int]:
    return [*values.shape[:dim], num_rows, *values.shape[dim + 1 :]]


def add_rows(total: Tensor, dim: int, index: Tensor, values: Tensor) -> Tensor:
    """`total.index_add(dim, index, values)`, which on a GPU adds in another order each time: not this."""
    if total.is_cpu:
        return total.index_add(dim, index, values)
    added: Tensor = torch.ops.aten.index_put.default(total, [None] * dim + [index], values, True)
    return added


def add_rows_(total: Tensor, index: Tensor, values: Tensor) -> None:
    """The same of the first dimension, in place."""
    if total.is_cpu:
        total.index_add_(0, index, values)
    else:
        total.index_put_((index,), values, accumulate=True)


def pick_rows(values: Tensor, dim: int, index: Tensor) -> Tensor:
    """`values.index_select(dim, index)`, whose gradient on a GPU is added up in another order each time."""
    if values.is_cpu:
        return values.index_select(dim, index)
    picked: Tensor = torch.ops.aten.index.Tensor(values, [None] * dim + [index])
    return picked


def softmax_rows(score: Tensor, index: Tensor, num_rows: int, dim: int) -> Tensor:
    """`softmax` with arguments that are known to be good."""
    highest = extreme_rows(score.detach(), index, num_rows, dim, "max").index_select(
        dim, index
    )  # no gradient
    # Where all scores are -inf, no entry weighs anything: 0, not the -inf - -inf that is no number.
    weight = (score - highest.masked_fill(highest == -torch.inf, 0.0)).exp()
    total = sum_rows(weight, index, num_rows, dim)
    return weight / pick_rows(total.masked_fill(total == 0, 1.0), dim, index)


def broadcast_score(score: Tensor, value: Tensor) -> Tensor:
    """Give a score the trailing dimensions of length one that it lacks beside its value."""
    if score.dim() > value.dim() or (score.dim() < value.dim() and score.shape != value.shape[: score.dim()]):
        raise ValueError(
            f"a softmax message is (score, value) with the score's shape the beginning of the value's, got "
            f"{list(score.shape)} and {list(value.shape)}."
        )
    return score.reshape(score.shape + (1,) * (value.dim() - score.dim()))


def count_rows(index: Tensor, num_rows: int) -> Tensor:
    """How many entries each row has, at least 1."""
    return index.new_zeros(num_rows).index_add(0, index, torch.ones_like(index)).clamp(min=1)


def check_entries(name: str, values: Tensor, index: Tensor, dim: int) -> int:
    """Entries in dimension `dim`, as many as indices; returns `dim` counted from the front."""
    if not isinstance(dim, int):
        raise TypeError(f"dim must be an integer, got {dim!r}.")
    if index.dtype != torch.int64 or index.dim() != 1:
        raise ValueError(f"index must be int64 [num_entries], got {index.dtype} {list(index.shape)}.")
    if not -values.dim() <= dim < values.dim() or values.size(dim) != index.numel():
        raise ValueError(
            f"{name} must have {index.numel()} entries, one for each index, in dimension {dim}, got shape "
            f"{list(values.shape)}."
        )
    return dim % values.dim()


def _check_range(index: Tensor, num_rows: int) -> None:
    if not isinstance(num_rows, int | torch.SymInt | np.integer | Tensor):
        raise TypeError(f"num_rows must be an integer, got {num_rows!r}.")
    # A compiled function cannot stop to look.
    if torch.compiler.is_compiling() or index.is_meta:
        return
    if num_rows < 0:
        raise ValueError(f"num_rows must be 0 or more, got {num_rows}.")
    if index.numel() == 0:
        return
    lowest, highest = torch.stack(torch.aminmax(index)).tolist()
    if lowest < 0 or highest >= num_rows:
        bad = int(((index < 0) | (index >= num_rows)).nonzero()[0])
        raise IndexError(f"index[{bad}] is {int(index[bad])}, but there are {num_rows} rows.")


def along(vector: Tensor, dim: int, like: Tensor) -> Tensor:
    """A vector turned to lie in dimension `dim` of a tensor such as `like`."""
    return vector.reshape([-1 if k == dim else 1 for k in range(like.dim())])
