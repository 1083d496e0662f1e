"""Log Z of a large RBM: annealed importance sampling (Salakhutdinov and Murray, 2008)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise
from typing import NamedTuple

import torch
from torch import Tensor

from mpnn.models.energy.rbm import RBM, Uniforms
from mpnn.models.energy.units import softplus
from mpnn.models.parts.checks import check_count


class Annealed(NamedTuple):
    """An estimate of log Z, and how far chains are from each other."""

    log_partition: float
    low: float  # where the mean weight is three of its standard errors off to the one side; it may be -inf
    high: float  # to the other; it may be inf where the chains go backwards
    deviation: float  # of the logarithms of the weights: an estimate is sound where it is near 1 or below


@torch.no_grad()
def annealed_log_partition(
    rbm: RBM,
    *,
    betas: int | Sequence[float] = 1000,
    num_chains: int = 100,
    bias: Tensor | None = None,
    samples: Tensor | None = None,
    seed: int = 0,
    uniform: Uniforms | None = None,
) -> Annealed:
    """Estimate log Z by chains that go from a machine without edges to the machine itself.

    At β the machine has the weights β w, the hidden biases β c and the visible ones (1 - β) b₀ + β b; Z of
    β = 0 is known. The mean of the chains' weights is right, so that its logarithm is more often too small
    than too large, and a likelihood that is computed with it too large. Chains that go the other way, from
    samples of the machine, err to the other side: the truth lies between both, as far as the samples are the
    machine's own (Burda, Grosse and Salakhutdinov, 2015).

    Args:
        rbm: the machine.
        betas: how many steps there are from β = 0 to 1, all of a length; or the values of β themselves, which
            begin with 0, rise, and end with 1.
        num_chains: how many, where there are no samples.
        bias: b₀, `[num_visible]`, by default b; the log-odds of the data are a good choice.
        samples: of the machine, `[num_chains, num_visible]`: the chains go from β = 1 to 0, and begin there.
        seed: of the random numbers.
        uniform: numbers in place of drawn ones, see `RBM.sample`, one sweep for each β but the last.

    >>> rbm = RBM(6, 3)
    >>> estimate = annealed_log_partition(rbm, betas=100)
    >>> abs(estimate.log_partition - rbm.log_partition().item()) < 0.1
    True
    """
    check_count("num_chains", num_chains if samples is None else len(samples), 2)
    values = _betas(betas)
    kind, start = rbm.kind, rbm.visible_bias if bias is None else bias
    if start.shape != rbm.visible_bias.shape:
        raise ValueError(f"bias must be [{rbm.num_visible}], got shape {list(start.shape)}.")
    begin = rbm.num_hidden * math.log(2) + float(kind.log_partition(start.double()).sum())

    if samples is not None:
        rbm.check_visible(samples, "samples")
        num_chains = len(samples)
        values.reverse()

    def draw(sweep: int) -> tuple[Tensor, Tensor]:
        return uniform(sweep) if uniform is not None else rbm.uniforms(seed, sweep, num_chains)

    def log_density(beta: float, alone: Tensor, received: Tensor) -> Tensor:
        """Of v at β; the part that does not depend on β is left out."""
        return beta * alone + softplus(beta * received).sum(1, dtype=torch.float64)

    u_v, u_h = draw(0)
    v = kind.draw(start.expand(num_chains, -1), u_v) if samples is None else samples
    total = torch.zeros(num_chains, dtype=torch.float64, device=v.device)
    last = len(values) - 1
    for k in range(1, last + 1):
        received = rbm.to_hidden(v) + rbm.hidden_bias
        alone = (v @ (rbm.visible_bias - start)).double()
        total += log_density(values[k], alone, received) - log_density(values[k - 1], alone, received)
        if k < last:
            beta = values[k]
            h = (u_h < torch.sigmoid(beta * received)).to(v.dtype)
            u_v, u_h = draw(k)
            field = torch.lerp(start, rbm.visible_bias, beta)
            v = kind.draw(field + beta * rbm.to_visible(h), u_v)
    return _estimate(begin, total, 1 if samples is None else -1)


def _estimate(begin: float, total: Tensor, sign: int) -> Annealed:
    """From the logarithms of the weights, whose mean is the quotient of Z at the end and at the begin."""
    number, largest = len(total), float(total.max())
    weights = torch.exp(total - largest)
    mean, error = float(weights.mean()), 3 * float(weights.std()) / math.sqrt(number)
    low, middle, high = (
        begin + sign * (largest + math.log(value) if value > 0 else -math.inf)
        for value in (mean - sign * error, mean, mean + sign * error)
    )
    return Annealed(middle, low, high, float(total.std()))


def _betas(betas: int | Sequence[float]) -> list[float]:
    if isinstance(betas, int) and not isinstance(betas, bool):
        check_count("betas", betas, 1)
        return [k / betas for k in range(betas + 1)]
    values = [float(beta) for beta in betas]  # type: ignore[union-attr]
    rises = all(one <= other for one, other in pairwise(values))
    if len(values) < 2 or values[0] != 0 or values[-1] != 1 or not rises:
        raise ValueError("betas must begin with 0, rise, and end with 1.")
    return values
