"""The interface of language models: tokens and a state in, logits of the next tokens and a state out."""

from __future__ import annotations

from abc import abstractmethod
from typing import Any

import torch
from torch import Tensor, nn


class LanguageModel(nn.Module):
    """A model that predicts the next token from the tokens before it.

    Called as `logits, state = model(tokens, state)`: int64 `[batch, length]` in,
    `[batch, length, num_tokens]` out. The state is the memory of earlier tokens; a model without
    memory takes and returns None, and reads at most `context` tokens.
    """

    num_tokens: int
    context: int | None = None  # None: any number of tokens
    remembers: bool  # whether the model has a state

    @abstractmethod
    def forward(self, tokens: Tensor, state: Any = None) -> tuple[Tensor, Any]: ...

    @torch.no_grad()
    def continued(
        self, tokens: Tensor, length: int, temperature: float = 1.0, generator: torch.Generator | None = None
    ) -> Tensor:
        """Draw the tokens that follow, one by one.

        Args:
            tokens: int64 `[batch, length]`, at least one in each row.
            length: how many to draw.
            temperature: the divisor of the logits; below 1, likely tokens become more likely.
            generator: of the random numbers; without it, torch's default generator.

        Returns:
            int64 `[batch, length]`, the drawn tokens.
        """
        if tokens.dim() != 2 or tokens.size(1) == 0:
            raise ValueError(f"tokens is {list(tokens.shape)}, but should be [batch, length], not empty")
        if not temperature > 0:
            raise ValueError(f"temperature is {temperature}, but should be above 0")
        given, state = tokens, None
        drawn = []
        for _ in range(length):
            if self.context is not None:
                given = given[:, -self.context :]
            logits, state = self(given, state)
            chances = (logits[:, -1] / temperature).softmax(dim=-1)
            token = torch.multinomial(chances, 1, generator=generator)
            drawn.append(token)
            given = token if self.remembers else torch.cat([given, token], dim=1)
        return torch.cat(drawn, dim=1) if drawn else tokens[:, :0]
