"""A network defined once trains to the same losses by its kernels and edge by edge."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import mpnn
from mpnn import models
from tests.compare import assert_close

STEPS = 20


class LeNet(nn.Sequential):
    """LeNet-5 (LeCun et al., 1998) for images of 12 x 12, a third of its width."""

    def __init__(self) -> None:
        super().__init__(
            models.Conv2d(1, 2, 5, padding=2),
            nn.Tanh(),
            models.AvgPool2d(2),
            models.Conv2d(2, 5, 3),
            nn.Tanh(),
            models.MaxPool2d(2),
            nn.Flatten(),
            models.Linear(20, 12),
            nn.Tanh(),
            models.Linear(12, 4),
        )


class CharacterLSTM(nn.Module):
    """Next characters from a stack of two LSTMs."""

    def __init__(self) -> None:
        super().__init__()
        self.embed, self.read = nn.Embedding(9, 6), models.LSTM(6, 8, num_layers=2, batch_first=True)
        self.say = models.Linear(8, 9)

    def forward(self, text: Tensor) -> Tensor:
        out: Tensor = self.say(self.read(self.embed(text))[0])
        return out.flatten(0, 1)


class LanguageModel(nn.Module):
    """A causal Transformer."""

    def __init__(self) -> None:
        super().__init__()
        self.embed, self.place = nn.Embedding(9, 8), models.PositionalEncoding(8, batch_first=True)
        layer = models.TransformerEncoderLayer(8, 2, 16, dropout=0.0, batch_first=True, norm_first=True)
        self.layers, self.say = models.TransformerEncoder(layer, 2), models.Linear(8, 9)

    def forward(self, text: Tensor) -> Tensor:
        out: Tensor = self.say(self.layers(self.place(self.embed(text)), is_causal=True))
        return out.flatten(0, 1)


def losses(build: Callable[[], nn.Module], inputs: Tensor, targets: Tensor, backend: str) -> Tensor:
    torch.manual_seed(3)
    model = build().double()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.3)
    found = []
    with mpnn.backend(backend):
        for _ in range(STEPS):
            loss = F.cross_entropy(model(inputs), targets)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            found.append(loss.detach())
    return torch.stack(found)


@pytest.mark.parametrize("build", [LeNet, CharacterLSTM, LanguageModel])
def test_losses_are_equal_over_twenty_steps(build: Callable[[], nn.Module]) -> None:
    if build is LeNet:
        inputs, targets = torch.randn(6, 1, 12, 12, dtype=torch.float64), torch.randint(4, (6,))
    else:
        text = torch.randint(9, (3, 8))
        inputs, targets = text[:, :-1], text[:, 1:].flatten()
    dense = losses(build, inputs, targets, "dense")
    assert dense[-1] < dense[0]
    assert_close(dense, losses(build, inputs, targets, "eager"))
