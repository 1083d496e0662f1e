"""The variational autoencoder: a code with a distribution (Kingma and Welling, 2014)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise
from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mpnn.models.dense.neurons import Linear
from mpnn.models.neurons.autoencoder import check_width, check_widths
from mpnn.models.parts.activation import Activation
from mpnn.models.parts.activation import activation as as_module
from mpnn.models.parts.checks import at_least, check_count, check_number, ranges

Likelihood = Literal["bernoulli", "gaussian"]
LOG_2PI = math.log(2 * math.pi)


@ranges(in_features=at_least(1), latent_features=at_least(1))
class VariationalAutoencoder(nn.Module):
    """p(z) = N(0, 1),   p(x | z) around decode(z),   q(z | x) = N(μ(x), σ²(x)).

    Names, defaults and state_dict are those of the VAE in pytorch/examples: `fc1` is the encoder's hidden
    layer, `fc21` and `fc22` make μ and log σ², `fc3` and `fc4` lead back. Every one is a `Linear`, messages
    on a complete bipartite graph.

    Args:
        in_features: the width of x.
        hidden_features: that of the hidden layer; or those of several, in the encoder's order, which make
            `fc1` and `fc3` stacks; or (), no hidden layer.
        latent_features: the width of z.
        activation: of the hidden layers.
        likelihood: "bernoulli", pixels between 0 and 1, or "gaussian", numbers with a standard deviation.
        deviation: that of the gaussian.

    Shapes: x `[*, in_features]`, z `[*, latent_features]`.

    >>> model = VariationalAutoencoder(12, 8, 2)
    >>> reconstruction, mu, logvar = model(torch.rand(5, 12))
    >>> reconstruction.shape, mu.shape, model.elbo(torch.rand(5, 12)).shape
    (torch.Size([5, 12]), torch.Size([5, 2]), torch.Size([5]))
    """

    def __init__(
        self,
        in_features: int = 784,
        hidden_features: int | Sequence[int] = 400,
        latent_features: int = 20,
        *,
        activation: Activation = "relu",
        likelihood: Likelihood = "bernoulli",
        deviation: float = 1.0,
    ) -> None:
        super().__init__()
        one = not isinstance(hidden_features, list | tuple)
        hidden: list[Any] = [hidden_features] if one else list(hidden_features)  # type: ignore[arg-type]
        check_widths("hidden_features", hidden, 0)
        if likelihood not in ("bernoulli", "gaussian"):
            raise ValueError(f"likelihood is {likelihood!r}, but must be 'bernoulli' or 'gaussian'.")
        check_number("deviation", deviation, 0.0)
        if deviation == 0:
            raise ValueError(f"deviation must be above 0, got {deviation}.")
        self.in_features, self.latent_features = in_features, latent_features
        self.likelihood, self.deviation = likelihood, float(deviation)
        there, back = [in_features, *hidden], [latent_features, *reversed(hidden)]
        self.fc1, self.act = _stack(there, activation), as_module(activation if hidden else None)
        self.fc21, self.fc22 = Linear(there[-1], latent_features), Linear(there[-1], latent_features)
        self.fc3 = _stack(back, activation)
        self.fc4 = Linear(back[-1], in_features)

    def encode(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """μ and log σ² of the code, `[*, latent_features]` each."""
        check_width("x", x, self.in_features)
        h = self.act(self.fc1(x))
        return self.fc21(h), self.fc22(h)

    def reparameterize(self, mu: Tensor, logvar: Tensor) -> Tensor:
        """A draw z = μ + σ ε, with ε from N(0, 1)."""
        deviation = torch.exp(0.5 * logvar)
        # The same numbers wherever the entries of σ lie in memory, which is another matter on each backend.
        return mu + deviation * torch.randn_like(deviation, memory_format=torch.contiguous_format)

    def decode(self, z: Tensor) -> Tensor:
        """The mean of x, `[*, in_features]`."""
        found = self._decoded(z)
        return torch.sigmoid(found) if self.likelihood == "bernoulli" else found

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """The reconstruction from a draw of z, μ and log σ²."""
        mu, logvar = self.encode(x)
        return self.decode(self.reparameterize(mu, logvar)), mu, logvar

    def log_likelihood(self, x: Tensor, z: Tensor) -> Tensor:
        """The log of p(x | z), summed over the features, `[*]`; x and z are broadcast."""
        found = self._decoded(z)
        if self.likelihood == "bernoulli":
            return (x * found - F.softplus(found)).sum(-1)
        return _log_normal(x, found, 2 * math.log(self.deviation))

    def divergence(self, mu: Tensor, logvar: Tensor) -> Tensor:
        """KL(N(μ, σ²) || N(0, 1)), summed over the features, `[*]`."""
        return -0.5 * (1 + logvar - mu.square() - logvar.exp()).sum(-1)

    def elbo(self, x: Tensor, samples: int = 1) -> Tensor:
        """E_q log p(x | z) - KL(q || p), a lower bound of log p(x) in nats, `[*]`.

        Args:
            x: `[*, in_features]`; Bernoulli's between 0 and 1.
            samples: how many draws of z stand for the expectation.

        Raises:
            ValueError: x has another width, or an entry that the likelihood does not know.
        """
        self._check(x, samples)
        mu, logvar = self.encode(x)
        z = self.reparameterize(*(one.expand(samples, *one.shape) for one in (mu, logvar)))
        return self.log_likelihood(x, z).mean(0) - self.divergence(mu, logvar)

    def importance_bound(self, x: Tensor, samples: int = 50) -> Tensor:
        """The log of 1/k Σ_k p(x, z_k) / q(z_k | x), z_k from q, `[*]` (Burda et al., 2016).

        For one sample it is another estimate of the ELBO, and it rises with k to log p(x).

        Args and errors are those of `elbo`.
        """
        self._check(x, samples)
        mu, logvar = self.encode(x)
        z = self.reparameterize(*(one.expand(samples, *one.shape) for one in (mu, logvar)))
        joint = self.log_likelihood(x, z) + _log_normal(z, torch.zeros_like(z), 0.0)
        return torch.logsumexp(joint - _log_normal(z, mu, logvar), 0) - math.log(samples)

    def sample(self, number: int, seed: int = 0) -> Tensor:
        """The means of new x, `[number, in_features]`, of z drawn from p(z)."""
        weight = self.fc4.weight
        generator = torch.Generator().manual_seed(seed)
        z = torch.randn(number, self.latent_features, generator=generator, dtype=weight.dtype)
        return self.decode(z.to(weight.device))

    def extra_repr(self) -> str:
        """How x is distributed around its mean."""
        width = "" if self.likelihood == "bernoulli" else f", deviation={self.deviation:g}"
        return f"likelihood={self.likelihood!r}{width}"

    def _decoded(self, z: Tensor) -> Tensor:
        check_width("z", z, self.latent_features)
        found: Tensor = self.fc4(self.act(self.fc3(z)))
        return found

    def _check(self, x: Tensor, samples: int) -> None:
        check_count("samples", samples, 1)
        check_width("x", x, self.in_features)
        outside = (x < 0) | (x > 1) | x.isnan() if self.likelihood == "bernoulli" else ~x.isfinite()
        if bool(outside.any()):
            place = outside.nonzero()[0].tolist()
            wanted = "between 0 and 1" if self.likelihood == "bernoulli" else "finite"
            raise ValueError(f"x{place} is {x[tuple(place)].item():g}, but must be {wanted}.")


def _log_normal(x: Tensor, mean: Tensor, log_variance: Tensor | float) -> Tensor:
    """The log of N(x; mean, variance), summed over the last dimension."""
    log_variance = torch.as_tensor(log_variance, dtype=x.dtype, device=x.device)
    return -0.5 * (LOG_2PI + log_variance + (x - mean).square() / log_variance.exp()).sum(-1)


def _stack(widths: Sequence[int], act: Activation) -> nn.Module:
    """One `Linear`, or several with activations between them; without a width nothing."""
    layers: list[nn.Module] = []
    for before, after in pairwise(widths):
        layers += [as_module(act), Linear(before, after)] if layers else [Linear(before, after)]
    return layers[0] if len(layers) == 1 else nn.Sequential(*layers)
