"""Kernels: numbers of pairs of vectors, which follow from their product or from their distance."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable

import torch
from torch import Tensor, nn

from mpnn.functional import linear
from mpnn.models.parts.checks import check_count, check_number


class Kernel(nn.Module, ABC):
    """K(x, y): called with rows of the same number, or as a matrix of all rows with all others."""

    @abstractmethod
    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        """K of each row of x with the same row of y: `[n, features]`, twice -> `[n]`."""

    @abstractmethod
    def matrix(self, x: Tensor, y: Tensor) -> Tensor:
        """K of each row of x with each row of y: `[n, features]`, `[m, features]` -> `[n, m]`."""


class PolynomialKernel(Kernel):
    """(γ x·y + c)^d; with d = 1 and c = 1 that of a linear map with a bias.

    Args:
        degree: d, from 1 on.
        offset: c.
        scale: γ, above 0.

    >>> PolynomialKernel(2).matrix(torch.tensor([[1.0, 2.0]]), torch.tensor([[1.0, 1.0], [0.0, 0.0]]))
    tensor([[16.,  1.]])
    """

    def __init__(self, degree: int = 1, offset: float = 1.0, scale: float = 1.0) -> None:
        super().__init__()
        check_count("degree", degree, 1)
        check_number("offset", offset)
        check_positive("scale", scale)
        self.degree, self.offset, self.scale = degree, offset, scale

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        return self._of((x * y).sum(-1))

    def matrix(self, x: Tensor, y: Tensor) -> Tensor:
        return self._of(linear(x, y))

    def _of(self, product: Tensor) -> Tensor:
        base, degree, result = self.scale * product + self.offset, self.degree, None
        while degree:  # products of whole numbers stay whole, and take less time than `pow`
            if degree & 1:
                result = base if result is None else result * base
            degree >>= 1
            base = base * base if degree else base
        assert result is not None
        return result

    def __repr__(self) -> str:
        scale = "" if self.scale == 1 else f"{self.scale:g} "
        return f"({scale}x·y + {self.offset:g})^{self.degree}"


class RadialKernel(Kernel):
    """φ(r) of r = ε ‖x - y‖, with the names and signs of `scipy.interpolate.RBFInterpolator`.

    Args:
        name: "gaussian", exp(-r²); "multiquadric", -√(1 + r²); "inverse_multiquadric", 1 / √(1 + r²); or
            "thin_plate_spline", r² log r.
        epsilon: ε, above 0.

    >>> RadialKernel("gaussian", 2.0)(torch.tensor([[0.0, 1.0]]), torch.tensor([[0.0, 0.5]]))
    tensor([0.3679])
    """

    def __init__(self, name: str, epsilon: float = 1.0) -> None:
        super().__init__()
        if name not in RADIAL:
            raise ValueError(f"kernel is {name!r}, but must be one of {', '.join(RADIAL)}.")
        check_positive("epsilon", epsilon)
        self.name, self.epsilon = name, epsilon

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        return RADIAL[self.name](self.epsilon**2 * (x - y).square().sum(-1))

    def matrix(self, x: Tensor, y: Tensor) -> Tensor:
        squares = x.square().sum(-1)[:, None] + y.square().sum(-1)
        # What is left of two nearly equal numbers may be below 0.
        return RADIAL[self.name](self.epsilon**2 * (squares - 2 * linear(x, y)).clamp(min=0))

    def __repr__(self) -> str:
        return self.name


def _gaussian(s: Tensor) -> Tensor:
    return torch.exp(-s)


def _multiquadric(s: Tensor) -> Tensor:
    return -torch.sqrt(1 + s)


def _inverse_multiquadric(s: Tensor) -> Tensor:
    return torch.rsqrt(1 + s)


def _thin_plate_spline(s: Tensor) -> Tensor:
    return 0.5 * s * torch.log(torch.where(s > 0, s, 1.0))  # 0 at 0, with slope 0 there


RADIAL: dict[str, Callable[[Tensor], Tensor]] = {  # of r²
    "gaussian": _gaussian,
    "multiquadric": _multiquadric,
    "inverse_multiquadric": _inverse_multiquadric,
    "thin_plate_spline": _thin_plate_spline,
}


def check_positive(name: str, value: float) -> None:
    """Require a finite number above 0.

    Raises:
        TypeError, ValueError: it is none.
    """
    check_number(name, value, 0)
    if value == 0:
        raise ValueError(f"{name} must be above 0, got {value}.")
