"""The deep belief network: RBMs on top of each other (Hinton, Osindero and Teh, 2006)."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn

from mpnn.models.dense.neurons import Linear
from mpnn.models.energy.enumeration import all_states
from mpnn.models.energy.rbm import RBM
from mpnn.models.energy.units import Kind
from mpnn.models.parts.checks import check_count


class DBN(nn.Module):
    """p(v) = Σ_h p(v | h¹) p(h¹ | h²) ... p(hᴸ⁻¹, hᴸ): an RBM on top, directed layers below it.

    Down the network, messages w_ij h_j go from layer to layer in topological order; up, the same edges carry
    the messages of the recognition h_j ~ σ(c_j + Σ_i w_ij v_i). It is trained layer by layer: each RBM learns
    from what the layers below it make of the data. An RBM that is put on top with the weights of the one
    below, transposed, changes nothing; learning from there raises a bound of log p(v).

    Args:
        sizes: the number of visible units, and that of each layer above.
        units: "binary" or "gaussian" visible units.
        rbms: the machines themselves, from below, in place of sizes: for layers on sparse graphs.

    Shapes: v `[*, sizes[0]]`; the hidden units of the top `[*, sizes[-1]]`.

    >>> dbn = DBN([6, 4, 3])
    >>> dbn(torch.ones(5, 6)).shape, dbn.sample(num_chains=2, sweeps=10).shape
    (torch.Size([5, 3]), torch.Size([2, 6]))
    """

    def __init__(
        self, sizes: Sequence[int] = (), *, units: Kind = "binary", rbms: Sequence[RBM] | None = None
    ) -> None:
        super().__init__()
        if rbms is None:
            sizes = _checked(sizes)
            kinds: list[Kind] = [units, *["binary"] * (len(sizes) - 2)]  # type: ignore[list-item]
            pairs = zip(pairwise(sizes), kinds, strict=True)
            rbms = [RBM(*pair, units=kind) for pair, kind in pairs]
        elif len(sizes) or units != "binary":
            raise ValueError("rbms are given, and then sizes and units must not be: they are those of rbms.")
        _check_stack(rbms)
        self.rbms = nn.ModuleList(rbms)

    @property
    def layers(self) -> list[RBM]:
        """The machines, from below."""
        return list(self.rbms)  # type: ignore[arg-type]

    @property
    def top(self) -> RBM:
        """The highest machine."""
        return self.layers[-1]

    def forward(self, v: Tensor, num_layers: int | None = None) -> Tensor:
        """The probabilities of the highest hidden units, each layer given those of the layer below.

        Args:
            v: `[*, sizes[0]]`.
            num_layers: how many layers up; by default all, and with 0 v itself.
        """
        self.layers[0].check_visible(v)
        for rbm in self.layers[:num_layers]:
            v = rbm.hidden(v)
        return v

    @torch.no_grad()
    def sample(
        self, hidden: Tensor | None = None, *, sweeps: int = 100, num_chains: int = 1, seed: int = 0
    ) -> Tensor:
        """The means of the visible units, `[num_chains, sizes[0]]`: chains on top, then once down.

        Args:
            hidden: the highest hidden units at the beginning, `[num_chains, sizes[-1]]`; by default drawn.
            sweeps: of Gibbs sampling in the highest machine.
            num_chains: where there are no hidden units.
            seed: of the random numbers.
        """
        v, h = self.top.sample(hidden, sweeps=sweeps, num_chains=num_chains, seed=seed)
        if len(self.layers) == 1:
            return self.top.visible(h)
        for number, rbm in enumerate(reversed(self.layers[1:-1]), start=1):
            v = rbm.draw_visible(v, rbm.uniforms(seed + number, sweeps, len(v))[0])
        return self.layers[0].visible(v)

    def log_likelihood(self, v: Tensor) -> Tensor:
        """Log p(v) of samples `[num_samples, sizes[0]]`, exactly: over all states of the layers between.

        Raises:
            ValueError: a layer between has more than 20 units, or either side of the highest machine.
        """
        self.layers[0].check_visible(v)
        return self._log_likelihood(v, self.layers)

    def _log_likelihood(self, v: Tensor, layers: Sequence[RBM]) -> Tensor:
        rbm = layers[0]
        if len(layers) == 1:
            return rbm.log_likelihood(v)
        h = all_states("a layer", rbm.num_hidden, rbm.weight)
        field = rbm.to_visible(h) + rbm.visible_bias
        given = v @ field.T - rbm.kind.base(v)[:, None] - rbm.kind.log_partition(field).sum(-1)
        return torch.logsumexp(given + self._log_likelihood(h, layers[1:]), 1)

    @torch.no_grad()
    def to_network(self, num_outputs: int) -> nn.Sequential:
        """A feed-forward network for fine-tuning: the layers upward with their weights, then a linear layer.

        The network computes what `forward` does, and a linear map of it, whose weights begin at 0. Its
        weights are copies; those of a sparse layer stay on its edges.
        """
        check_count("num_outputs", num_outputs, 1)
        parts: list[nn.Module] = []
        for rbm in self.layers:
            graph = None if rbm.is_complete else rbm.graph
            layer = Linear(rbm.num_visible, rbm.num_hidden, graph=graph).to(rbm.weight)
            layer.weight.copy_(rbm.weight)
            layer.bias.copy_(rbm.hidden_bias)
            parts += [layer, nn.Sigmoid()]
        last = Linear(self.top.num_hidden, num_outputs).to(self.top.weight)
        last.weight.zero_()
        last.bias.zero_()
        return nn.Sequential(*parts, last)


def _checked(sizes: Sequence[int]) -> Sequence[int]:
    if not isinstance(sizes, list | tuple) or len(sizes) < 2:
        raise ValueError(f"sizes is {sizes!r}, but must be the number of units of two layers or more.")
    for size in sizes:
        check_count("sizes", size, 1)
    return sizes


def _check_stack(rbms: Sequence[RBM]) -> None:
    if not rbms:
        raise ValueError("rbms is empty, but there must be one RBM at least.")
    for number, (below, above) in enumerate(pairwise(rbms)):
        if below.num_hidden != above.num_visible or above.units != "binary":
            raise ValueError(
                f"rbms[{number + 1}] has {above.num_visible} {above.units} visible units, but must have "
                f"those of the layer below, {below.num_hidden} binary ones."
            )
