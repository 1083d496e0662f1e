"""Which token comes next: drawn from all, or from the likeliest alone."""

from __future__ import annotations

import torch
from torch import Tensor

from mpnn.models.parts.checks import check_count, check_number


def drawn(
    logits: Tensor,
    temperature: float = 1.0,
    top_k: int | None = None,
    top_p: float | None = None,
    generator: torch.Generator | None = None,
) -> Tensor:
    """A token for each row, `[batch, num_tokens]` -> int64 `[batch, 1]`."""
    chances = kept(logits / temperature, top_k, top_p).softmax(dim=-1)
    return torch.multinomial(chances, 1, generator=generator)


def kept(logits: Tensor, top_k: int | None = None, top_p: float | None = None) -> Tensor:
    """The logits, -inf for tokens that are not drawn.

    Args:
        logits: `[batch, num_tokens]`.
        top_k: how many of the likeliest are kept (Fan et al., 2018).
        top_p: of those the fewest whose chances add up to this number (Holtzman et al., 2020).

    >>> kept(torch.tensor([[0.0, 2.0, 1.0]]), top_k=2)
    tensor([[-inf, 2., 1.]])
    """
    if top_k is not None and top_k < logits.size(-1):
        least = logits.topk(top_k).values[..., -1:]
        logits = logits.masked_fill(logits < least, -torch.inf)
    if top_p is not None and top_p < 1:
        values, tokens = logits.sort(descending=True)
        chances = values.softmax(dim=-1)
        before = chances.cumsum(dim=-1) - chances  # of the tokens that are likelier
        is_kept = torch.empty_like(tokens, dtype=torch.bool).scatter(-1, tokens, before < top_p)
        logits = logits.masked_fill(~is_kept, -torch.inf)
    return logits


def check_sampling(temperature: float, top_k: int | None, top_p: float | None) -> None:
    """Refuse numbers that no token can be drawn with.

    Raises:
        TypeError, ValueError: the message names the argument.
    """
    check_number("temperature", temperature)
    if not temperature > 0:
        raise ValueError(f"temperature is {temperature}, but should be above 0")
    if top_k is not None:
        check_count("top_k", top_k, 1)
    if top_p is not None:
        check_number("top_p", top_p)
        if not 0 < top_p <= 1:
            raise ValueError(f"top_p is {top_p}, but should be above 0 and at most 1")
