"""What a visible unit may be: a coin, or a number with noise.

Given the hidden units, unit i is alone with the field f_i = b_i + Σ_j w_ij h_j, and has the density
exp(f_i v_i - base(v_i)) / Z(f_i). All that differs between the kinds is `base`, and what follows from it.
"""

from __future__ import annotations

import math
from typing import Literal, Protocol

import torch
import torch.nn.functional as F
from torch import Tensor

Kind = Literal["binary", "gaussian"]


class Visible(Protocol):
    """A kind of visible units."""

    def mean(self, field: Tensor) -> Tensor:
        """The mean of a unit in a field."""

    def draw(self, field: Tensor, u: Tensor) -> Tensor:
        """The value of a unit in a field, from a number between 0 and 1."""

    def base(self, v: Tensor) -> Tensor:
        """The part of the energy that is the unit's own, without its bias; `[..., units]` -> `[...]`."""

    def log_partition(self, field: Tensor) -> Tensor:
        """Log Z(f), of each unit."""

    def bias(self, v: Tensor) -> Tensor:
        """The bias with which units alone have the means of samples `[num_samples, units]`."""

    def check(self, name: str, v: Tensor) -> None:
        """Refuse what such units cannot be."""


class Binary:
    """0 or 1; as data also a probability between them."""

    def mean(self, field: Tensor) -> Tensor:
        """σ(f)."""
        return torch.sigmoid(field)

    def draw(self, field: Tensor, u: Tensor) -> Tensor:
        """1 where u < σ(f)."""
        return (u < torch.sigmoid(field)).to(field.dtype)

    def base(self, v: Tensor) -> Tensor:
        """0."""
        return v.new_zeros(v.shape[:-1])

    def log_partition(self, field: Tensor) -> Tensor:
        """Log(1 + exp f)."""
        return softplus(field)

    def bias(self, v: Tensor) -> Tensor:
        """The log-odds of a 1, half a sample of either value added so that it is finite."""
        ones = v.sum(0) + 0.5
        return torch.log(ones / (len(v) + 1 - ones))

    def check(self, name: str, v: Tensor) -> None:
        """Require numbers from 0 to 1."""
        _require(name, v, (v >= 0) & (v <= 1), "binary units are from 0 to 1")


class Gaussian:
    """A number with noise of variance 1 about its field: data are to be standardised."""

    def mean(self, field: Tensor) -> Tensor:
        """F."""
        return field

    def draw(self, field: Tensor, u: Tensor) -> Tensor:
        """F and the normal number whose distribution function is u."""
        least = torch.finfo(u.dtype).eps / 4  # u may be 0, whose normal number is not finite
        noise: Tensor = torch.special.ndtri(u.clamp(min=least))
        return field + noise.to(field.dtype)

    def base(self, v: Tensor) -> Tensor:
        """½ v²."""
        return 0.5 * v.square().sum(-1)

    def log_partition(self, field: Tensor) -> Tensor:
        """½ f² + ½ log 2π."""
        return 0.5 * (field.square() + math.log(2 * math.pi))

    def bias(self, v: Tensor) -> Tensor:
        """The mean."""
        return v.mean(0)

    def check(self, name: str, v: Tensor) -> None:
        """Require finite numbers."""
        _require(name, v, v.isfinite(), "gaussian units are finite numbers")


KINDS: dict[str, Visible] = {"binary": Binary(), "gaussian": Gaussian()}


def softplus(x: Tensor) -> Tensor:
    """Log(1 + exp x), to the last digits of float64: PyTorch's own gives up at 20."""
    return F.softplus(x, threshold=40.0)


def check_bits(name: str, values: Tensor) -> None:
    """Require states of 0 and 1."""
    _require(name, values, (values == 0) | (values == 1), "such units are 0 or 1")


def _require(name: str, values: Tensor, right: Tensor, what: str) -> None:
    if not bool(right.all()):
        place = tuple((~right).nonzero()[0].tolist())
        raise ValueError(f"{name}{list(place)} is {values[place].item():g}, but {what}.")
