"""Memories of pictures: networks whose states end in what they remember."""

from __future__ import annotations

import torch
from torch import Tensor

from mpnn.models import HopfieldNetwork, ModernHopfieldNetwork
from mpnn.train.learners.learner import CodeLearner

SHARP = 8.0  # β of the modern network times the number of pixels
MOST_SWEEPS = 100


class Memory(CodeLearner):
    """A Hopfield network of pixels, each 1 or -1.

    Args:
        size: height and width of a picture.
        rule: "hebb" or "pseudo-inverse", of the network of 1982; or "attention", that of 2020.
        patterns: how many pictures it will remember.

    Shapes: x `[batch, channels, height, width]`, between 0 and 1 -> recalled `[batch, height * width]`.
    """

    learns_whole = True

    def __init__(self, size: tuple[int, int], rule: str, patterns: int) -> None:
        super().__init__()
        number = size[0] * size[1]
        self.rule = rule
        self.network: HopfieldNetwork | ModernHopfieldNetwork
        if rule == "attention":
            self.network = ModernHopfieldNetwork(scaling=SHARP / number**0.5)
            self.network.patterns = torch.zeros(patterns, number)  # a loaded one has as many
        else:
            self.network = HopfieldNetwork(number)

    def learn(self, x: Tensor, y: Tensor) -> Tensor:
        """Remember all pictures; the loss is the share of pixels that do not stay as they are."""
        states = spins(x)
        self.remember(states)
        return (self.recalled(states) != states).to(x.dtype).mean()

    def remember(self, states: Tensor) -> None:
        """Take states `[patterns, num_pixels]` for what is to be recalled."""
        if isinstance(self.network, ModernHopfieldNetwork):
            self.network.fit(states)
        else:
            self.network.fit(states, "hebb" if self.rule == "hebb" else "pseudo-inverse")

    @torch.no_grad()
    def recalled(self, states: Tensor) -> Tensor:
        """Where states `[batch, num_pixels]` end, entries ±1."""
        if isinstance(self.network, ModernHopfieldNetwork):
            found = self.network.predict(states).state
            return torch.where(found < 0, -1.0, 1.0).to(states.dtype)
        ended: Tensor = self.network.predict(states.T.contiguous(), steps=MOST_SWEEPS).state
        return ended.T

    def scores(self, x: Tensor) -> dict[str, float]:
        """The overlap of pictures with what is recalled from them: 1 if all pixels stay, 0 by chance."""
        states = spins(x)
        overlap = float((self.recalled(states) * states).mean())
        return {"loss": (1 - overlap) / 2, "overlap": overlap}

    def reconstructed(self, x: Tensor) -> Tensor:
        """What is recalled, as pixels of 0 and 1, `[batch, 1, height, width]`."""
        return (self.recalled(spins(x)) + 1).view(len(x), 1, *x.shape[-2:]) / 2

    def forward(self, x: Tensor) -> Tensor:
        return self.recalled(spins(x))


def spins(x: Tensor) -> Tensor:
    """1 for each pixel that is lighter than the middle of its picture, else -1; `[batch, height * width]`."""
    grey = x.mean(1).flatten(1)
    middle = (grey.amin(1, keepdim=True) + grey.amax(1, keepdim=True)) / 2
    return torch.where(grey > middle, 1.0, -1.0).to(x.dtype)
