"""Numbers of words, positions and types, checked before an embedding reads them."""

from __future__ import annotations

import torch
from torch import Tensor

from mpnn.borrowed import tracing_state


def check_ids(name: str, ids: Tensor, count: int, least: int = 0) -> None:
    """Require int64 or int32 from `least` to `count - 1`; while a program is made of a model, the type alone.

    Raises:
        TypeError: another type.
        ValueError: a number outside; the message names the first.

    >>> check_ids("input_ids", torch.tensor([[1, 7]]), 5)
    Traceback (most recent call last):
    ValueError: input_ids[0, 1] is 7, but must be from 0 to 4.
    """
    if ids.dtype not in (torch.int64, torch.int32):
        raise TypeError(f"{name} must be int64 or int32, got {ids.dtype}.")
    if is_program():
        return
    outside = (ids < least) | (ids >= count)
    if bool(outside.any()):
        place = tuple(outside.nonzero()[0].tolist())
        raise ValueError(
            f"{name}{list(place)} is {int(ids[place])}, but must be from {least} to {count - 1}."
        )


def is_program() -> bool:
    """Whether a program is made of what is called, which has no numbers to look at yet."""
    return torch.compiler.is_compiling() or tracing_state() is not None
