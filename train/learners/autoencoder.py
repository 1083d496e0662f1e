"""Autoencoders on images: codes from which the images can be made again."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from mpnn.models import Autoencoder, VariationalAutoencoder
from mpnn.train.learners.learner import CodeLearner
from mpnn.train.learners.rbm import error_of


class AutoencoderLearner(CodeLearner):
    """The narrowest layer in the middle is the code (Hinton and Salakhutdinov, 2006).

    Args:
        widths: the number of pixels, over all channels, those of the hidden layers, and that of the code.
        activation: of the hidden layers.
        corruption: the share of pixels that are masked in training.

    Shapes: x `[batch, channels, height, width]`, between 0 and 1 -> `[batch, widths[-1]]`.
    """

    def __init__(self, widths: list[int], activation: str, corruption: float) -> None:
        super().__init__()
        self.network = Autoencoder(widths, activation, corruption=corruption)

    def learn(self, x: Tensor, y: Tensor) -> Tensor:
        """The loss is the binary cross-entropy of an image's pixels."""
        pixels = x.flatten(1)
        return _cross_entropy(self.network(pixels), pixels)

    @torch.no_grad()
    def scores(self, x: Tensor) -> dict[str, float]:
        """The cross-entropy and the squared error per image."""
        pixels = x.flatten(1)
        logits = self.network(pixels)
        error = (logits.sigmoid() - pixels).square().sum(1).mean()
        return {"loss": float(_cross_entropy(logits, pixels)), "error": float(error)}

    @torch.no_grad()
    def reconstructed(self, x: Tensor) -> Tensor:
        """What the code of an image stands for."""
        logits: Tensor = self.network(x.flatten(1))
        return logits.sigmoid().view_as(x)

    def forward(self, x: Tensor) -> Tensor:
        return self.network.encode(x.flatten(1))


class VAELearner(CodeLearner):
    """An image has a distribution of codes; their prior is normal (Kingma and Welling, 2014).

    Args:
        num_pixels: of an image, over all channels.
        hidden: widths of the hidden layers.
        num_codes: width of the code.
        activation: of the hidden layers.

    Shapes: x `[batch, channels, height, width]`, between 0 and 1 -> the mean code, `[batch, num_codes]`.
    """

    def __init__(self, num_pixels: int, hidden: list[int], num_codes: int, activation: str) -> None:
        super().__init__()
        self.network = VariationalAutoencoder(num_pixels, hidden, num_codes, activation=activation)

    def learn(self, x: Tensor, y: Tensor) -> Tensor:
        """The loss is less the bound of log p(x), in nats."""
        return -self.network.elbo(x.flatten(1)).mean()

    @torch.no_grad()
    def scores(self, x: Tensor) -> dict[str, float]:
        """The bound of log p(x) in nats, from the same draws each time; and the squared error per image."""
        with torch.random.fork_rng(devices=[x.device] if x.device.type == "cuda" else []):
            torch.manual_seed(0)
            bound = float(self.network.elbo(x.flatten(1)).mean())
        return {"loss": -bound, "bound": bound, "error": error_of(x, self.reconstructed(x))}

    @torch.no_grad()
    def reconstructed(self, x: Tensor) -> Tensor:
        """What the mean code of an image stands for."""
        return self.network.decode(self(x)).view_as(x)

    @torch.no_grad()
    def sampled(self, number: int) -> Tensor:
        """What draws of the prior stand for."""
        return self.network.sample(number)

    def forward(self, x: Tensor) -> Tensor:
        return self.network.encode(x.flatten(1))[0]


def _cross_entropy(logits: Tensor, pixels: Tensor) -> Tensor:
    """Per image."""
    return F.binary_cross_entropy_with_logits(logits, pixels, reduction="sum") / len(pixels)
