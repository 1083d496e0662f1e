"""A network that says itself how it learns: by a rule of its own, in stages, or from itself alone."""

from __future__ import annotations

from abc import ABC, abstractmethod

from torch import Tensor, nn


class Learner(nn.Module, ABC):
    """What the training loop and the tasks on images ask of such a network.

    Attributes:
        learns_whole: whether a step needs all images to train on, in place of a batch of them.
    """

    learns_whole = False

    def begin(self, epoch: int) -> None:
        """Be told which epoch begins, from 0: stages, and numbers that fall, follow from it."""

    @abstractmethod
    def learn(self, x: Tensor, y: Tensor) -> Tensor:
        """Learn from some images.

        Args:
            x: `[batch, channels, height, width]`.
            y: their answers.

        Returns:
            The loss, a scalar. Without a gradient, the network has changed its weights by a rule of its own,
            or has put into their `.grad` what the optimiser is to follow.
        """


class CodeLearner(Learner):
    """One that learns from images alone: what it says of an image is a code."""

    @abstractmethod
    def scores(self, x: Tensor) -> dict[str, float]:
        """How well it does on some images: means over them, by the name of a metric, and `loss`."""

    @abstractmethod
    def reconstructed(self, x: Tensor) -> Tensor:
        """What it makes of images from their codes, in the form of x."""

    def sampled(self, number: int) -> Tensor | None:
        """New images, `[number, pixels]`; None if it cannot make any."""
        return None

    def prototypes(self) -> Tensor | None:
        """What each unit looks for, `[num_units, pixels]`; None if that cannot be seen."""
        return None
