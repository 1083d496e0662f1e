"""The perceptron on images, one neuron against all others for each class."""

from __future__ import annotations

import torch
from torch import Tensor

from mpnn.models import Perceptron
from mpnn.train.learners.learner import Learner


class PerceptronLearner(Learner):
    """It learns from mistakes, one image after the other, in a new order each epoch (Rosenblatt, 1958).

    Args:
        num_pixels: of an image, over all channels.
        num_classes: how many neurons there are.

    Shapes: x `[batch, channels, height, width]` -> what each neuron sums up, `[batch, num_classes]`.
    """

    learns_whole = True

    def __init__(self, num_pixels: int, num_classes: int) -> None:
        super().__init__()
        self.neurons = Perceptron(num_pixels, num_classes)

    def learn(self, x: Tensor, y: Tensor) -> Tensor:
        """The loss is the mean number of mistakes on an image."""
        own = y[:, None] == torch.arange(self.neurons.out_features, device=y.device)
        self.neurons.fit(x.flatten(1), torch.where(own, 1.0, -1.0), epochs=1)
        return self.neurons.mistakes.sum().to(x) / len(x)

    def forward(self, x: Tensor) -> Tensor:
        return self.neurons.decision(x.flatten(1))
