"""Every optimiser of a recipe against its formula, step by step; the L1 penalty against the lasso."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from math import sqrt
from typing import Any

import numpy as np
import pytest
import torch
from sklearn.linear_model import Lasso
from torch import Tensor, nn

from mpnn.train import METRICS, Metric, Recipe, fit
from mpnn.train.fitting.optimizer import build_optimizer
from mpnn.train.options import OPTIMIZERS
from tests.compare import assert_close

STEEP = torch.tensor([1.0, 30.0, 4.0], dtype=torch.float64)  # f(θ) = ½ Σ STEEP_i θ_i², a ravine
START = torch.tensor([-2.0, 1.5, 0.7], dtype=torch.float64)
LR, STEPS = 0.02, 60


class Point(nn.Module):
    """Parameters alone."""

    def __init__(self) -> None:
        super().__init__()
        self.at = nn.Parameter(START.clone())


def _path(settings: dict[str, Any]) -> Iterator[Tensor]:
    point = Point()
    recipe = Recipe(**{"lr": LR, "weight_decay": 0.0} | settings)
    optimizer = build_optimizer(point, recipe)
    for _ in range(STEPS):
        optimizer.zero_grad()
        (0.5 * STEEP * point.at.square()).sum().backward()
        optimizer.step()
        yield point.at.detach().clone()


# The formulas, each of a single number: the coordinates of a point know nothing of each other -------------


def _sgd(θ: float, steep: float) -> Iterator[float]:
    while True:
        θ -= LR * steep * θ
        yield θ


def _momentum(θ: float, steep: float, μ: float = 0.9) -> Iterator[float]:
    v = 0.0
    while True:
        v = μ * v + steep * θ
        θ -= LR * v
        yield θ


def _nesterov(θ: float, steep: float, μ: float = 0.9) -> Iterator[float]:
    """The gradient is that of the point where the momentum would lead: θ is that point (Sutskever, 2013)."""
    v, behind = 0.0, θ
    while True:
        v = μ * v + steep * θ
        behind -= LR * v
        θ = behind - LR * μ * v
        yield θ


def _adagrad(θ: float, steep: float, ε: float = 1e-10) -> Iterator[float]:
    s = 0.0
    while True:
        g = steep * θ
        s += g * g
        θ -= LR * g / (sqrt(s) + ε)
        yield θ


def _rmsprop(θ: float, steep: float, ρ: float = 0.99, ε: float = 1e-8) -> Iterator[float]:
    s = 0.0
    while True:
        g = steep * θ
        s = ρ * s + (1 - ρ) * g * g
        θ -= LR * g / (sqrt(s) + ε)
        yield θ


def _adam(
    θ: float, steep: float, λ: float = 0.0, β1: float = 0.9, β2: float = 0.999, ε: float = 1e-8
) -> Iterator[float]:
    m = v = 0.0
    t = 0
    while True:
        t += 1
        g = steep * θ
        θ -= LR * λ * θ  # of adamw: off the weights, not in the gradient
        m = β1 * m + (1 - β1) * g
        v = β2 * v + (1 - β2) * g * g
        θ -= LR * (m / (1 - β1**t)) / (sqrt(v / (1 - β2**t)) + ε)
        yield θ


CASES: list[tuple[dict[str, Any], Any]] = [
    ({"optimizer": "sgd"}, _sgd),
    ({"optimizer": "sgd", "momentum": 0.9}, _momentum),
    ({"optimizer": "sgd", "momentum": 0.9, "nesterov": True}, _nesterov),
    ({"optimizer": "adagrad"}, _adagrad),
    ({"optimizer": "rmsprop"}, _rmsprop),
    ({"optimizer": "adam"}, _adam),
    ({"optimizer": "adamw", "weight_decay": 0.1}, lambda θ, steep: _adam(θ, steep, λ=0.1)),
]


@pytest.mark.parametrize(
    ("settings", "formula"), CASES, ids=lambda one: str(one) if type(one) is dict else ""
)
def test_an_optimiser_takes_the_steps_of_its_formula(settings: dict[str, Any], formula: Any) -> None:
    coordinates = [formula(θ, steep) for θ, steep in zip(START.tolist(), STEEP.tolist(), strict=True)]
    for point in _path(settings):
        expected = torch.tensor([next(one) for one in coordinates], dtype=torch.float64)
        assert_close(point, expected, atol=1e-12)


def test_every_optimiser_of_a_recipe_has_its_formula() -> None:
    assert {settings["optimizer"] for settings, _ in CASES} == set(OPTIMIZERS)


def test_weight_decay_is_half_the_squared_norm_in_the_loss() -> None:
    plain = [point.clone() for point in _path({"optimizer": "sgd", "weight_decay": 0.3})]
    θ = START.clone()
    for point in plain:
        θ = θ - LR * (STEEP * θ + 0.3 * θ)
        assert_close(point, θ, atol=1e-12)


# Penalties --------------------------------------------------------------------------------------------------


class Regression:
    """½ mean (y - X w)², the loss of scikit-learn's lasso, on all samples at once."""

    metrics: Sequence[Metric] = (METRICS["mae"],)

    def __init__(self, x: Tensor, y: Tensor) -> None:
        self.x, self.y = x, y

    def batches(self) -> list[None]:
        return [None]

    def loss(self, model: nn.Module, batch: None) -> Tensor:
        return 0.5 * (self.y - model(self.x)[:, 0]).square().mean()

    def evaluate(self, model: nn.Module) -> dict[str, float]:
        loss = float(self.loss(model, None).detach())
        return {"val_loss": loss, "val_mae": loss, "test_mae": loss}


def test_the_l1_penalty_leads_to_the_objective_of_the_lasso() -> None:
    # By its subgradient: weights that the lasso sets to 0 come as near to it as the last steps are short.
    generator = np.random.default_rng(0)
    x = generator.normal(size=(80, 12))
    y = x[:, :3] @ [2.0, -1.0, 0.5] + 0.3 * generator.normal(size=80)
    alpha = 0.1
    theirs = Lasso(alpha=alpha, fit_intercept=False, tol=1e-12, max_iter=100_000).fit(x, y).coef_
    model = nn.Linear(12, 1, bias=False).double()
    recipe = Recipe(
        optimizer="sgd", lr=0.1, weight_decay=0.0, l1=alpha, epochs=600, schedule="cosine", monitor="last"
    )
    fit(model, Regression(torch.from_numpy(x), torch.from_numpy(y)), recipe)
    ours = model.weight[0].detach().numpy()

    def objective(w: Any) -> float:
        return float(0.5 * np.mean((y - x @ w) ** 2) + alpha * np.abs(w).sum())

    assert objective(theirs) <= objective(ours) + 1e-12
    assert objective(ours) - objective(theirs) < 1e-6
    assert np.abs(ours - theirs).max() < 1e-3
    assert np.sum(theirs == 0) > 5
