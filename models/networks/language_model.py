"""What language models have in common: tokens and a state in, logits of the next tokens and a state out."""

from __future__ import annotations

from abc import abstractmethod
from typing import Any

import torch
from torch import Tensor, nn


class LanguageModel(nn.Module):
    """Tells the next token from those before it.

    Called as `logits, state = model(tokens, state)`: int64 `[batch, length]` in,
    `[batch, length, num_tokens]` out. The state is what the model remembers of the tokens before; a model
    that remembers nothing takes and returns None, and sees at most `context` tokens.
    """

    num_tokens: int
    context: int | None = None  # None: as many as there are
    remembers: bool  # whether there is a state

    @abstractmethod
    def forward(self, tokens: Tensor, state: Any = None) -> tuple[Tensor, Any]: ...

    @torch.no_grad()
    def continued(
        self, tokens: Tensor, length: int, temperature: float = 1.0, generator: torch.Generator | None = None
    ) -> Tensor:
        """Draw what follows, token by token.

        Args:
            tokens: int64 `[batch, length]`, at least one in each row.
            length: how many to draw.
            temperature: what logits are divided by: below 1 the likely tokens become likelier.
            generator: of the random numbers, torch's own without one.

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
