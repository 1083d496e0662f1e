"""All states of a few units, for sums that are exact."""

from __future__ import annotations

import torch
from torch import Tensor

MOST_ENUMERATED = 20  # units


def all_states(what: str, number: int, like: Tensor, low: float = 0.0, high: float = 1.0) -> Tensor:
    """Every state of some units of two values, `[2 ** number, number]`.

    Args:
        what: whose units they are, for the sentence of the error.
        number: how many units.
        like: has the type and the device.
        low: the one value.
        high: the other.

    Raises:
        ValueError: there are more than 20 units.

    >>> all_states("the machine", 2, torch.zeros(()))
    tensor([[0., 0.],
            [1., 0.],
            [0., 1.],
            [1., 1.]])
    """
    if number > MOST_ENUMERATED:
        raise ValueError(f"{what} has {number} units, but at most {MOST_ENUMERATED} are enumerated.")
    bits = torch.arange(2**number, device=like.device).view(-1, 1)
    bit = (bits >> torch.arange(number, device=like.device)) & 1
    return torch.where(bit == 1, high, low).to(like.dtype)
