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


def checked_lengths(name: str, tokens: Tensor, num_words: int, pad: int) -> Tensor:
    """How many words each sentence has, `[batch]`.

    Raises:
        TypeError, ValueError: these are no sentences; the message names the first that is none.
    """
    if tokens.dim() != 2 or 0 in tokens.shape:
        raise ValueError(f"{name} is {list(tokens.shape)}, but should be [batch, length], not empty.")
    check_ids(name, tokens, num_words)
    is_word = tokens != pad
    lengths = is_word.sum(1)
    if not is_program():
        empty = lengths == 0
        if bool(empty.any()):
            raise ValueError(f"{name}[{int(empty.nonzero()[0])}] is all padding, but a sentence has a word.")
        broken = (is_word != (torch.arange(tokens.size(1), device=tokens.device) < lengths[:, None])).any(1)
        if bool(broken.any()):
            raise ValueError(
                f"{name}[{int(broken.nonzero()[0])}] has words behind padding, which must be at its end."
            )
    return lengths


def is_program() -> bool:
    """Whether a program is made of what is called, which has no numbers to look at yet."""
    return torch.compiler.is_compiling() or tracing_state() is not None
