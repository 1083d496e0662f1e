"""How an RBM learns: what is together in the data, less what is together in the machine's own samples."""

from __future__ import annotations

import torch
from torch import Tensor

from mpnn.models.energy.rbm import RBM, Moments, Uniforms
from mpnn.models.parts.checks import check_count, check_probability


class ContrastiveDivergence:
    """The gradient of -log p(v), with samples of a short chain in place of the machine's own.

    ∂ log p(v) / ∂w_ij = ⟨v_i h_j⟩_data - ⟨v_i h_j⟩_model, h by its probabilities. The chains of CD-k begin at
    the data in every step (Hinton, 2002); persistent ones (PCD) go on where they were in the step before
    (Tieleman, 2008). `backward` adds the gradient to `.grad` of the parameters, as that of a loss, for any
    optimiser of `torch.optim`.

    Args:
        rbm: learns.
        steps: k, the sweeps of a chain in a step.
        num_chains: how many persistent chains there are, which begin with hidden units of 0; by default none
            is persistent, and each sample has a chain of its own.
        centring: how fast offsets follow the means of the hidden units, such as 0.01: the gradient is then
            that of a machine of v_i - μ_i and h_j - λ_j, where μ is the mean of the first batch and λ begins
            there (Montavon and Müller, 2012). By default there are no offsets.
        seed: of the random numbers of the chains.

    >>> rbm, data = RBM(4, 2), torch.tensor([[1.0, 1.0, 0.0, 0.0]])
    >>> learning = ContrastiveDivergence(rbm, num_chains=10)
    >>> optimizer = torch.optim.SGD(rbm.parameters(), lr=0.1)
    >>> for _ in range(200):
    ...     optimizer.zero_grad()
    ...     learning.backward(data)
    ...     optimizer.step()
    >>> rbm.log_likelihood(data).item() > -1
    True
    """

    def __init__(
        self,
        rbm: RBM,
        *,
        steps: int = 1,
        num_chains: int | None = None,
        centring: float | None = None,
        seed: int = 0,
    ) -> None:
        check_count("steps", steps, 1)
        if num_chains is not None:
            check_count("num_chains", num_chains, 1)
        if centring is not None:
            check_probability("centring", centring)
        self.rbm, self.steps, self.centring, self.seed = rbm, steps, centring, seed
        self.chains = None if num_chains is None else rbm.weight.new_zeros(num_chains, rbm.num_hidden)
        self.sweep = 0  # of the next random numbers
        self.offsets: tuple[Tensor, Tensor] | None = None  # μ and λ

    @torch.no_grad()
    def phases(self, v: Tensor, uniform: Uniforms | None = None) -> tuple[Moments, Moments, int]:
        """Sums over the data and over the chains, after `steps` sweeps; and how many chains there are.

        Args:
            v: `[num_samples, num_visible]`.
            uniform: numbers from 0 on and below 1 for a sweep, see `RBM.sample`; sweeps are counted over all
                steps. Without persistent chains one sweep more draws the hidden units of the data.
        """
        rbm = self.rbm
        rbm.check_visible(v)
        given = rbm.hidden(v)
        hidden = self.chains
        if hidden is None:
            hidden = (self._draw(uniform, len(v))[1] < given).to(v.dtype)
        for _ in range(self.steps):
            u_v, u_h = self._draw(uniform, len(hidden))
            visible = rbm.draw_visible(hidden, u_v)
            chance = rbm.hidden(visible)
            hidden = (u_h < chance).to(v.dtype)
        if self.chains is not None:
            self.chains = hidden
        return rbm.moments(v, given), rbm.moments(visible, chance), len(hidden)

    @torch.no_grad()
    def backward(self, v: Tensor, uniform: Uniforms | None = None) -> None:
        """Add the gradient of -log p, the mean over samples `[num_samples, num_visible]`, to `.grad`."""
        data, model, num_chains = self.phases(v, uniform)
        there = Moments(*(one / len(v) for one in data))
        slope = Moments(*(one - own / num_chains for one, own in zip(there, model, strict=True)))
        if self.centring is not None:
            if self.offsets is None:
                self.offsets = there.visible_bias, there.hidden_bias
            slope = centred(self.rbm, slope, *self.offsets)
            at_visible, at_hidden = self.offsets
            self.offsets = at_visible, at_hidden.lerp(there.hidden_bias, self.centring)
        for name, value in slope._asdict().items():
            parameter = self.rbm.get_parameter(name)
            parameter.grad = -value if parameter.grad is None else parameter.grad - value

    def _draw(self, uniform: Uniforms | None, num_chains: int) -> tuple[Tensor, Tensor]:
        self.sweep += 1
        if uniform is not None:
            return uniform(self.sweep - 1)
        return self.rbm.uniforms(self.seed, self.sweep - 1, num_chains)


def centred(rbm: RBM, slope: Moments, at_visible: Tensor, at_hidden: Tensor) -> Moments:
    """A gradient of log p in the direction that it has for a machine of v - μ and h - λ.

    Args:
        rbm: says which units are connected.
        slope: the gradient as it is, means over samples.
        at_visible: μ, `[num_visible]`.
        at_hidden: λ, `[num_hidden]`.
    """
    if rbm.is_complete:
        weight = slope.weight - torch.outer(slope.hidden_bias, at_visible)
        weight -= torch.outer(at_hidden, slope.visible_bias)
        to_visible, to_hidden = weight.T @ at_hidden, weight @ at_visible
    else:
        graph = rbm.graph.to(at_visible.device)
        src, dst = graph.src, graph.dst
        weight = slope.weight - at_visible[src] * slope.hidden_bias[dst]
        weight -= at_hidden[dst] * slope.visible_bias[src]
        to_visible = torch.zeros_like(at_visible).index_add_(0, src, weight * at_hidden[dst])
        to_hidden = torch.zeros_like(at_hidden).index_add_(0, dst, weight * at_visible[src])
    return Moments(weight, slope.visible_bias - to_visible, slope.hidden_bias - to_hidden)
