"""Kernels: numbers of pairs of vectors, which follow from their product or from their distance."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Literal

import torch
from torch import Tensor

from mpnn.functional import linear
from mpnn.models.parts.checks import check_count, check_number

Of = Literal["product", "distance"]


@dataclass(frozen=True)
class Kernel:
    """K(x, y), a function of the product x·y or of the squared distance ‖x - y‖².

    Args:
        name: what it is called.
        of: "product" or "distance", which the function is given.
        function: from such numbers, a tensor of any shape, to those of the kernel.

    >>> kernel = polynomial(2)
    >>> kernel.matrix(torch.tensor([[1.0, 2.0]]), torch.tensor([[1.0, 1.0], [0.0, 0.0]]))
    tensor([[16.,  1.]])
    """

    name: str
    of: Of
    function: Callable[[Tensor], Tensor]

    def pairs(self, x: Tensor, y: Tensor) -> Tensor:
        """K of each row of x with the same row of y: `[n, features]`, twice -> `[n]`."""
        return self.function((x * y).sum(-1) if self.of == "product" else (x - y).square().sum(-1))

    def matrix(self, x: Tensor, y: Tensor) -> Tensor:
        """K of each row of x with each row of y: `[n, features]`, `[m, features]` -> `[n, m]`."""
        product = linear(x, y)
        if self.of == "product":
            return self.function(product)
        squares = x.square().sum(-1)[:, None] + y.square().sum(-1)
        # What is left of two nearly equal numbers may be below 0.
        return self.function((squares - 2 * product).clamp(min=0))

    def __repr__(self) -> str:
        return self.name


# Of the product ---------------------------------------------------------------------------------------------


def polynomial(degree: int = 1, offset: float = 1.0, scale: float = 1.0) -> Kernel:
    """(γ x·y + c)^d; with d = 1 and c = 1 that of a linear map with a bias.

    Args:
        degree: d, from 1 on.
        offset: c.
        scale: γ, above 0.
    """
    check_count("degree", degree, 1)
    check_number("offset", offset)
    check_positive("scale", scale)
    name = f"({'' if scale == 1 else f'{scale:g} '}x·y + {offset:g})^{degree}"
    return Kernel(name, "product", partial(_polynomial, degree, offset, scale))


def _polynomial(degree: int, offset: float, scale: float, product: Tensor) -> Tensor:
    base, result = scale * product + offset, None
    while degree:  # products of whole numbers stay whole, and take less time than `pow`
        if degree & 1:
            result = base if result is None else result * base
        degree >>= 1
        base = base * base if degree else base
    assert result is not None
    return result


# Of the distance --------------------------------------------------------------------------------------------


def radial(name: str, epsilon: float = 1.0) -> Kernel:
    """φ(ε ‖x - y‖), with the names and signs of `scipy.interpolate.RBFInterpolator`.

    Args:
        name: "gaussian", exp(-r²); "multiquadric", -√(1 + r²); "inverse_multiquadric", 1 / √(1 + r²); or
            "thin_plate_spline", r² log r.
        epsilon: ε, above 0.
    """
    if name not in RADIAL:
        raise ValueError(f"kernel is {name!r}, but must be one of {', '.join(RADIAL)}.")
    check_positive("epsilon", epsilon)
    return Kernel(name, "distance", partial(_radial, RADIAL[name], epsilon * epsilon))


def _radial(function: Callable[[Tensor], Tensor], scale: float, squared: Tensor) -> Tensor:
    return function(scale * squared)


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
