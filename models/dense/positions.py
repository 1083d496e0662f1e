"""Positions as waves: those of a Transformer's sequence, and PyG's of any numbers."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor, nn

from mpnn.layer.names import deprecated, formerly
from mpnn.models.parts.checks import at_least, check_number, check_probability, positive, ranges

Device = torch.device | str | None
LOWEST = 1e-4


@ranges(d_model=at_least(1), dropout=check_probability)
class SinusoidalPositions(nn.Module):
    """x_t + (sin ω_0 t, cos ω_0 t, sin ω_1 t, ...) with ω_k = 10000^(-2k / d)  (Vaswani et al., 2017, 3.5).

    Args:
        d_model: the width.
        dropout: how much of the sum is dropped.
        batch_first: whether the batch is the first dimension, or the second.

    Shapes: x `[batch, length, d_model]`, `[length, batch, d_model]`, or `[length, d_model]`.

    >>> SinusoidalPositions(4)(torch.zeros(2, 4))
    tensor([[0.0000, 1.0000, 0.0000, 1.0000],
            [0.8415, 0.5403, 0.0100, 0.9999]])
    """

    def __init__(self, d_model: int, dropout: float = 0.0, batch_first: bool = False) -> None:
        super().__init__()
        if d_model < 1:
            raise ValueError(f"d_model is {d_model}, but must be at least 1.")
        self.d_model, self.batch_first = d_model, batch_first
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor) -> Tensor:
        if x.dim() not in (2, 3) or x.size(-1) != self.d_model:
            raise ValueError(
                f"x has shape {list(x.shape)}, but must end with a length and d_model = {self.d_model}."
            )
        by_batch = x.dim() == 3 and not self.batch_first
        waves = sinusoids(x.size(0 if by_batch else -2), self.d_model, x.device).to(x.dtype)
        out: Tensor = self.dropout(x + (waves[:, None] if by_batch else waves))
        return out

    def extra_repr(self) -> str:
        return f"{self.d_model}, batch_first={self.batch_first}"


@formerly(d_model="out_channels")
@ranges(out_channels=at_least(1), base_freq=positive)
class PositionalEncoding(nn.Module):
    """(sin ω_0 t, sin ω_1 t, ..., cos ω_0 t, cos ω_1 t, ...) with ω_k from 1 down to a lowest frequency.

    With PyG's name, arguments and buffer; see Vaswani et al., 2017, 3.5. `SinusoidalPositions` adds waves to
    the words of a sequence.

    Args:
        out_channels: the width, an even number.
        base_freq: the lowest frequency.
        granularity: a position is divided by it first.
        device: where the frequencies are.
        dropout, batch_first: of version 0.1.0, where this was `SinusoidalPositions`.

    Shapes: positions t `[num_positions]` -> `[num_positions, out_channels]`.

    >>> PositionalEncoding(4)(torch.tensor([0.0, 1.0]))
    tensor([[0.0000e+00, 0.0000e+00, 1.0000e+00, 1.0000e+00],
            [8.4147e-01, 1.0000e-04, 5.4030e-01, 1.0000e+00]])
    """

    frequency: Tensor

    def __init__(
        self,
        out_channels: int,
        base_freq: float = LOWEST,
        granularity: float = 1.0,
        device: Device = None,
        *,
        dropout: float | None = None,
        batch_first: bool | None = None,
    ) -> None:
        super().__init__()
        if dropout is None:  # by place it was the second argument, and batch_first the third
            dropout = 0.0 if base_freq == LOWEST else base_freq
        if batch_first is None:
            batch_first = granularity is True
        check_number("dropout", dropout)
        check_number("granularity", 1.0 if isinstance(granularity, bool) else granularity)
        if granularity == 0:
            raise ValueError("granularity is 0, but must be another number: positions are divided by it.")
        self._before = SinusoidalPositions(out_channels, dropout, batch_first) if 0 <= dropout <= 1 else None
        self.out_channels, self.base_freq, self.granularity = out_channels, base_freq, granularity
        self.register_buffer("frequency", torch.logspace(0, 1, out_channels // 2, base_freq, device=device))

    def reset_parameters(self) -> None:
        """Do nothing: there are none."""

    def forward(self, x: Tensor) -> Tensor:
        if self._before is not None and x.dim() in (2, 3) and x.size(-1) == self.out_channels:
            deprecated("PositionalEncoding(x) is PyG's now: to add waves to x write SinusoidalPositions", 4)
            added: Tensor = self._before(x)
            return added
        if self.out_channels % 2:
            raise ValueError(f"out_channels is {self.out_channels}, but must be even: sines and cosines.")
        angle = (x / self.granularity).view(-1, 1) * self.frequency.view(1, -1)
        return torch.cat([angle.sin(), angle.cos()], dim=-1)

    def _load_from_state_dict(self, state_dict: dict[str, Any], prefix: str, *args: Any) -> None:
        state_dict.setdefault(prefix + "frequency", self.frequency)  # version 0.1.0 had no buffer
        super()._load_from_state_dict(state_dict, prefix, *args)

    def extra_repr(self) -> str:
        return f"{self.out_channels}"


def sinusoids(length: int, width: int, device: Device = None) -> Tensor:
    """`[length, width]`: sines in the even columns, cosines in the odd ones."""
    position = torch.arange(length, device=device, dtype=torch.float64)[:, None]
    frequency = torch.exp(torch.arange(0, width, 2, device=device) * (-math.log(10000.0) / width))
    angle = position * frequency
    return torch.stack([angle.sin(), angle.cos()], -1).flatten(1)[:, :width].to(torch.get_default_dtype())
