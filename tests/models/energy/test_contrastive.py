"""Contrastive divergence against its formulas, with the caller's random numbers."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from mpnn.models import RBM, ContrastiveDivergence
from mpnn.models.energy.contrastive import centred
from mpnn.models.energy.rbm import Moments
from tests.compare import assert_close
from tests.models.energy.rbms import complete, filled, matrix, sparse

MACHINES = [complete, sparse]
DATA = (torch.rand(6, 5, generator=torch.Generator().manual_seed(3)) < 0.4).double()


def _gradients(rbm: RBM) -> dict[str, Tensor]:
    """Of all parameters, those of weights as a matrix."""
    found = {name: p.grad for name, p in rbm.named_parameters()}
    assert all(grad is not None for grad in found.values())
    slope = found["weight"]
    assert slope is not None
    if not rbm.is_complete:
        full = slope.new_zeros(rbm.num_hidden, rbm.num_visible)
        found["weight"] = full.index_put((rbm.graph.dst, rbm.graph.src), slope)
    return found  # type: ignore[return-value]


def _loop(rbm: RBM, hidden: Tensor | None, steps: int, chains: int) -> tuple[dict[str, Tensor], Tensor]:
    """The gradient of CD-k or of a persistent chain, as textbooks write it."""
    w, b, c = matrix(rbm).detach(), rbm.visible_bias.detach(), rbm.hidden_bias.detach()
    sweep, given = 0, torch.sigmoid(DATA @ w.T + c)
    if hidden is None:
        hidden, sweep = (rbm.uniforms(7, 0, chains)[1] < given).double(), 1
    for _ in range(steps):
        u_v, u_h = rbm.uniforms(7, sweep, chains)
        v = (u_v < torch.sigmoid(hidden @ w + b)).double()
        chance = torch.sigmoid(v @ w.T + c)
        hidden, sweep = (u_h < chance).double(), sweep + 1
    slopes = {
        "weight": chance.T @ v / chains - given.T @ DATA / 6,
        "visible_bias": v.mean(0) - DATA.mean(0),
        "hidden_bias": chance.mean(0) - given.mean(0),
    }
    return slopes, hidden


@pytest.mark.parametrize("make", MACHINES)
@pytest.mark.parametrize("steps", [1, 3])
@pytest.mark.parametrize("num_chains", [None, 6, 11])
def test_the_gradient_is_that_of_a_plain_loop(
    make: Callable[[], RBM], steps: int, num_chains: int | None
) -> None:
    rbm = make()
    learning = ContrastiveDivergence(rbm, steps=steps, num_chains=num_chains, seed=7)
    learning.backward(DATA)
    begin = None if num_chains is None else torch.zeros(num_chains, 4, dtype=torch.float64)
    slopes, hidden = _loop(rbm, begin, steps, num_chains or 6)
    found = _gradients(rbm)
    mask = matrix(rbm) != 0
    for name, wanted in slopes.items():
        assert_close(found[name], wanted * mask if name == "weight" else wanted, atol=1e-12)
    if num_chains is None:
        assert learning.chains is None
    else:
        assert learning.chains is not None
        assert torch.equal(learning.chains, hidden)


def test_gradients_add_up_as_those_of_a_loss_do() -> None:
    one, other = complete(), complete()
    ContrastiveDivergence(one, seed=1).backward(DATA)
    learning = ContrastiveDivergence(other, seed=1)
    learning.backward(DATA)
    before = {name: grad.clone() for name, grad in _gradients(other).items()}
    learning.sweep = 0
    learning.backward(DATA)
    for name, grad in _gradients(one).items():
        assert_close(before[name], grad, atol=0)
        assert_close(_gradients(other)[name], 2 * grad, atol=1e-12)


def test_long_chains_have_the_gradient_of_the_likelihood() -> None:
    rbm = complete()
    wanted = torch.autograd.grad(-rbm.log_likelihood(DATA).mean(), list(rbm.parameters()))
    learning = ContrastiveDivergence(rbm, num_chains=20_000, steps=60)
    learning.backward(DATA)
    for parameter, slope in zip(rbm.parameters(), wanted, strict=True):
        assert parameter.grad is not None
        assert_close(parameter.grad, slope, atol=0.02)


@pytest.mark.parametrize("make", MACHINES)
def test_a_centred_gradient_is_that_of_the_centred_machine(make: Callable[[], RBM]) -> None:
    """Melchior et al. (2016): in the parameters of E = -(h - λ)ᵀ W (v - μ) - b·(v - μ) - c·(h - λ)."""
    rbm = make()
    at_visible, at_hidden = torch.rand(5).double(), torch.rand(4).double()
    mask = (matrix(rbm) != 0).double()

    def likelihood(w: Tensor, b: Tensor, c: Tensor) -> Tensor:
        plain = filled(rbm)
        state = {"weight": w * mask, "visible_bias": b - (w * mask).T @ at_hidden}
        state["hidden_bias"] = c - (w * mask) @ at_visible
        found: Tensor = torch.func.functional_call(
            _Likelihood(plain), {f"rbm.{k}": p for k, p in state.items()}, DATA
        )
        return found

    w = matrix(rbm).detach()
    b, c = rbm.visible_bias.detach() + w.T @ at_hidden, rbm.hidden_bias.detach() + w @ at_visible
    leaves = [one.clone().requires_grad_() for one in (w, b, c)]
    slope_w, slope_b, slope_c = torch.autograd.grad(likelihood(*leaves), leaves)
    # A step of these, in the parameters of the machine as it is: b - Wᵀλ and c - Wμ move with W.
    wanted = slope_w, slope_b - (slope_w).T @ at_hidden, slope_c - slope_w @ at_visible
    plain = torch.autograd.grad(rbm.log_likelihood(DATA).mean(), list(rbm.parameters()))
    found = centred(rbm, Moments(*plain), at_visible, at_hidden)
    weight = wanted[0] if rbm.is_complete else wanted[0][rbm.graph.dst, rbm.graph.src]
    assert_close(found.weight, weight, atol=1e-12)
    assert_close(found.visible_bias, wanted[1], atol=1e-12)
    assert_close(found.hidden_bias, wanted[2], atol=1e-12)


class _Likelihood(torch.nn.Module):
    def __init__(self, rbm: RBM) -> None:
        super().__init__()
        self.rbm = rbm

    def forward(self, v: Tensor) -> Tensor:
        return self.rbm.log_likelihood(v).mean()


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: ContrastiveDivergence(complete(), steps=0), "steps must be at least 1, got 0"),
        (lambda: ContrastiveDivergence(complete(), num_chains=0), "num_chains must be at least 1, got 0"),
        (lambda: ContrastiveDivergence(complete(), centring=2.0), "centring must be a probability"),
        (
            lambda: ContrastiveDivergence(complete()).backward(DATA * 2),
            r"is 2, but binary units are from 0 to 1",
        ),
        (lambda: ContrastiveDivergence(complete()).backward(DATA[:, 1:]), r"v must be \[\*, 5\]"),
    ],
)
def test_a_mistake_is_one_sentence(call: Callable[[], object], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        call()
