"""The interface of language models: tokens and a state in, logits of the next tokens and a state out."""

from __future__ import annotations

from abc import abstractmethod
from typing import Any

import torch
from torch import Tensor, nn

from mpnn.models.networks.sampling import check_sampling, drawn


class LanguageModel(nn.Module):
    """A model that predicts the next token from the tokens before it.

    Called as `logits, state = model(tokens, state)`: int64 `[batch, length]` in,
    `[batch, length, num_tokens]` out. The state is the memory of earlier tokens; a model without
    memory takes and returns None, unless it is given one that `beginning` made, and reads at most
    `context` tokens.
    """

    num_tokens: int
    context: int | None = None  # None: any number of tokens
    remembers: bool  # whether the model has a state

    @abstractmethod
    def forward(self, tokens: Tensor, state: Any = None) -> tuple[Tensor, Any]: ...

    def beginning(self) -> Any:
        """The state before the first token; with it, each call reads what is new and nothing again."""
        return None

    @torch.no_grad()
    def continued(
        self,
        tokens: Tensor,
        length: int,
        temperature: float = 1.0,
        generator: torch.Generator | None = None,
        *,
        top_k: int | None = None,
        top_p: float | None = None,
    ) -> Tensor:
        """Draw the tokens that follow, one by one, each step reading the token before.

        Beyond its `context` a model reads as many tokens anew in every step, whose places have changed.

        Args:
            tokens: int64 `[batch, length]`, at least one in each row.
            length: how many to draw.
            temperature: the divisor of the logits; below 1, likely tokens become more likely.
            generator: of the random numbers; without it, torch's default generator.
            top_k: from how many of the likeliest tokens one is drawn; by default from all.
            top_p: from the fewest whose chances add up to this number one is drawn; by default from all.

        Returns:
            int64 `[batch, length]`, the drawn tokens.

        Raises:
            ValueError: no token to begin with; a number that is out of its range.
        """
        if tokens.dim() != 2 or tokens.size(1) == 0:
            raise ValueError(f"tokens is {list(tokens.shape)}, but should be [batch, length], not empty")
        check_sampling(temperature, top_k, top_p)
        most = self.context
        text, state = tokens, self.beginning()
        given = text if most is None else text[:, -most:]
        for _ in range(length):
            logits, state = self(given, state)
            token = drawn(logits[:, -1], temperature, top_k, top_p, generator)
            text = torch.cat([text, token], dim=1)
            given = token
            if most is not None and text.size(1) > most:
                given, state = text[:, -most:], self.beginning()
        return text[:, tokens.size(1) :]
