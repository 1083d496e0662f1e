"""The variational autoencoder against pytorch/examples, torch.distributions and a known likelihood."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.distributions import Bernoulli, MultivariateNormal, Normal, kl_divergence

from mpnn.models import VariationalAutoencoder
from tests.compare import assert_close


class Examples(nn.Module):
    """The VAE of pytorch/examples, vae/main.py, with other widths."""

    def __init__(self, width: int, hidden: int, latent: int) -> None:
        super().__init__()
        self.fc1 = nn.Linear(width, hidden)
        self.fc21 = nn.Linear(hidden, latent)
        self.fc22 = nn.Linear(hidden, latent)
        self.fc3 = nn.Linear(latent, hidden)
        self.fc4 = nn.Linear(hidden, width)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        h1 = F.relu(self.fc1(x))
        mu, logvar = self.fc21(h1), self.fc22(h1)
        std = torch.exp(0.5 * logvar)
        z = mu + torch.randn_like(std) * std
        return torch.sigmoid(self.fc4(F.relu(self.fc3(z)))), mu, logvar

    def loss(self, x: Tensor) -> Tensor:
        recon_x, mu, logvar = self(x)
        cross_entropy = F.binary_cross_entropy(recon_x, x, reduction="sum")
        return cross_entropy - 0.5 * torch.sum(1 + logvar - mu.pow(2) - logvar.exp())


def test_it_is_that_of_pytorchs_examples() -> None:
    torch.manual_seed(0)
    theirs, ours = Examples(12, 8, 3).double(), VariationalAutoencoder(12, 8, 3).double()
    ours.load_state_dict(theirs.state_dict())
    x = torch.rand(5, 12, dtype=torch.float64)
    results = []
    for forward, loss in ((ours, lambda: -ours.elbo(x).sum()), (theirs, lambda: theirs.loss(x))):
        torch.manual_seed(1)
        out = forward(x)
        torch.manual_seed(1)
        value = loss()
        gradients = torch.autograd.grad(value, [p for _, p in sorted(forward.named_parameters())])
        results.append([*out, value, *gradients])
    for one, other in zip(*results, strict=True):
        assert_close(one, other, atol=1e-12)


def test_divergence_and_likelihood_are_those_of_torch_distributions() -> None:
    torch.manual_seed(0)
    model = VariationalAutoencoder(6, 5, 3, activation="tanh").double()
    mu, logvar = torch.randn(2, 4, 3, dtype=torch.float64)
    normal = kl_divergence(Normal(mu, (0.5 * logvar).exp()), Normal(torch.zeros_like(mu), 1.0)).sum(-1)
    assert_close(model.divergence(mu, logvar), normal, atol=1e-12)
    z, x = torch.randn(4, 3, dtype=torch.float64), torch.rand(4, 6).double().round()
    assert_close(model.log_likelihood(x, z), Bernoulli(model.decode(z)).log_prob(x).sum(-1), atol=1e-12)
    model = VariationalAutoencoder(6, (), 3, likelihood="gaussian", deviation=0.4).double()
    x = torch.randn(4, 6, dtype=torch.float64)
    assert_close(model.log_likelihood(x, z), Normal(model.decode(z), 0.4).log_prob(x).sum(-1), atol=1e-12)


def _linear(deviation: float = 0.5) -> tuple[VariationalAutoencoder, Tensor, Tensor]:
    """A linear decoder with orthogonal columns, so that the posterior has no correlations; x and log p(x)."""
    model = VariationalAutoencoder(5, (), 2, likelihood="gaussian", deviation=deviation).double()
    with torch.no_grad():
        columns = torch.linalg.qr(torch.randn(5, 2, dtype=torch.float64))[0] * torch.tensor([2.0, 0.7])
        model.fc4.weight.copy_(columns)
        weight, bias = model.fc4.weight, model.fc4.bias
        covariance = weight @ weight.T + deviation**2 * torch.eye(5, dtype=torch.float64)
        x = MultivariateNormal(bias, covariance).sample((7,))
        return model, x, MultivariateNormal(bias, covariance).log_prob(x)


@torch.no_grad()
def test_with_the_true_posterior_both_bounds_are_the_likelihood() -> None:
    torch.manual_seed(0)
    model, x, exact = _linear()
    weight, bias = model.fc4.weight, model.fc4.bias
    precision = weight.square().sum(0) / 0.25 + 1
    model.fc21.weight.copy_(weight.T / 0.25 / precision[:, None])
    model.fc21.bias.copy_(-model.fc21.weight @ bias)
    model.fc22.weight.zero_()
    model.fc22.bias.copy_(-precision.log())
    # p(x, z) / q(z | x) is p(x) for every z; the ELBO's first part is an expectation, known here.
    assert_close(model.importance_bound(x, 3), exact, atol=1e-10)
    assert_close(model.importance_bound(x, 1), exact, atol=1e-10)
    mu, logvar = model.encode(x)
    spread = (logvar.exp() * weight.square().sum(0)).sum(-1) / (2 * 0.25)
    expected = model.log_likelihood(x, mu) - spread - model.divergence(mu, logvar)
    assert_close(expected, exact, atol=1e-10)
    found = model.elbo(x, 200_000)
    assert_close(found, exact, atol=0.02)  # of a mean of 200,000 draws


@torch.no_grad()
def test_bounds_rise_to_the_likelihood_with_the_number_of_samples() -> None:
    torch.manual_seed(0)
    model, x, exact = _linear()
    many = x.repeat(3000, 1, 1)  # the expectation of each bound
    bounds = [model.elbo(many).mean(0), *(model.importance_bound(many, k).mean(0) for k in (2, 8, 64))]
    for lower, higher in zip(bounds, [*bounds[1:], exact], strict=True):
        assert bool((lower <= higher + 0.03).all())
    gaps = [float((exact - bound).mean()) for bound in bounds]
    assert gaps[0] > gaps[1] > gaps[2] > gaps[3] > -0.03
    assert gaps[3] < 0.2 * gaps[0]


def test_deeper_ones_are_stacks_and_have_gradients_everywhere() -> None:
    torch.manual_seed(0)
    model = VariationalAutoencoder(9, (7, 6), 2, activation="tanh").double()
    shapes = {name: tuple(p.shape) for name, p in model.named_parameters() if name.endswith("weight")}
    assert shapes == {
        "fc1.0.weight": (7, 9),
        "fc1.2.weight": (6, 7),
        "fc21.weight": (2, 6),
        "fc22.weight": (2, 6),
        "fc3.0.weight": (6, 2),
        "fc3.2.weight": (7, 6),
        "fc4.weight": (9, 7),
    }
    (-model.importance_bound(torch.rand(4, 9).double().round(), 5).sum()).backward()
    assert all(p.grad is not None and bool(p.grad.any()) for p in model.parameters())


def test_training_raises_the_bound_and_samples_look_like_the_data() -> None:
    torch.manual_seed(0)
    pattern = torch.tensor([[1.0, 1, 1, 0, 0, 0], [0, 0, 0, 1, 1, 1]])
    x = pattern[torch.randint(2, (200,))]
    model = VariationalAutoencoder(6, 16, 2)
    before = float(model.elbo(x).detach().mean())
    optimizer = torch.optim.Adam(model.parameters(), 0.02)
    for _ in range(200):
        optimizer.zero_grad()
        (-model.elbo(x).mean()).backward()
        optimizer.step()
    with torch.no_grad():
        assert before < -3.9 and float(model.elbo(x).mean()) > -1.2  # log ½ is the best
        drawn = model.sample(500, seed=1)
    assert torch.equal(drawn, model.sample(500, seed=1).detach())
    assert float(((drawn.round()[:, None] == pattern).all(-1).any(-1)).float().mean()) > 0.8


_WRONG: Any = "poisson"


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda m: m.elbo(torch.rand(3, 5)), r"x must be \[\*, 6\], got shape \[3, 5\]"),
        (lambda m: m(torch.rand(3, 5)), r"x must be \[\*, 6\], got shape \[3, 5\]"),
        (lambda m: m.decode(torch.rand(3, 5)), r"z must be \[\*, 2\], got shape \[3, 5\]"),
        (lambda m: m.elbo(torch.full((1, 6), 1.5)), r"x\[0, 0\] is 1.5, but must be between 0 and 1"),
        (lambda m: m.elbo(torch.full((1, 6), torch.nan)), r"x\[0, 0\] is nan, but must be between 0 and 1"),
        (lambda m: m.importance_bound(torch.rand(3, 6), 0), "samples must be at least 1, got 0"),
        (lambda m: VariationalAutoencoder(6, likelihood=_WRONG), "likelihood is 'poisson', but must be"),
        (lambda m: VariationalAutoencoder(6, deviation=0.0), "deviation must be above 0, got 0.0"),
        (lambda m: VariationalAutoencoder(6, (4, 0)), r"hidden_features\[1\] must be at least 1, got 0"),
        (lambda m: VariationalAutoencoder(6, 4, 0), "latent_features must be at least 1, got 0"),
        (
            lambda m: VariationalAutoencoder(6, 4, 2, likelihood="gaussian").elbo(
                torch.full((1, 6), torch.inf)
            ),
            r"x\[0, 0\] is inf, but must be finite",
        ),
    ],
)
def test_a_mistake_is_one_sentence(call: Any, words: str) -> None:
    with pytest.raises(ValueError, match=words) as raised:
        call(VariationalAutoencoder(6, 4, 2))
    assert "\n" not in str(raised.value)
