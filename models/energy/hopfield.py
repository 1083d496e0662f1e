"""Hopfield's network: patterns are remembered as minima of an energy (Hopfield, 1982)."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

from mpnn import Iterated, MessagePassing, Schedule, energy, iterate, topology
from mpnn.graph.adjacency import Topology, as_graph
from mpnn.graph.graph import Graph
from mpnn.models.parts.checks import check_count

Rule = Literal["hebb", "pseudo-inverse"]
Mode = Literal["async", "sync"]


class HopfieldNetwork(MessagePassing):
    """s_i' = sign(Σ_j w_ij s_j), and s_i where the sum is 0.

    One neuron after the other the energy -½ Σ_ij w_ij s_i s_j never rises, and the state ends in a minimum of
    it. All at once two states may follow each other for ever.

    Args:
        num_neurons: how many neurons there are.
        graph: which of them are connected, each pair in both directions and no neuron with itself; by default
            all.

    Shapes: a state is `[num_neurons]`, or `[num_neurons, num_states]` for several at once, entries ±1;
    `weight` is `[num_edges]`, in the order of the graph's edges.

    >>> network = HopfieldNetwork(4).fit(torch.tensor([[1.0, 1.0, -1.0, -1.0]]))
    >>> network.predict(torch.tensor([1.0, 1.0, 1.0, -1.0])).state
    tensor([ 1.,  1., -1., -1.])
    """

    state = ("s",)
    weight: Tensor

    def __init__(self, num_neurons: int, graph: Topology | None = None) -> None:
        super().__init__("sum")
        check_count("num_neurons", num_neurons, 1)
        self.num_neurons = num_neurons
        everyone = topology.complete(num_neurons, self_loops=False)
        self.graph: Graph = everyone if graph is None else as_graph(graph, num_neurons)
        self.register_buffer("weight", torch.zeros(self.graph.num_edges))

    def fit(self, patterns: Tensor, rule: Rule = "hebb") -> HopfieldNetwork:
        """Remember patterns.

        Args:
            patterns: `[num_patterns, num_neurons]`, entries ±1.
            rule: "hebb", w_ij = Σ_p ξ_i ξ_j / N, which remembers 0.138 N random patterns; or
                "pseudo-inverse", W = Ξ⁺ Ξ, under which up to N patterns are fixed, correlated ones too
                (Personnaz, Guyon and Dreyfus, 1985).

        Raises:
            ValueError: an entry is not ±1, or there is no pattern, or another number of neurons.
        """
        if patterns.dim() != 2 or patterns.size(1) != self.num_neurons or not len(patterns):
            raise ValueError(
                f"patterns must be [num_patterns, {self.num_neurons}], got shape {list(patterns.shape)}."
            )
        _check_spins("patterns", patterns)
        if rule not in ("hebb", "pseudo-inverse"):
            raise ValueError(f"rule is {rule!r}, but must be 'hebb' or 'pseudo-inverse'.")
        one, other = self.graph.src, self.graph.dst
        left = patterns if rule == "hebb" else torch.linalg.pinv(patterns).T
        weight = patterns.new_zeros(self.graph.num_edges)
        for left_row, row in zip(left, patterns, strict=True):  # one number for each edge at a time
            weight += left_row[other] * row[one]
        self.weight = weight / self.num_neurons if rule == "hebb" else weight
        return self

    def message(self, s_j: Tensor, w: Tensor) -> Tensor:  # type: ignore[override]
        """w_ij s_j."""
        return w.view(-1, *[1] * (s_j.dim() - 1)) * s_j

    def update(self, inputs: Tensor, s: Tensor) -> Tensor:  # type: ignore[override]
        """sign(a_i), or s_i where a_i is 0."""
        return torch.where(inputs == 0, s, inputs.sign())

    def predict(
        self, state: Tensor, *, mode: Mode = "async", steps: int | None = None, seed: int = 0
    ) -> Iterated:
        """Go on from a state until nothing changes.

        Args:
            state: `[num_neurons]` or `[num_neurons, num_states]`, entries ±1.
            mode: "async", one neuron after the other, in an order that `seed` draws; or "sync", all at once.
            steps: the largest number of sweeps, by default 1000.
            seed: of the order.

        Returns:
            The state, the number of sweeps, and how they ended, see `mpnn.iterate`.
        """
        _check_spins("state", state)
        if mode not in ("async", "sync"):
            raise ValueError(f"mode is {mode!r}, but must be 'async' or 'sync'.")
        schedule = Schedule.parallel()
        if mode == "async":
            generator = torch.Generator().manual_seed(seed)
            schedule = Schedule.asynchronous(torch.randperm(self.num_neurons, generator=generator))
        return iterate(
            self, self.graph, state, schedule=schedule, until=0, steps=steps, w=self.weight.to(state.dtype)
        )

    def forward(self, state: Tensor) -> Tensor:
        """One step of all neurons at once."""
        new: Tensor = iterate(self, self.graph, state, w=self.weight.to(state.dtype)).state
        return new

    def energy(self, state: Tensor) -> Tensor:
        """-½ Σ_ij w_ij s_i s_j, `[]`, or `[num_states]`."""
        # `fit` makes weights that are the same in both directions: nothing is left to look at.
        return energy(self, self.graph, state, check=False, w=self.weight.to(state.dtype))

    def extra_repr(self) -> str:
        """The number of neurons."""
        return f"{self.num_neurons}, num_edges={self.graph.num_edges}"


def _check_spins(name: str, values: Tensor) -> None:
    bad = (values.abs() != 1).nonzero()
    if bad.numel():
        place = tuple(bad[0].tolist())
        raise ValueError(f"{name}{list(place)} is {values[place].item()}, but must be 1 or -1.")
