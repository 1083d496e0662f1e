"""Jumping knowledge: read a node's state after every layer, not after the last alone."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from mpnn.models.parts.checks import at_least, ranges

MODES = ("last", "cat", "max", "lstm")


@ranges(channels=at_least(1), num_layers=at_least(1))
class JumpingKnowledge(nn.Module):
    """One state of a node from its states after every layer (Xu et al., 2018, section 4).

    Args:
        mode: "last", "cat" (side by side), "max" (per channel), or "lstm" (a mean weighted by attention
            scores that a bidirectional LSTM over the layers gives).
        channels: width of the states.
        num_layers: how many states there are.

    Shapes: num_layers times `[num_nodes, channels]` -> `[num_nodes, out_channels]`.

    >>> JumpingKnowledge("cat", channels=4, num_layers=2).out_channels
    8
    """

    def __init__(self, mode: str, channels: int, num_layers: int) -> None:
        super().__init__()
        if mode not in MODES:
            raise ValueError(f"jk is {mode!r}, but must be None or one of {', '.join(MODES)}.")
        self.mode = mode
        self.out_channels = num_layers * channels if mode == "cat" else channels
        if mode == "lstm":
            half = num_layers * channels // 2
            self.lstm = nn.LSTM(channels, half, bidirectional=True, batch_first=True)
            self.att = nn.Linear(2 * half, 1)

    def reset_parameters(self) -> None:
        """Draw the parameters anew; only "lstm" has any."""
        for child in (self.lstm, self.att) if self.mode == "lstm" else ():
            child.reset_parameters()

    def forward(self, states: Sequence[Tensor]) -> Tensor:
        if self.mode == "last":
            return states[-1]
        if self.mode == "cat":
            return torch.cat(list(states), dim=-1)
        stacked = torch.stack(list(states), dim=1)  # [num_nodes, num_layers, channels]
        if self.mode == "max":
            return stacked.amax(dim=1)
        if stacked.size(0) == 0:  # cuDNN and the CPU's LSTM both refuse an empty batch
            return stacked.sum(dim=1)
        weight: Tensor = self.att(self.lstm(stacked)[0]).softmax(dim=1)
        return (weight * stacked).sum(dim=1)

    def extra_repr(self) -> str:
        return repr(self.mode)
