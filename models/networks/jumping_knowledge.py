"""Jumping knowledge: read a node's state after every layer, not after the last alone."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from mpnn.layer.names import also_named
from mpnn.models.parts.checks import at_least, ranges

MODES = ("last", "cat", "max", "lstm")


@ranges(channels=at_least(1), num_layers=at_least(1))
class JumpingKnowledge(nn.Module):
    """One state of a node from its states after every layer (Xu et al., 2018, section 4).

    Args:
        mode: "last", "cat" (side by side), "max" (per channel), or "lstm" (a mean weighted by attention
            scores that a bidirectional LSTM over the layers gives).
        channels: width of the states; only "lstm" must know it, and `out_channels` follows from it.
        num_layers: how many states there are; likewise.

    Shapes: num_layers times `[num_nodes, channels]` -> `[num_nodes, out_channels]`.

    Raises:
        ValueError: an unknown mode, or "lstm" without the width and the number of states.

    >>> JumpingKnowledge("cat", channels=4, num_layers=2).out_channels
    8
    """

    def __init__(self, mode: str, channels: int | None = None, num_layers: int | None = None) -> None:
        super().__init__()
        if not isinstance(mode, str) or mode.lower() not in MODES:
            raise ValueError(f"jk is {mode!r}, but must be None or one of {', '.join(MODES)}.")
        self.mode = mode = mode.lower()
        if mode == "lstm" and (channels is None or num_layers is None):
            raise ValueError(
                f"JumpingKnowledge('lstm') needs channels and num_layers, got {channels} and {num_layers}."
            )
        self.channels, self.num_layers = channels, num_layers
        if mode == "lstm":
            assert channels is not None and num_layers is not None
            half = num_layers * channels // 2
            self.lstm = nn.LSTM(channels, half, bidirectional=True, batch_first=True)
            self.att = nn.Linear(2 * half, 1)
        self.reset_parameters()

    @property
    def out_channels(self) -> int:
        """The width of what is read.

        Raises:
            ValueError: the layer was not told the width of the states, or their number.
        """
        if self.channels is None or (self.mode == "cat" and self.num_layers is None):
            raise ValueError(f"JumpingKnowledge({self.mode!r}) was built without channels and num_layers.")
        return self.channels * (self.num_layers or 1) if self.mode == "cat" else self.channels

    def reset_parameters(self) -> None:
        """Draw the parameters anew; only "lstm" has any."""
        for child in (self.lstm, self.att) if self.mode == "lstm" else ():
            child.reset_parameters()

    @also_named(xs="states")
    def forward(self, states: Sequence[Tensor]) -> Tensor:
        if self.mode == "last":
            return states[-1]
        if self.mode == "cat":
            return torch.cat(list(states), dim=-1)
        stacked = torch.stack(list(states), dim=1)  # [num_nodes, num_layers, channels]
        if self.mode == "max":
            return stacked.max(dim=1).values  # of equal ones the first has the gradient, as in PyG
        if stacked.size(0) == 0:  # cuDNN and the CPU's LSTM both refuse an empty batch
            return stacked.sum(dim=1)
        weight: Tensor = self.att(self.lstm(stacked)[0]).softmax(dim=1)
        return (weight * stacked).sum(dim=1)

    def extra_repr(self) -> str:
        return repr(self.mode)
