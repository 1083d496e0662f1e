"""The reductions that kernels know, each an instance: `SUM(messages)` is what a `split` returns.

What a node without messages gets is part of each: 0, and 1 from a product, as in PyTorch Geometric.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from mpnn.aggregate.reduce import (
    broadcast_score,
    extreme_rows,
    logsumexp_rows,
    mean_rows,
    mul_rows,
    softmax_rows,
    sum_rows,
)
from mpnn.aggregate.reduction import PerNode, Reduction, State

INF = float("inf")


class Sum(Reduction):
    """Σ m; every message gets the gradient of the sum."""

    name = "sum"
    identity = (0.0,)
    linear = True

    def reduce(self, tensors: Sequence[Tensor], index: Tensor, num_rows: int, dim: int) -> Tensor:
        """By `index_add`."""
        return sum_rows(tensors[0], index, num_rows, dim)

    def lift(self, *message: Tensor) -> State:
        """The message."""
        return message

    def merge(self, one: State, other: State) -> State:
        """The sum of the sums."""
        return (one[0] + other[0],)

    def finish(self, state: State, count: Tensor) -> State:
        """The sum."""
        return state

    def gradients(self, *arguments: Tensor) -> tuple[Tensor, ...]:
        """That of the sum."""
        gradient, _ = arguments
        return (gradient,)

    def line(self, *message: str) -> str:
        """As it is written in most languages."""
        return f"sum += {message[0]}"


class Mean(Sum):
    """Σ m / n, of n messages."""

    name = "mean"
    reads = (PerNode.GRADIENT, PerNode.SHARE)

    def reduce(self, tensors: Sequence[Tensor], index: Tensor, num_rows: int, dim: int) -> Tensor:
        """By `index_add`."""
        return mean_rows(tensors[0], index, num_rows, dim)

    def finish(self, state: State, count: Tensor) -> State:
        """The sum over the count."""
        return (state[0] / count.clamp(min=1),)

    def gradients(self, *arguments: Tensor) -> tuple[Tensor, ...]:
        """1 / n of that of the mean."""
        gradient, share, _ = arguments
        return (gradient * share.reshape(-1, *[1] * (gradient.dim() - 1)),)

    def line(self, *message: str) -> str:
        """In words."""
        return self.formula(*message)


class Max(Reduction):
    """The largest m; messages that tie share its gradient evenly. A NaN is larger than any number."""

    name = "max"
    identity = (-INF, 0.0)
    saves = 1  # how many messages tie
    reads = (PerNode.GRADIENT, PerNode.AGGREGATE)
    exact = compares = rounds = True

    def reduce(self, tensors: Sequence[Tensor], index: Tensor, num_rows: int, dim: int) -> Tensor:
        """By `scatter_reduce`."""
        return extreme_rows(tensors[0], index, num_rows, dim, self.name)

    def lift(self, *message: Tensor) -> State:
        """The message, which ties with itself."""
        return message[0], torch.ones_like(message[0])

    def merge(self, one: State, other: State) -> State:
        """The better value with its ties, or with both."""
        (a, n), (b, m) = one, other
        better = self.is_better(b, a) | (b != b)
        return torch.where(better, b, a), torch.where(a == b, n + m, torch.where(better, m, n))

    def is_better(self, one: Tensor, other: Tensor) -> Tensor:
        """Whether a number is nearer to what is looked for."""
        return one > other

    def finish(self, state: State, count: Tensor) -> State:
        """The value, 0 of none, and its ties."""
        best, ties = state
        return torch.where(count > 0, best, 0.0), torch.where(count > 0, ties, 1.0)

    def at_nodes(
        self,
        gradient: Tensor,
        kept: Sequence[Tensor],
        share: Callable[[torch.dtype], Tensor],
        may_write: bool,
    ) -> list[Tensor]:
        """What each of the messages that tie gets of the gradient, and the aggregate."""
        aggregate, ties = kept
        ties = ties.to(gradient.dtype)
        return [gradient.div_(ties) if may_write else gradient / ties, aggregate]

    def gradients(self, *arguments: Tensor) -> tuple[Tensor, ...]:
        """All of it where m is the aggregate, else 0."""
        gradient, aggregate, value = arguments
        # A product: a maximum that is NaN has NaN ties, and all of its messages get that.
        return (gradient * (value == aggregate),)


class Min(Max):
    """The smallest m."""

    name = "min"
    identity = (INF, 0.0)

    def is_better(self, one: Tensor, other: Tensor) -> Tensor:
        """Whether it is smaller."""
        return one < other


class Mul(Reduction):
    """Π m; a message gets the gradient times the product of the others."""

    name = "mul"
    identity = (1.0, 1.0, 0.0)
    saves = 1  # what a message of zero gets: the product of the others
    reads = (PerNode.GRADIENT, PerNode.AGGREGATE, PerNode.SAVED)
    exact = compares = True

    def reduce(self, tensors: Sequence[Tensor], index: Tensor, num_rows: int, dim: int) -> Tensor:
        """By `scatter_reduce`."""
        return mul_rows(tensors[0], index, num_rows, dim)

    def lift(self, *message: Tensor) -> State:
        """The message, what it is but for a zero, and whether it is one."""
        (value,) = message
        zero = value == 0
        return value, torch.where(zero, 1.0, value), zero.to(value.dtype)

    def merge(self, one: State, other: State) -> State:
        """The products, and how many zeros there are."""
        return one[0] * other[0], one[1] * other[1], one[2] + other[2]

    def finish(self, state: State, count: Tensor) -> State:
        """The product, and for a zero that of the others, among which is another zero if there are two."""
        product, others, zeros = state
        return product, torch.where(zeros == 1, others, product)

    def gradients(self, *arguments: Tensor) -> tuple[Tensor, ...]:
        """The product over m, which for a zero was kept."""
        gradient, product, others, value = arguments
        return (torch.where(value == 0, gradient * others, gradient * product / value),)


class LogSumExp(Reduction):
    """log Σ exp(m); a message gets the softmax of its row times the gradient. Of none it is 0.

    The highest message and Σ exp(m - highest) stay two: their logarithm in one, as the aggregate has it,
    has no digits left for the sum where messages are large. Where all of them are -inf, so is the aggregate,
    and none gets a gradient.
    """

    name = "logsumexp"
    identity = (-INF, 0.0)
    saves = 2  # the highest message, and 1 / Σ exp(m - highest)
    reads = (PerNode.GRADIENT, PerNode.SAVED, PerNode.SAVED)
    exact = True

    def reduce(self, tensors: Sequence[Tensor], index: Tensor, num_rows: int, dim: int) -> Tensor:
        """With the highest message taken out."""
        return logsumexp_rows(tensors[0], index, num_rows, dim)

    def lift(self, *message: Tensor) -> State:
        """The message is the highest, and counts once."""
        return message[0], torch.ones_like(message[0])

    def merge(self, one: State, other: State) -> State:
        """Both sums are scaled down to the higher message."""
        (a, n), (b, m) = one, other
        top = torch.maximum(a, b)
        return top, n * _rescale(a, top) + m * _rescale(b, top)

    def finish(self, state: State, count: Tensor) -> State:
        """The logarithm, and what the weights are made of."""
        top, total = state
        out = torch.where(count > 0, top + total.log(), 0.0)
        return out, torch.where(top == -INF, 0.0, top), 1 / total

    def gradients(self, *arguments: Tensor) -> tuple[Tensor, ...]:
        """Its weight times that of the aggregate."""
        gradient, top, share, value = arguments
        return (gradient * (torch.exp(value - top) * share),)


def _rescale(old: Tensor, new: Tensor) -> Tensor:
    """What a sum of exp(m - old) is multiplied with to be one of exp(m - new)."""
    return torch.where(old == new, 1.0, (old - new).exp())


class Softmax(Reduction):
    """Σ α value with α = exp(score - top) / total, top the highest score, total Σ exp(score - top).

    The value gets α g of a gradient g, the score α (g · value - g · aggregate). The top and the total are
    saved apart, as in `LogSumExp`: three equal scores of 1e8 would weigh 1 each.
    """

    name = "softmax"
    arity = 2
    identity = (0.0, -INF, 0.0)
    saves = 2  # the top, and the reciprocal of the total, which is 0 where no edge weighs anything
    reads = (PerNode.GRADIENT, PerNode.AGGREGATE, PerNode.SAVED, PerNode.SAVED)
    exact = True

    def reduce(self, tensors: Sequence[Tensor], index: Tensor, num_rows: int, dim: int) -> Tensor:
        """With a weight for each entry."""
        value, score = tensors
        weight = broadcast_score(softmax_rows(score, index, num_rows, dim), value)
        # Where all scores are -inf no value counts, be it infinite.
        highest = extreme_rows(score.detach(), index, num_rows, dim, "max").index_select(dim, index)
        ignored = broadcast_score(highest == -torch.inf, value)
        return sum_rows(weight * value.masked_fill(ignored, 0), index, num_rows, dim)

    def lift(self, *message: Tensor) -> State:
        """The value, which weighs 1 beside its own score, or nothing beside -inf."""
        value, score = message
        counts = score != -INF
        return torch.where(counts, value, 0.0), score, counts.to(score.dtype)

    def merge(self, one: State, other: State) -> State:
        """Both are scaled down to the higher score."""
        (a, p, n), (b, q, m) = one, other
        top = torch.maximum(p, q)
        down, other_down = _rescale(p, top), _rescale(q, top)
        return a * down + b * other_down, top, n * down + m * other_down

    def finish(self, state: State, count: Tensor) -> State:
        """The weighted mean, and what the weights are made of."""
        weighted, top, total = state
        nothing = total == 0
        out = torch.where(nothing, 0.0, weighted / total)
        return out, torch.where(nothing, 0.0, top), torch.where(nothing, 0.0, 1 / total)

    def gradients(self, *arguments: Tensor) -> tuple[Tensor, ...]:
        """At the value, and at the score."""
        gradient, aggregate, top, share, value, score = arguments
        weight = torch.exp(score - top) * share
        extra = tuple(range(score.dim(), value.dim()))
        weight_wide = weight.reshape(weight.shape + (1,) * len(extra))
        slope = gradient * value - gradient * aggregate
        if extra:
            # Two sums, so that the second, which is the same for all edges of a node, is done once per node;
            # in the type that kernels compute in, for their difference is small.
            wide = None if top.dtype == gradient.dtype else top.dtype
            slope = (gradient * value).sum(extra, dtype=wide) - (gradient * aggregate).sum(extra, dtype=wide)
        # Where one message has all the weight, its value is the aggregate: the difference is 0, and nothing
        # but rounding is left of it, which large features would blow up; NaN stays NaN.
        slope = torch.where(weight < 1, slope, slope * 0.0)
        return weight_wide * gradient, weight * slope

    def formula(self, *message: str) -> str:
        """As a sum."""
        value, score = message
        return f"sum of softmax({score}) * {value}"

    def line(self, *message: str) -> str:
        """In words."""
        value, score = message
        return f"softmax of {score} weighs {value}"


SUM, MEAN, MAX, MIN, MUL, LOGSUMEXP, SOFTMAX = (
    Sum(), Mean(), Max(), Min(), Mul(), LogSumExp(), Softmax(),
)  # fmt: skip
