"""Random numbers as a function of a counter: the same on every device and for any number of threads."""

from __future__ import annotations

import torch
from torch import Tensor

GOLDEN = 0x9E3779B97F4A7C15  # 2⁶⁴ over the golden ratio: multiples of this are far from each other


def mix(z: Tensor) -> Tensor:
    """SplitMix64 (Steele et al., 2014) on the bits of int64: a change of any bit changes half of them.

    >>> mix(torch.tensor([0, 1]))
    tensor([                  0, 6238072747940578789])
    """
    z = (z ^ shift(z, 30)) * signed(0xBF58476D1CE4E5B9)
    z = (z ^ shift(z, 27)) * signed(0x94D049BB133111EB)
    return z ^ shift(z, 31)


def mix_int(z: int) -> int:
    """The same of one number, 0 .. 2⁶⁴ - 1."""
    return int(mix(torch.tensor(signed(z % 2**64), device="cpu"))) % 2**64


def shift(z: Tensor, bits: int) -> Tensor:
    """To the right, zeros from the left."""
    return (z >> bits) & ((1 << (64 - bits)) - 1)


def signed(z: int) -> int:
    """The int64 with the bits of a number below 2⁶⁴."""
    return z - 2**64 if z >= 2**63 else z
