"""Layers of neurons on images: the multilayer perceptron."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

from torch import Tensor, nn

from mpnn.models import Linear
from mpnn.models.parts.activation import activation as module_of


class LayersOfNeurons(nn.Module):
    """Every neuron has an edge to all of the next layer (Rumelhart, Hinton and Williams, 1986).

    Args:
        widths: the number of pixels, over all channels, of hidden neurons, and of outputs.
        activation: of the hidden neurons.
        dropout: the probability that a hidden neuron is left out in a step (Srivastava et al., 2014).

    Shapes: x `[batch, channels, height, width]` -> `[batch, widths[-1]]`.
    """

    def __init__(self, widths: Sequence[int], activation: str, dropout: float) -> None:
        super().__init__()
        parts: list[nn.Module] = [nn.Flatten()]
        for source, target in pairwise(widths[:-1]):
            parts += [Linear(source, target), module_of(activation), nn.Dropout(dropout)]
        self.hidden = nn.Sequential(*parts)
        self.classify = Linear(widths[-2], widths[-1])

    def embed(self, x: Tensor) -> Tensor:
        """The last hidden layer, `[batch, widths[-2]]`."""
        states: Tensor = self.hidden(x)
        return states

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.classify(self.embed(x))
        return out
