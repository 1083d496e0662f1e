"""Annealed importance sampling against enumeration."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch

from mpnn.models import RBM, annealed_log_partition
from tests.models.energy.rbms import complete, sparse


@pytest.mark.parametrize("make", [complete, sparse])
@pytest.mark.parametrize("units", ["binary", "gaussian"])
@pytest.mark.parametrize("has_bias", [False, True])
def test_the_estimate_is_log_z_within_its_spread(
    make: Callable[..., RBM], units: str, has_bias: bool
) -> None:
    rbm = make(8, 6, units=units)
    exact = rbm.log_partition().item()
    bias = torch.linspace(-1, 1, 8).double() if has_bias else None
    found = annealed_log_partition(rbm, betas=500, num_chains=300, bias=bias, seed=1)
    assert found.low <= found.log_partition <= found.high
    assert found.low - 1e-3 < exact < found.high + 1e-3
    assert found.high - found.low < 0.2
    assert found.deviation < 0.5


@pytest.mark.parametrize("make", [complete, sparse])
@pytest.mark.parametrize("units", ["binary", "gaussian"])
def test_chains_from_the_machine_backwards_estimate_it_too(make: Callable[..., RBM], units: str) -> None:
    rbm = make(8, 6, units=units)
    exact = rbm.log_partition().item()
    samples, _ = rbm.sample(sweeps=100, num_chains=300, seed=2)
    found = annealed_log_partition(rbm, betas=500, samples=samples, seed=1)
    assert found.low <= found.log_partition <= found.high
    assert found.low - 1e-3 < exact < found.high + 1e-3
    assert found.high - found.low < 0.3


def test_few_steps_err_to_one_side_forwards_and_to_the_other_backwards() -> None:
    rbm = complete(8, 6)
    rbm.weight.data.mul_(2)
    exact, below, above = rbm.log_partition().item(), [], []
    for seed in range(20):
        samples, _ = rbm.sample(sweeps=300, num_chains=5, seed=seed)
        below.append(annealed_log_partition(rbm, betas=3, num_chains=5, seed=seed).log_partition)
        above.append(annealed_log_partition(rbm, betas=3, samples=samples, seed=seed).log_partition)
    assert sum(below) / 20 < exact < sum(above) / 20


def test_few_steps_spread_more() -> None:
    rbm = complete(8, 6)
    few, many = (annealed_log_partition(rbm, betas=betas, num_chains=200) for betas in (5, 500))
    assert few.deviation > 2 * many.deviation
    assert few.high - few.low > 2 * (many.high - many.low)


def test_a_machine_without_edges_is_known_from_the_start() -> None:
    rbm = complete()
    rbm.weight.data.zero_()
    found = annealed_log_partition(rbm, betas=[0, 1], num_chains=2)
    assert abs(found.log_partition - rbm.log_partition().item()) < 1e-12
    assert found.deviation < 1e-12


def test_one_step_is_importance_sampling_by_its_formula() -> None:
    rbm = complete()
    u = rbm.uniforms(3, 0, 1000)
    found = annealed_log_partition(rbm, betas=1, num_chains=1000, uniform=lambda sweep: u)
    v = (u[0] < torch.sigmoid(rbm.visible_bias)).double()
    alone = v @ rbm.visible_bias + 4 * math.log(2)  # of the machine without edges
    weights = -rbm.free_energy(v) - alone
    begin = 4 * math.log(2) + torch.nn.functional.softplus(rbm.visible_bias).sum()
    wanted = begin + torch.logsumexp(weights, 0) - math.log(1000)
    assert abs(found.log_partition - wanted.item()) < 1e-12
    assert abs(found.deviation - weights.std().item()) < 1e-12


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"betas": 0}, "betas must be at least 1, got 0"),
        ({"betas": [0.0, 0.7, 0.5, 1.0]}, "betas must begin with 0, rise, and end with 1"),
        ({"betas": [0.0, 0.5]}, "betas must begin with 0, rise, and end with 1"),
        ({"num_chains": 1}, "num_chains must be at least 2, got 1"),
        ({"bias": torch.zeros(3)}, r"bias must be \[5\], got shape \[3\]"),
    ],
)
def test_a_mistake_is_one_sentence(arguments: dict[str, object], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        annealed_log_partition(complete(), **arguments)  # type: ignore[arg-type]
