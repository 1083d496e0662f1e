"""Aggregators: what a node makes of the messages that reach it.

Each is a permutation-invariant reduction over rows of `index`. A node that no message reaches gets 0, from
`mul` 1, as in PyTorch Geometric. Ties of `max` and `min` share the gradient evenly, so that the order of the
edges changes nothing.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Sequence
from itertools import islice
from typing import Any, cast

import torch
from torch import Tensor, nn

from mpnn.aggregate.reduce import along, broadcast_score, check_entries, count_rows, scatter, softmax
from mpnn.aggregate.reduction import Applied, Reduction
from mpnn.aggregate.reductions import LOGSUMEXP, MAX, MEAN, MIN, MUL, SOFTMAX, SUM

__all__ = ["AGGREGATORS", "Aggr", "Aggregator", "apply", "resolve", "scatter", "softmax"]


def numbers(messages: Tensor) -> Tensor:
    """Truth values as 0 and 1, of which there is a mean: a sum of truth values is one itself, in PyTorch."""
    return messages.to(torch.get_default_dtype()) if messages.dtype == torch.bool else messages


class Aggregator(nn.Module):
    """The base of all aggregators: primitive reductions of the messages, and what is made of them per node.

    A subclass names its `reduction`; or, where there are several or the messages change before, it defines
    `split`, which says what to reduce, and `merge`, which finishes at the nodes. The call
    `aggregator(messages, index, ptr, dim_size, dim)` reduces `messages [..., num_edges, ...]` over the
    entries of dimension `dim` with the same `index [num_edges]` to `dim_size` rows: the signature of PyG's
    `Aggregation`, whose modules can stand wherever one of these can.
    """

    name = ""
    num_reductions = 1
    accepts: type | tuple[type, ...] = Tensor
    reduction: Reduction | None = None

    @property
    def in_one(self) -> Reduction | None:
        """The reduction that does `merge` as well, if any; it takes what the first of `split` takes."""
        return None

    def split(self, messages: Any) -> list[Applied]:
        """The primitive reductions, on tensors with one entry per edge."""
        if self.reduction is None:
            raise NotImplementedError(f"{type(self).__name__} defines no split().")
        return [self.reduction(messages)]

    def merge(self, reduced: list[Tensor], count: Tensor) -> Tensor:
        """The aggregate, from the reduced tensors and the number of messages per node (at least 1)."""
        (only,) = reduced
        return only

    def forward(
        self,
        messages: Any,
        index: Tensor,
        ptr: Tensor | None = None,
        dim_size: int | None = None,
        dim: int = 0,
    ) -> Tensor:
        """Reduce the messages; see the class."""
        num_rows = _num_rows(index) if dim_size is None else dim_size
        if not isinstance(messages, self.accepts):
            raise TypeError(
                f"aggregator {self.name!r} takes one tensor for a message, got {type(messages).__name__}."
            )
        for message in messages if isinstance(messages, tuple) else (messages,):
            axis = check_entries("messages", message, index, dim)
        reduced = [reduction.reduce(index, num_rows, axis) for reduction in self.split(messages)]
        counts = count_rows(index, num_rows)
        return self.merge(reduced, along(counts, axis, reduced[0]).to(reduced[0].dtype))

    def reset_parameters(self) -> None:
        """Draw learnable parameters anew; most aggregators have none."""

    def __repr__(self) -> str:
        return f"{type(self).__name__}()"


def _num_rows(index: Tensor) -> int:
    return int(index.max()) + 1 if index.numel() else 0


class Sum(Aggregator):
    """Σ_j m_j."""

    name = "sum"
    reduction = SUM


class Mean(Sum):
    """Σ_j m_j / |N(i)|."""

    name = "mean"

    @property
    def in_one(self) -> Reduction | None:
        """A mean alone divides in its kernel; beside others it shares their sums."""
        return MEAN if type(self) is Mean else None

    def split(self, messages: Tensor) -> list[Applied]:
        """The sum; of truth values, how many are true."""
        return [SUM(numbers(messages))]

    def merge(self, reduced: list[Tensor], count: Tensor) -> Tensor:
        """The sum over the count."""
        return reduced[0] / count


class Max(Aggregator):
    """max_j m_j, per channel."""

    name = "max"
    reduction = MAX


class Min(Aggregator):
    """min_j m_j, per channel."""

    name = "min"
    reduction = MIN


class Mul(Aggregator):
    """Π_j m_j, per channel; 1 where no message arrives."""

    name = "mul"
    reduction = MUL


class LogSumExp(Aggregator):
    """log Σ_j exp(m_j), per channel: a smooth maximum. Where all messages are -inf, so is it."""

    name = "logsumexp"

    def split(self, messages: Tensor) -> list[Applied]:
        """One reduction; whole numbers are taken as floating-point ones, as by `torch.logsumexp`."""
        floating = messages.is_floating_point()
        return [LOGSUMEXP(messages if floating else messages.to(torch.get_default_dtype()))]


class Single(Aggregator):
    """The aggregator that is one reduction."""

    name = "single"

    def __init__(self, reduction: Reduction) -> None:
        super().__init__()
        self.reduction = reduction

    def __repr__(self) -> str:
        return repr(self.reduction)


class Var(Aggregator):
    """Mean of m_j² minus the square of the mean of m_j."""

    name = "var"
    num_reductions = 2

    def split(self, messages: Tensor) -> list[Applied]:
        """The first two moments."""
        messages = numbers(messages)
        return [SUM(messages), SUM(messages * messages)]

    def merge(self, reduced: list[Tensor], count: Tensor) -> Tensor:
        """Mean of squares minus square of the mean."""
        mean, mean_square = reduced[0] / count, reduced[1] / count
        return mean_square - mean * mean


class Std(Var):
    """The square root of `Var`, and 0 where that is below 1e-5 (its gradient has no bound there)."""

    name = "std"
    floor = 1e-5

    def merge(self, reduced: list[Tensor], count: Tensor) -> Tensor:
        """The root of the variance."""
        deviation = super().merge(reduced, count).clamp(min=self.floor).sqrt()
        return deviation.masked_fill(deviation <= self.floor**0.5, 0.0)


class Softmax(Aggregator):
    """Σ_j softmax_j(t · score_j) value_j.

    The message is a pair `(score, value)`: a score `[num_edges]` or `[num_edges, heads]` weighs a whole value
    `[num_edges, heads, channels]`. A message that is one tensor is its own score, channel by channel
    (Li et al., 2020, "DeeperGCN", eq. 3).

    Args:
        t: the inverse temperature.
        learn: whether `t` is a parameter.
        semi_grad: whether the weights are taken as constants by the gradient.
        channels: with `learn`, one `t` for each channel.
    """

    name = "softmax"
    accepts = (Tensor, tuple)

    def __init__(
        self, t: float = 1.0, learn: bool = False, semi_grad: bool = False, channels: int = 1
    ) -> None:
        super().__init__()
        if learn and semi_grad:
            raise ValueError("learn=True needs the gradient that semi_grad=True takes away.")
        if channels != 1 and not learn:
            raise ValueError(f"channels is {channels}, but learn=False has nothing to hold per channel.")
        t = float(t)
        self._initial = t
        self.learn, self.semi_grad = learn, semi_grad
        self.t: float | nn.Parameter = nn.Parameter(torch.full((channels,), t)) if learn else t

    def reset_parameters(self) -> None:
        """Set a learnable temperature back to its first value."""
        if isinstance(self.t, nn.Parameter):
            nn.init.constant_(self.t, self._initial)

    def split(self, messages: Tensor | tuple[Tensor, Tensor]) -> list[Applied]:
        """One softmax-weighted sum."""
        if isinstance(messages, tuple) and len(messages) != 2:
            raise ValueError(f"a softmax message is (score, value), got {len(messages)} values.")
        score, value = messages if isinstance(messages, tuple) else (messages, messages)
        channels = self.t.numel() if isinstance(self.t, nn.Parameter) else 1
        # Not `in`: a number that `torch.compile` knows is never found among sizes that it does not.
        if channels != 1 and (score.dim() < 2 or channels != score.size(-1)):
            raise ValueError(
                f"softmax has a temperature for each of {channels} channels, but the score has shape "
                f"{list(score.shape)}."
            )
        if not (isinstance(self.t, float) and self.t == 1.0):
            score = score * self.t
        broadcast_score(score, value)  # for its error
        while 1 < score.dim() <= value.dim() and score.size(-1) == 1 != value.size(score.dim() - 1):
            score = score.squeeze(-1)  # one weight for all that follows, in the form that kernels know
        return [SOFTMAX(value, score.detach() if self.semi_grad else score)]


class Several(Aggregator):
    """Several aggregators side by side, concatenated over the last dimension."""

    name = "several"

    def __init__(self, aggregators: Sequence[nn.Module]) -> None:
        super().__init__()
        if not aggregators:
            raise ValueError("aggr is an empty list: name at least one aggregator.")
        self.aggrs = nn.ModuleList(aggregators)
        self.num_reductions = sum(getattr(aggregator, "num_reductions", 0) for aggregator in aggregators)

    def split(self, messages: Any) -> list[Applied]:
        """All that any of them reduces."""
        return [r for aggr in self.aggrs for r in cast(Aggregator, aggr).split(messages)]

    def merge(self, reduced: list[Tensor], count: Tensor) -> Tensor:
        """Concatenate what each of them makes of its share."""
        shares = iter(reduced)
        aggregators = cast(Iterable[Aggregator], self.aggrs)
        merged = [a.merge(list(islice(shares, a.num_reductions)), count) for a in aggregators]
        return torch.cat(merged, dim=-1)

    def forward(
        self,
        messages: Any,
        index: Tensor,
        ptr: Tensor | None = None,
        dim_size: int | None = None,
        dim: int = 0,
    ) -> Tensor:
        """Concatenate what each of them says; some may be PyG's modules."""
        return torch.cat([apply(aggr, messages, index, ptr, dim_size, dim) for aggr in self.aggrs], dim=-1)

    def reset_parameters(self) -> None:
        """Reset each of them."""
        for aggregator in self.aggrs:
            cast(Aggregator, aggregator).reset_parameters()

    def __repr__(self) -> str:
        return f"Several({', '.join(map(repr, self.aggrs))})"


