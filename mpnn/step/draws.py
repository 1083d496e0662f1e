"""Random numbers by counter: what is drawn follows from a seed and a place, in any order, on any device."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from typing import TypeVar

import torch
from torch import Tensor

from mpnn.native.uniforms import drawn

MASK = 0xFFFFFFFF
Bits = TypeVar("Bits", int, Tensor)


def mix(x: Bits) -> Bits:
    """A bijection of 32 bits with little bias (Wellons, "lowbias32")."""
    x = ((x ^ (x >> 16)) * 0x7FEB352D) & MASK
    x = ((x ^ (x >> 15)) * 0x846CA68B) & MASK
    return x ^ (x >> 16)


def uniforms(
    seed: int,
    sweep: int,
    size: Sequence[int],
    *,
    dtype: torch.dtype | None = None,
    device: torch.device | str | None = None,
) -> Tensor:
    """Numbers from 0 on and below 1, one for each node and feature in a sweep.

    The number of a node follows from (seed, sweep, node, feature) alone: a schedule may ask for it in any
    order, and a chain that is cut goes on as if it had not been.

    Args:
        seed: of the chain.
        sweep: the number of the sweep, from 0.
        size: `[num_nodes, ...]`.
        dtype: float32 or float64; by default PyTorch's default type.
        device: where.

    >>> u = uniforms(0, 7, (3, 1000))
    >>> bool(((u >= 0) & (u < 1)).all()), torch.equal(u[1:], uniforms(0, 7, (3, 1000))[1:])
    (True, True)
    """
    if not size or any(n < 0 for n in size):
        raise ValueError(f"size is {tuple(size)}, but must be (num_nodes, ...).")
    dtype = dtype or torch.get_default_dtype()
    if dtype not in (torch.float32, torch.float64):
        raise TypeError(f"dtype is {dtype}, but must be torch.float32 or torch.float64.")
    first, second, third = mix(seed & MASK), mix(sweep & MASK), mix((seed >> 32) & MASK)
    key = mix(first ^ ((second * 0x9E3779B1) & MASK) ^ ((third * 0x85EBCA77) & MASK))
    made = drawn(key, size, dtype, device)
    if made is not None:
        return made
    node = torch.arange(size[0], device=device).view(-1, 1)
    lane = torch.arange(prod(size[1:]), device=device)
    by_node = mix(((node * 0x9E3779B1) & MASK) ^ key)
    high = mix(by_node ^ mix((lane * 0x85EBCA77 + 1) & MASK))
    if dtype == torch.float32:
        return ((high >> 8).to(dtype) * 2.0**-24).view(*size)
    low = mix(high ^ 0x68E31DA4)
    return (((high >> 5) * 2**26 + (low >> 6)).to(dtype) * 2.0**-53).view(*size)
