"""The restricted Boltzmann machine: edges between visible and hidden units only (Smolensky, 1986)."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor, nn

from mpnn import Graph, MessagePassing, uniforms
from mpnn.functional import linear, matmul
from mpnn.graph.adjacency import Topology
from mpnn.layer.shortcut import goes_dense, straight
from mpnn.models.energy.boltzmann_machine import BoltzmannMachine
from mpnn.models.energy.enumeration import MOST_ENUMERATED, all_states
from mpnn.models.energy.sides import between
from mpnn.models.energy.units import KINDS, Kind, check_bits, softplus
from mpnn.models.parts.checks import at_least, ranges
from mpnn.topology import complete_bipartite

Uniforms = Callable[[int], tuple[Tensor, Tensor]]  # of a sweep: those of the visible and of the hidden units


class Moments(NamedTuple):
    """Sums over samples: what an RBM learns from."""

    weight: Tensor  # Σ v_i h_j, in the form of the weights
    visible_bias: Tensor  # Σ v_i
    hidden_bias: Tensor  # Σ h_j


@ranges(num_visible=at_least(1), num_hidden=at_least(1))
class RBM(MessagePassing):
    """p(v, h) ∝ exp(-E(v, h)),  E(v, h) = -Σ_ij w_ij v_i h_j - Σ_i b_i v_i - Σ_j c_j h_j.

    The graph leads from the visible to the hidden units, and messages w_ij v_i along it, or w_ij h_j against
    it, are what a unit receives. No unit has an edge to one of its own side, so that each side is drawn at
    once from the other: Gibbs sampling of two colours. Without a graph every visible unit has an edge to
    every hidden one, and the sums are products of matrices.

    Args:
        num_visible: the number of visible units.
        num_hidden: that of hidden units, which are 0 or 1.
        graph: which of them are connected; `bipartite` of size `(num_visible, num_hidden)`, an edge_index
            from visible to hidden units, or a graph of all units, the visible ones first, that holds each
            pair in both directions.
        units: "binary", visible units of 0 and 1; or "gaussian", numbers with noise of variance 1, whose
            energy is ½ Σ_i v_i² larger.

    Shapes: v `[*, num_visible]`, h `[*, num_hidden]`; `weight` is `[num_hidden, num_visible]`, or with a
    graph `[num_edges]`, in the order of its edges from visible to hidden units.

    Raises:
        ValueError: an edge inside one side, or a graph of another size.

    >>> rbm = RBM(3, 2)
    >>> rbm.hidden(torch.ones(5, 3)).shape, rbm.free_energy(torch.ones(5, 3)).shape
    (torch.Size([5, 2]), torch.Size([5]))
    >>> v, h = rbm.sample(num_chains=4, sweeps=10)
    >>> v.shape, h.shape
    (torch.Size([4, 3]), torch.Size([4, 2]))
    """

    has_own_edges = True

    def __init__(
        self, num_visible: int, num_hidden: int, *, graph: Topology | None = None, units: Kind = "binary"
    ) -> None:
        super().__init__("sum")
        if units not in KINDS:
            raise ValueError(f"units is {units!r}, but must be one of {', '.join(KINDS)}.")
        self.num_visible, self.num_hidden, self.units = num_visible, num_hidden, units
        self.graph: Graph = complete_bipartite(num_visible, num_hidden)
        self.is_complete = graph is None
        if graph is not None:
            self.graph = between(graph, num_visible, num_hidden)
        shape = (num_hidden, num_visible) if self.is_complete else (self.graph.num_edges,)
        self.weight = nn.Parameter(torch.empty(shape))
        self.visible_bias = nn.Parameter(torch.empty(num_visible))
        self.hidden_bias = nn.Parameter(torch.empty(num_hidden))
        self.kind = KINDS[units]
        self.reset_parameters()

    @torch.no_grad()
    def reset_parameters(self) -> None:
        """Draw the weights anew, normal numbers of deviation 0.01; the biases become 0."""
        self.weight.normal_(0, 0.01)
        self.visible_bias.zero_()
        self.hidden_bias.zero_()

    @torch.no_grad()
    def start_from(self, v: Tensor) -> RBM:
        """Give the visible units the biases with which they alone have the means of samples."""
        self.check_visible(v)
        self.visible_bias.copy_(self.kind.bias(v.to(self.weight.dtype)))
        return self

    # What a unit receives ---------------------------------------------------------------------------------

    def message(self, s_j: Tensor, w: Tensor) -> Tensor:  # type: ignore[override]
        """w_ij s_j."""
        return w[:, None] * s_j

    def to_hidden(self, v: Tensor) -> Tensor:
        """Σ_i w_ij v_i, `[*, num_hidden]`."""
        if self.is_complete and goes_dense(self, RBM):
            return straight(self, "linear map", linear, v, self.weight)
        return self._along(self.graph, v, self.weight)

    def to_visible(self, h: Tensor) -> Tensor:
        """Σ_j w_ij h_j, `[*, num_visible]`."""
        if self.is_complete and goes_dense(self, RBM):
            return straight(self, "linear map", matmul, h, self.weight)
        return self._along(self.graph.reverse(), h, self.weight)

    def _along(self, graph: Graph, state: Tensor, weight: Tensor) -> Tensor:
        samples = state.flatten(0, -2) if state.dim() > 1 else state[None]
        graph = graph.to(state.device)
        out: Tensor = self.propagate(graph, s=(samples.T.contiguous(), None), w=weight.flatten())
        return out.T.reshape(*state.shape[:-1], graph.num_dst)

    # What follows from it ---------------------------------------------------------------------------------

    def forward(self, v: Tensor) -> Tensor:
        """`hidden`, where values that the visible units cannot have are refused."""
        self.check_visible(v)
        return self.hidden(v)

    def hidden(self, v: Tensor) -> Tensor:
        """p(h_j = 1 | v) = σ(c_j + Σ_i w_ij v_i)."""
        return torch.sigmoid(self.to_hidden(v) + self.hidden_bias)

    def visible(self, h: Tensor) -> Tensor:
        """The mean of v_i given h: σ(b_i + Σ_j w_ij h_j), or of gaussian units b_i + Σ_j w_ij h_j."""
        return self.kind.mean(self.to_visible(h) + self.visible_bias)

    def draw_visible(self, h: Tensor, u: Tensor) -> Tensor:
        """V given h, from numbers 0 <= u < 1, `[*, num_visible]`."""
        return self.kind.draw(self.to_visible(h) + self.visible_bias, u)

    def draw_hidden(self, v: Tensor, u: Tensor) -> Tensor:
        """H given v, from numbers 0 <= u < 1, `[*, num_hidden]`."""
        return (u < self.hidden(v)).to(v.dtype)

    def energy(self, v: Tensor, h: Tensor) -> Tensor:
        """E(v, h), `[*]`."""
        self.check_visible(v)
        self.check_hidden(h)
        alone = self.kind.base(v) - v @ self.visible_bias - h @ self.hidden_bias
        return alone - (h * self.to_hidden(v)).sum(-1)

    def free_energy(self, v: Tensor) -> Tensor:
        """F(v) = -log Σ_h exp(-E(v, h)) = -b·v - Σ_j log(1 + exp(c_j + Σ_i w_ij v_i)), `[*]`."""
        self.check_visible(v)
        received = softplus(self.to_hidden(v) + self.hidden_bias).sum(-1)
        return self.kind.base(v) - v @ self.visible_bias - received

    def log_partition(self) -> Tensor:
        """Log Z = log Σ_v,h exp(-E(v, h)), over the states of the side that has fewer units; with gradients.

        Raises:
            ValueError: that side has more than 20 units; `mpnn.models.annealed_log_partition` estimates.
        """
        if self.units == "binary" and self.num_visible < self.num_hidden:
            states = all_states("the visible side", self.num_visible, self.weight)
            parts = [torch.logsumexp(-self.free_energy(some), 0) for some in _pieces(states, self.num_hidden)]
            return torch.logsumexp(torch.stack(parts), 0)
        states = all_states("the hidden side", self.num_hidden, self.weight)
        parts = []
        for some in _pieces(states, self.num_visible):
            alone = self.kind.log_partition(self.to_visible(some) + self.visible_bias).sum(-1)
            parts.append(torch.logsumexp(some @ self.hidden_bias + alone, 0))
        return torch.logsumexp(torch.stack(parts), 0)

    def log_likelihood(self, v: Tensor) -> Tensor:
        """Log p(v) = -F(v) - log Z, `[*]`; exact, with gradients, where `log_partition` is."""
        return -self.free_energy(v) - self.log_partition()

    @torch.no_grad()
    def moments(self, v: Tensor, h: Tensor) -> Moments:
        """Σ v_i h_j for each edge, Σ v_i and Σ h_j over samples v `[S, num_visible]`, h `[S, num_hidden]`.

        With the probabilities of h given v they are the slopes of -Σ F(v).
        """
        if self.is_complete:
            return Moments(h.T @ v, v.sum(0), h.sum(0))
        with torch.enable_grad():  # Σ_s h_j v_i is the gradient of the weight
            weight = self.weight.detach().requires_grad_()
            (pairs,) = torch.autograd.grad(self._along(self.graph, v, weight), weight, h)
        return Moments(pairs, v.sum(0), h.sum(0))

    # Sampling ---------------------------------------------------------------------------------------------

    @torch.no_grad()
    def sample(
        self,
        hidden: Tensor | None = None,
        *,
        sweeps: int = 1,
        num_chains: int = 1,
        seed: int = 0,
        first: int = 0,
        uniform: Uniforms | None = None,
    ) -> tuple[Tensor, Tensor]:
        """The state (v, h) after some sweeps: each draws v given h, then h given v.

        Args:
            hidden: the hidden units at the beginning, `[num_chains, num_hidden]`; by default drawn, each
                value as likely.
            sweeps: how many, at least 1.
            num_chains: where there are no hidden units.
            seed: of the random numbers, which follow from it, the sweep and the unit alone; the visible
                units come first.
            first: the number of the first sweep: a chain that is cut goes on with the number that it reached.
            uniform: numbers from 0 on and below 1 for a sweep, in place of drawn ones: those of the visible
                units `[num_chains, num_visible]` and of the hidden ones `[num_chains, num_hidden]`.
        """
        if isinstance(sweeps, bool) or not isinstance(sweeps, int) or sweeps < 1:
            raise ValueError(f"sweeps is {sweeps!r}, but must be a number of sweeps from 1 on.")
        if hidden is None:
            hidden = (self.uniforms(seed, -1, num_chains)[1] < 0.5).to(self.weight.dtype)
        self.check_hidden(hidden)
        for sweep in range(first, first + sweeps):
            u_v, u_h = uniform(sweep) if uniform is not None else self.uniforms(seed, sweep, len(hidden))
            visible = self.draw_visible(hidden, u_v)
            hidden = self.draw_hidden(visible, u_h)
        return visible, hidden

    def uniforms(self, seed: int, sweep: int, num_chains: int) -> tuple[Tensor, Tensor]:
        """The random numbers of a sweep: `[num_chains, num_visible]` and `[num_chains, num_hidden]`."""
        size, like = (self.num_visible + self.num_hidden, num_chains), self.weight
        drawn = uniforms(seed, sweep, size, dtype=like.dtype, device=like.device)
        visible, hidden = drawn.T.split([self.num_visible, self.num_hidden], 1)  # type: ignore[no-untyped-call]
        return visible, hidden

    # The same machine otherwise ---------------------------------------------------------------------------

    @torch.no_grad()
    def transposed(self) -> RBM:
        """A machine of the same weights, whose visible units are the hidden ones of this.

        Raises:
            ValueError: the visible units are gaussian, and hidden ones are not.
        """
        self._require_binary("a transposed machine")
        graph = None if self.is_complete else self.graph.reverse()
        other = RBM(self.num_hidden, self.num_visible, graph=graph).to(self.weight)
        other.weight.copy_(self.weight.T if self.is_complete else self.weight)
        other.visible_bias.copy_(self.hidden_bias)
        other.hidden_bias.copy_(self.visible_bias)
        return other

    @torch.no_grad()
    def as_boltzmann_machine(self) -> BoltzmannMachine:
        """The `BoltzmannMachine` of all units, the visible ones first, with the same energy.

        Raises:
            ValueError: the visible units are gaussian.
        """
        self._require_binary("a BoltzmannMachine")
        src, dst = self.graph.src, self.graph.dst + self.num_visible
        both = torch.stack([torch.cat([src, dst]), torch.cat([dst, src])])
        weight = self.weight.flatten()
        bias = torch.cat([self.visible_bias, self.hidden_bias])
        machine = BoltzmannMachine(
            both, self.num_visible + self.num_hidden, weight=torch.cat([weight, weight]), bias=bias
        )
        return machine.to(self.weight)

    # Checks -----------------------------------------------------------------------------------------------

    def check_visible(self, v: Tensor, name: str = "v") -> None:
        """Require values that the visible units can have, `[*, num_visible]`."""
        _check_shape(name, v, self.num_visible)
        self.kind.check(name, v)

    def check_hidden(self, h: Tensor, name: str = "h") -> None:
        """Require 0 and 1, `[*, num_hidden]`."""
        _check_shape(name, h, self.num_hidden)
        check_bits(name, h)

    def _require_binary(self, what: str) -> None:
        if self.units != "binary":
            raise ValueError(f"units is {self.units!r}, but {what} has binary units.")

    def extra_repr(self) -> str:
        """The numbers of units and of edges, and of which kind the visible ones are."""
        edges = "" if self.is_complete else f", num_edges={self.graph.num_edges}"
        return f"{self.num_visible}, {self.num_hidden}{edges}, units={self.units!r}"


def _check_shape(name: str, values: Tensor, number: int) -> None:
    if not values.dim() or values.size(-1) != number:
        raise ValueError(f"{name} must be [*, {number}], got shape {list(values.shape)}.")


def _pieces(states: Tensor, width: int) -> tuple[Tensor, ...]:
    """States, as many at once as keep what the other side receives within some megabytes."""
    return states.split(max(1, 2**MOST_ENUMERATED // width))  # type: ignore[no-untyped-call, no-any-return]