class Custom(Aggregator):
    """A user's function `(messages, index, num_rows) -> [num_rows, ...]`."""

    name = "custom"

    def __init__(self, function: Callable[[Tensor, Tensor, int], Tensor]) -> None:
        super().__init__()
        self.function = function

    def forward(
        self,
        messages: Any,
        index: Tensor,
        ptr: Tensor | None = None,
        dim_size: int | None = None,
        dim: int = 0,
    ) -> Tensor:
        """Call the function."""
        return self.function(messages, index, _num_rows(index) if dim_size is None else dim_size)

    def __repr__(self) -> str:
        return f"Custom({getattr(self.function, '__name__', self.function)!s})"


def apply(
    aggregator: nn.Module,
    messages: Any,
    index: Tensor,
    ptr: Tensor | None = None,
    dim_size: int | None = None,
    dim: int = 0,
) -> Tensor:
    """Call any aggregator, PyG's among them, on edges in any order.

    PyG's order-dependent modules ("median", "lstm", ...) want the messages sorted by destination, and fail
    where there is none: here every node gets zeros then.
    """
    if isinstance(aggregator, Aggregator):
        return cast(Tensor, aggregator(messages, index, ptr, dim_size, dim))
    if not isinstance(messages, Tensor):
        raise TypeError(
            f"aggregator {aggregator} takes one tensor for a message, got {type(messages).__name__}."
        )
    axis = check_entries("messages", messages, index, dim)
    if index.numel() == 0:
        # A message of zeros to every node tells the shape of what comes out.
        num_rows = dim_size or 0
        shape = [max(num_rows, 1) if k == axis else n for k, n in enumerate(messages.shape)]
        everyone = torch.arange(max(num_rows, 1), device=index.device)
        out = aggregator(messages.new_zeros(shape), everyone, dim_size=everyone.numel(), dim=dim)
        return torch.zeros_like(out.narrow(dim, 0, num_rows))
    index, order = torch.sort(index, stable=True)
    return cast(Tensor, aggregator(messages.index_select(dim, order), index, dim_size=dim_size, dim=dim))


