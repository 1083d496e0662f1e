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


class NextCharacters(nn.Module):
    """The logits of a language model, without the state that it leaves."""

    def __init__(self, model: models.LanguageModel) -> None:
        super().__init__()
        self.model = model

    def forward(self, tokens: Tensor) -> Tensor:
        logits: Tensor = self.model(tokens)[0]
        return logits.flatten(0, 1)


BUILDERS: dict[str, Callable[[], nn.Module]] = {
    "LeNet": lambda: models.LeNet(num_classes=4, size=(12, 12)),
    "RecurrentLM": lambda: NextCharacters(models.RecurrentLM(9, 8, num_layers=2)),
    "CausalTransformer": lambda: NextCharacters(models.CausalTransformer(9, 8, 2, 2, context=8)),
}


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


@pytest.mark.parametrize("name", BUILDERS)
def test_losses_are_equal_over_twenty_steps(name: str) -> None:
    if name == "LeNet":
        inputs, targets = torch.randn(6, 1, 12, 12, dtype=torch.float64), torch.randint(4, (6,))
    else:
        text = torch.randint(9, (3, 8))
        inputs, targets = text[:, :-1], text[:, 1:].flatten()
    dense = losses(BUILDERS[name], inputs, targets, "dense")
    assert dense[-1] < dense[0]
    assert_close(dense, losses(BUILDERS[name], inputs, targets, "eager"))
