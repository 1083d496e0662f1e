"""Dropout inside a message, by counter: the mask follows from (seed, edge, lane) and is never stored.

The backward pass computes the same mask again, over edges that enter a node or leave it, on any number of
threads. The seed of a call is drawn from PyTorch's generator, which `torch.manual_seed` sets.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from math import prod
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from mpnn.borrowed import TorchFunctionMode
from mpnn.step.draws import MASK, mix

Seed = int | Tensor  # a tensor of one whole number if the device draws it, which keeps it
_drawn: ContextVar[tuple[Seed, Tensor | None]] = ContextVar("mpnn_dropout")


@contextmanager
def seeded(seed: Seed, edges: Tensor | None = None) -> Iterator[None]:
    """Compute the masks of one call of a plan in plain PyTorch, on all edges or on some."""
    token = _drawn.set((seed, edges))
    try:
        yield
    finally:
        _drawn.reset(token)


def draw_seed(device: torch.device) -> Seed:
    """A new seed from PyTorch's generator of a device.

    On a GPU the seed stays there: the host does not wait, and each replay of a CUDA graph draws another.
    """
    drawn = torch.randint(2**31, (), device=device)
    return int(drawn.item()) if device.type == "cpu" else drawn


@torch.library.custom_op("mpnn::kept", mutates_args=())
def kept(like: Tensor, p: float, stream: int) -> Tensor:
    """What dropout multiplies `like [num_edges, ...]` with: 0 with probability p, else 1 / (1 - p)."""
    seed, edges = _drawn.get()
    num_edges, lanes = like.shape[0], prod(like.shape[1:])
    edge = (torch.arange(num_edges, device=like.device) if edges is None else edges).reshape(-1, 1)
    lane = torch.arange(lanes, device=like.device)
    by_edge = mix(((edge * 0x9E3779B1) & MASK) ^ ((seed + stream) & MASK))
    drawn = mix(by_edge ^ ((lane * 0x85EBCA77) & MASK))
    scale = 0.0 if p >= 1 else 1 / (1 - p)
    return ((drawn >= threshold(p)).to(like.dtype) * scale).reshape(like.shape)


@kept.register_fake
def _(like: Tensor, p: float, stream: int) -> Tensor:
    return torch.empty_like(like)


def _no_gradient(context: Any, gradient: Tensor) -> tuple[None, None, None]:
    return None, None, None


kept.register_autograd(_no_gradient)


def threshold(p: float) -> int:
    """Of the 2^32 numbers that can be drawn, those below the threshold mean that an entry is dropped."""
    return min(int(p * 2**32), 2**32)


class CountedDropout(TorchFunctionMode):
    """While a message is traced, `kept` takes the place of PyTorch's dropout."""

    def __init__(self) -> None:
        super().__init__()
        self._streams = 0

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        """Replace PyTorch's dropout, of single numbers and of whole channels; call anything else."""
        kwargs = kwargs or {}
        if func not in (F.dropout, torch.dropout, *CHANNELS):
            return func(*args, **kwargs)
        x, p, training, inplace = _arguments(*args, **kwargs)
        alone = CHANNELS.get(func, x.dim()) - x.dim()  # 1 if the rows of x are its channels
        if alone not in (0, 1):
            return func(*args, **kwargs)
        if not training or p == 0:
            return x
        self._streams += 1
        like = x.detach()
        if func in CHANNELS:  # one draw for all entries of a channel
            for dim in range(2 - alone, x.dim()):
                like = like.narrow(dim, 0, 1)
        mask = kept(like, p, self._streams * 0x68E31DA4 & 0x7FFFFFFF)
        return x.mul_(mask) if inplace else x * mask


# The rank of an input `[rows, channels, ...]`, for functions that drop whole channels.
CHANNELS: dict[Callable[..., Any], int] = {F.dropout1d: 3, F.dropout2d: 4, F.dropout3d: 5}


def _arguments(
    input: Tensor, p: float = 0.5, training: bool = True, inplace: bool = False, train: bool | None = None
) -> tuple[Tensor, float, bool, bool]:
    return input, p, training if train is None else train, inplace