AGGREGATORS: dict[str, type[Aggregator]] = {
    aggregator.name: aggregator for aggregator in (Sum, Mean, Max, Min, Mul, LogSumExp, Var, Std, Softmax)
}
AGGREGATORS["add"] = Sum

Aggr = str | Sequence[Any] | nn.Module | Reduction | Callable[..., Any]


def resolve(aggr: Aggr | None, **options: Any) -> nn.Module | None:
    """The aggregator that `aggr` means: a name, a list of such, a module, a reduction, or a function.

    Names beyond `AGGREGATORS` ("median", "lstm", "powermean", ...) are PyG's modules.

    >>> resolve(["mean", "max"])
    Several(Mean(), Max())
    """
    if aggr is None:
        return None
    if isinstance(aggr, str):
        if aggr in AGGREGATORS:
            return AGGREGATORS[aggr](**options)
        return _resolve_with_pyg(aggr, options)
    if isinstance(aggr, Sequence):
        return _resolve_several(aggr, **options)
    if options:
        raise ValueError(f"aggr_kwargs {sorted(options)} can only be given with an aggregator's name.")
    if isinstance(aggr, nn.Module):
        return aggr
    if isinstance(aggr, Reduction):
        return Single(aggr)
    if inspect.isclass(aggr) and issubclass(aggr, Reduction):
        raise TypeError(
            f"aggr is the class {aggr.__name__}, but must be an instance of it: {aggr.__name__}()."
        )
    if callable(aggr):
        return Custom(cast(Callable[..., Any], aggr))
    raise TypeError(
        f"aggr must be a name, a list, a module, a reduction or a function, got {type(aggr).__name__}."
    )


