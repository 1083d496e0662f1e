"""Optimisers, schedules and penalties against torch's own."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import nn, optim

from mpnn.datasets.karate import load_karate
from mpnn.models import GNN
from mpnn.train import NodeTask, Recipe, fit
from mpnn.train.fitting.learning_rate import learning_rate
from tests.compare import assert_close
from tests.present import present

EPOCHS = 12
Optimizers = Callable[[list[nn.Parameter]], optim.Optimizer]
CASES: list[tuple[dict[str, Any], Optimizers]] = [
    ({"optimizer": "sgd", "weight_decay": 0.1}, lambda p: optim.SGD(p, 0.1, weight_decay=0.1)),
    (
        {"optimizer": "sgd", "momentum": 0.9, "nesterov": True},
        lambda p: optim.SGD(p, 0.1, 0.9, nesterov=True, weight_decay=5e-4),
    ),
    ({"optimizer": "adagrad"}, lambda p: optim.Adagrad(p, 0.1, weight_decay=5e-4)),
    ({"optimizer": "rmsprop", "momentum": 0.5}, lambda p: optim.RMSprop(p, 0.1, 0.99, 1e-8, 5e-4, 0.5)),
    ({"optimizer": "adamw", "weight_decay": 0.2}, lambda p: optim.AdamW(p, 0.1, weight_decay=0.2)),
]


def plain_loop(build: Optimizers, l1: float = 0.0, clip: float | None = None) -> nn.Module:
    data = load_karate()
    y = present(data.y)
    torch.manual_seed(0)
    model = GNN(34, 8, 2)
    optimizer = build(list(model.parameters()))
    for _ in range(EPOCHS):
        optimizer.zero_grad()
        loss = F.cross_entropy(model(data.x, data.graph)[data.train_mask], y[data.train_mask])
        (loss + l1 * torch.cat([p.flatten() for p in model.parameters()]).norm(p=1)).backward()
        if clip is not None:
            nn.utils.clip_grad_norm_(model.parameters(), clip)
        optimizer.step()
    return model


def last_weights(recipe: Recipe) -> nn.Module:
    """The weights after the last epoch, not those of the best."""
    torch.manual_seed(0)
    model, kept = GNN(34, 8, 2), GNN(34, 8, 2)
    fit(model, NodeTask(load_karate()), recipe, on_epoch=lambda row: kept.load_state_dict(model.state_dict()))
    return kept


def assert_same_weights(ours: nn.Module, theirs: nn.Module) -> None:
    for name, value in theirs.state_dict().items():
        assert_close(ours.state_dict()[name], value, atol=1e-5, name=name)  # 12 steps in float32


def _named(case: object) -> str:
    # The repr of a function holds its address, which differs from process to process.
    return str(case) if isinstance(case, dict) else "torch"


@pytest.mark.parametrize(("settings", "build"), CASES, ids=_named)
def test_each_optimiser_is_torchs(settings: dict[str, Any], build: Optimizers) -> None:
    assert_same_weights(last_weights(Recipe(lr=0.1, epochs=EPOCHS, **settings)), plain_loop(build))


def test_the_l1_penalty_and_clipping_are_those_of_a_plain_loop() -> None:
    recipe = Recipe(optimizer="sgd", lr=0.1, weight_decay=0, l1=0.01, clip=0.05, epochs=EPOCHS)
    assert_same_weights(last_weights(recipe), plain_loop(lambda p: optim.SGD(p, 0.1), l1=0.01, clip=0.05))


def theirs(build: Callable[[optim.Optimizer], Any], losses: list[float]) -> list[float]:
    optimizer = optim.SGD([nn.Parameter(torch.ones(1))], lr=0.1)
    scheduler, rates = build(optimizer), []
    for loss in losses:
        rates.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        if isinstance(scheduler, optim.lr_scheduler.ReduceLROnPlateau):
            scheduler.step(loss)
        else:
            scheduler.step()
    return rates


LOSSES = [5, 4, 4, 4, 4, 3, 3, 3, 3, 3, 3, 2, 2, 1, 1, 1, 1, 1, 1, 1]
SCHEDULES: list[tuple[dict[str, Any], Callable[[optim.Optimizer], Any]]] = [
    ({"schedule": "constant"}, lambda o: optim.lr_scheduler.ConstantLR(o, factor=1)),
    ({"schedule": "step", "decay": 0.3, "decay_every": 4}, lambda o: optim.lr_scheduler.StepLR(o, 4, 0.3)),
    ({"schedule": "cosine", "epochs": 20}, lambda o: optim.lr_scheduler.CosineAnnealingLR(o, 20)),
    (
        {"schedule": "plateau", "decay": 0.3, "decay_every": 3},
        lambda o: optim.lr_scheduler.ReduceLROnPlateau(o, factor=0.3, patience=2, threshold=0, eps=0),
    ),
]


@pytest.mark.parametrize(("settings", "build"), SCHEDULES, ids=_named)
def test_each_schedule_is_torchs(settings: dict[str, Any], build: Callable[[optim.Optimizer], Any]) -> None:
    losses = [float(loss) for loss in LOSSES]
    ours = [learning_rate(Recipe(lr=0.1, **settings), k, losses[:k]) for k in range(len(losses))]
    assert ours == pytest.approx(theirs(build, losses), abs=1e-12)


def test_a_warmup_rises_in_equal_steps_to_the_learning_rate() -> None:
    recipe = Recipe(lr=0.4, warmup=3, schedule="cosine", epochs=5)
    assert [learning_rate(recipe, k) for k in range(5)] == pytest.approx([0.1, 0.2, 0.3, 0.4, 0.2])
