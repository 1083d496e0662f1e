"""Translates PyTorch Geometric's aggregators to those of this package."""

from __future__ import annotations

from typing import Any, cast

import torch
from torch import Tensor, nn

from mpnn.aggregate import aggregators as aggregate
from mpnn.aggregate.aggregators import Aggregator
from mpnn.aggregate.reduction import Applied
from mpnn.aggregate.reductions import SOFTMAX
from mpnn.borrowed import MODULES
from mpnn.step.plain import is_watched

_SAME: dict[str, type[Aggregator]] = {
    "SumAggregation": aggregate.Sum,
    "MeanAggregation": aggregate.Mean,
    "MaxAggregation": aggregate.Max,
    "MinAggregation": aggregate.Min,
    "MulAggregation": aggregate.Mul,
}


def translated(module: Any) -> Aggregator | None:
    """The aggregator that is equal to one of PyTorch Geometric's, or None."""
    kind = type(module).__name__
    if not type(module).__module__.startswith("torch_geometric."):
        return None
    if kind in _SAME:
        return _SAME[kind]()
    if kind == "VarAggregation" and not module.semi_grad:
        return aggregate.Var()
    if kind == "StdAggregation" and not module.var_aggr.semi_grad:
        return aggregate.Std()
    if kind == "SoftmaxAggregation":
        return _Softmax(module)
    if kind == "MultiAggregation" and module.mode == "cat":
        each = [translated(one) for one in module.aggrs]
        return None if None in each else aggregate.Several(cast(list[nn.Module], each))
    if kind == "DegreeScalerAggregation":
        inner = translated(module.aggr)
        return None if inner is None or _multiplies(inner) else _Scaled(module, inner)
    return None


def is_watched_inside(module: nn.Module) -> bool:
    """Whether an aggregator, or one that it consists of, has hooks, which only its own code calls."""
    return is_watched(module) or any(map(is_watched_inside, filter(None, module.__dict__[MODULES].values())))


def _multiplies(aggregator: Aggregator) -> bool:
    return any(isinstance(one, aggregate.Mul) for one in aggregator.modules())


class _Softmax(aggregate.Softmax):
    """A softmax that reads the temperature of another module at each call."""

    def __init__(self, theirs: nn.Module) -> None:
        super().__init__(semi_grad=cast(bool, theirs.semi_grad))
        self.theirs = theirs

    def split(self, messages: Any) -> list[Applied]:
        """One softmax-weighted sum."""
        score = messages * self.theirs.t
        return [SOFTMAX(messages, score.detach() if self.semi_grad else score)]


class _Scaled(Aggregator):
    """Aggregates scaled by functions of the node's degree (Corso et al., 2020, eq. 5)."""

    def __init__(self, theirs: nn.Module, inner: Aggregator) -> None:
        super().__init__()
        self.theirs, self.inner = theirs, inner
        self.num_reductions = inner.num_reductions

    def split(self, messages: Any) -> list[Applied]:
        """The aggregates that are scaled."""
        return self.inner.split(messages)

    def merge(self, reduced: list[Tensor], count: Tensor) -> Tensor:
        """The scaled aggregates side by side. Where there is no message there is nothing to scale."""
        out = self.inner.merge(reduced, count)
        degree, linear, log = (
            count,
            cast(Tensor, self.theirs.avg_deg_lin),
            cast(Tensor, self.theirs.avg_deg_log),
        )
        scaled = {
            "identity": lambda: out,
            "amplification": lambda: out * (torch.log(degree + 1) / log),
            "attenuation": lambda: out * (log / torch.log(degree + 1)),
            "linear": lambda: out * (degree / linear),
            "inverse_linear": lambda: out * (linear / degree),
        }
        return torch.cat([scaled[name]() for name in cast(list[str], self.theirs.scaler)], dim=-1)