def _resolve_several(
    aggr: Sequence[Any],
    aggrs_kwargs: Sequence[dict[str, Any]] | None = None,
    mode: str = "cat",
    mode_kwargs: dict[str, Any] | None = None,
) -> nn.Module:
    each = [{}] * len(aggr) if aggrs_kwargs is None else list(aggrs_kwargs)
    if len(each) != len(aggr):
        raise ValueError(f"aggrs_kwargs holds {len(each)} options for {len(aggr)} aggregators.")
    if None in aggr:
        raise ValueError(f"aggr is {list(aggr)!r}: a list names aggregators only, None is none.")
    modules = [cast(nn.Module, resolve(one, **kwargs)) for one, kwargs in zip(aggr, each, strict=True)]
    if mode == "cat":
        return Several(modules)
    from torch_geometric.nn.aggr import MultiAggregation

    combined: nn.Module = MultiAggregation(list(aggr), list(each), mode, mode_kwargs)
    return combined


def _resolve_with_pyg(name: str, options: dict[str, Any]) -> nn.Module:
    from torch_geometric.nn.aggr import Aggregation
    from torch_geometric.nn.resolver import aggregation_resolver

    module: nn.Module | None = None
    try:
        module = aggregation_resolver(name, **options)
    except ValueError as error:
        if "Could not resolve" not in str(error):
            raise
    if module is None or type(module) is Aggregation:  # the base class of all, which "" names
        raise ValueError(
            f"aggr is {name!r}, but must be one of {', '.join(sorted(AGGREGATORS))}, or a name that PyTorch "
            "Geometric knows."
        )
    return module
