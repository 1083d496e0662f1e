"""The Boltzmann machine: a Hopfield network with noise, on any graph (Ackley, Hinton and Sejnowski, 1985)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import torch
from torch import Tensor, nn

from mpnn import EachSweep, Graph, Iterated, MessagePassing, Schedule, energy, iterate, topology, uniforms
from mpnn.graph.adjacency import Topology, as_graph
from mpnn.graph.checks import checked_positions
from mpnn.models.energy.enumeration import all_states
from mpnn.models.parts.checks import check_count, check_number

Units = Literal["binary", "spin"]
Temperature = float | Callable[[int], float]
VALUES = {"binary": (0.0, 1.0), "spin": (-1.0, 1.0)}


class BoltzmannMachine(MessagePassing):
    """p(s) ∝ exp(-E(s) / T),  E(s) = -½ Σ_ij w_ij s_i s_j - Σ_i b_i s_i.

    A sweep draws every unit anew from the others: with probability σ((high - low) (a_i + b_i) / T), where
    a_i = Σ_j w_ij s_j, it becomes the higher of its two values (Gibbs sampling). Units of one colour have no
    edge between them and are drawn at once. With spins on a lattice it is the Ising model; on a torus with a
    side of 2, `topology.lattice` has one edge where a spin's neighbours are one, and physics two bonds.

    Args:
        graph: which units are connected, each pair in both directions and no unit with itself.
        num_units: how many there are, where `graph` is an edge_index.
        units: "binary", 0 and 1, or "spin", -1 and 1.
        weight: `[num_edges]`, in the order of the edges, the same in both directions; or a number for all.
        bias: `[num_units]`; or a number for all.

    Shapes: a state is `[num_units]`, or `[num_units, num_chains]` for several chains at once.

    >>> pair = torch.tensor([[0, 1], [1, 0]])
    >>> machine = BoltzmannMachine(pair, weight=1.0)
    >>> machine.log_partition().detach()  # log(1 + 1 + 1 + e), of the four states
    tensor(1.7437)
    """

    state = ("s",)

    def __init__(
        self,
        graph: Topology,
        num_units: int | None = None,
        *,
        units: Units = "binary",
        weight: Tensor | float = 0.0,
        bias: Tensor | float = 0.0,
    ) -> None:
        super().__init__("sum")
        if units not in VALUES:
            raise ValueError(f"units is {units!r}, but must be one of {', '.join(VALUES)}.")
        for name, value in (("weight", weight), ("bias", bias)):
            if not isinstance(value, Tensor):
                check_number(name, value)
        if num_units is not None:
            check_count("num_units", num_units, 0)
            if isinstance(graph, Graph) and num_units != graph.num_nodes:
                raise ValueError(f"num_units is {num_units}, but the graph has {graph.num_nodes} nodes.")
        self.graph = as_graph(graph, num_units)
        self.units, (self.low, self.high) = units, VALUES[units]
        self.weight = nn.Parameter(_filled("weight", weight, self.graph.num_edges))
        self.bias = nn.Parameter(_filled("bias", bias, self.graph.num_nodes))
        zero = torch.zeros(self.graph.num_nodes)
        energy(self, self.graph, zero, w=self.weight.detach())  # or the sentence that says what is missing

    def message(self, s_j: Tensor, w: Tensor) -> Tensor:  # type: ignore[override]
        """w_ij s_j."""
        return w.view(-1, *[1] * (s_j.dim() - 1)) * s_j

    def update(self, inputs: Tensor, b: Tensor, u: Tensor, temperature: float) -> Tensor:  # type: ignore[override]
        """The higher value where u_i < σ((high - low) (a_i + b_i) / T)."""
        field = inputs + b.view(-1, *[1] * (inputs.dim() - 1))
        chance = torch.sigmoid((self.high - self.low) / temperature * field)
        return torch.where(u < chance, self.high, self.low).to(inputs.dtype)

    @torch.no_grad()
    def sample(
        self,
        state: Tensor | None = None,
        *,
        sweeps: int = 1,
        num_chains: int = 1,
        seed: int = 0,
        first: int = 0,
        temperature: Temperature = 1.0,
        clamped: Tensor | None = None,
        uniform: Callable[[int], Tensor] | None = None,
    ) -> Tensor:
        """The state after some sweeps of Gibbs sampling.

        Args:
            state: `[num_units]` or `[num_units, num_chains]`; by default drawn, each value as likely.
            sweeps: how many.
            num_chains: where there is no state.
            seed: of the random numbers, which follow from it, the sweep and the unit alone.
            first: the number of the first sweep: a chain that is cut goes on with the number that it reached.
            temperature: T, or a function of the sweep, which anneals (Kirkpatrick et al., 1983).
            clamped: the units that keep their value, positions or a mask `[num_units]`.
            uniform: numbers from 0 to 1 in the form of the state for a sweep, in place of drawn ones.
        """
        if state is None:
            drawn = uniforms(seed, -1, (self.graph.num_nodes, num_chains), dtype=self.bias.dtype)
            state = torch.where(drawn.to(self.bias.device) < 0.5, self.low, self.high).to(self.bias.dtype)
        schedule = Schedule.alternating(topology.colouring(self.graph), clamped=clamped)
        found: Tensor = self.chain(
            state, schedule, sweeps, seed=seed, first=first, temperature=temperature, uniform=uniform
        ).state
        return found

    @torch.no_grad()
    def chain(
        self,
        state: Tensor,
        schedule: Schedule,
        sweeps: int,
        *,
        seed: int = 0,
        first: int = 0,
        temperature: Temperature = 1.0,
        uniform: Callable[[int], Tensor] | None = None,
        record: int | None = None,
    ) -> Iterated:
        """The same under a schedule of the caller's, and the states after every `record` sweeps.

        Units that are drawn at once must have no edge between them; a schedule that is used again is
        prepared once.
        """
        self._check(state)
        shape, dtype, device = tuple(state.shape), state.dtype, state.device

        def draw(sweep: int) -> Tensor:
            if uniform is not None:
                return uniform(first + sweep)
            return uniforms(seed, first + sweep, shape, dtype=dtype, device=device)

        def heat(sweep: int) -> float:
            return temperature(first + sweep) if callable(temperature) else temperature

        return iterate(
            self,
            self.graph,
            state,
            schedule=schedule,
            steps=sweeps,
            record=record,
            w=self.weight.to(dtype),
            b=self.bias.to(dtype),
            u=EachSweep(draw),
            temperature=EachSweep(heat),
        )

    def energy(self, state: Tensor) -> Tensor:
        """E of a state, `[]`, or `[num_chains]`; it has gradients at weights and biases."""
        self._check(state)
        return energy(
            self,
            self.graph,
            state,
            bias=self.bias.to(state.dtype),
            check=False,
            w=self.weight.to(state.dtype),
        )

    def all_states(self) -> Tensor:
        """Every state there is, `[num_units, 2 ** num_units]`.

        Raises:
            ValueError: there are more than 20 units.
        """
        states = all_states("the machine", self.graph.num_nodes, self.bias, self.low, self.high)
        return states.T.contiguous()

    def log_partition(self, temperature: float = 1.0) -> Tensor:
        """Log Z = log Σ_s exp(-E(s) / T), over all states of at most 20 units; it has gradients."""
        return torch.logsumexp(-self.energy(self.all_states()) / temperature, 0)

    def log_likelihood(self, patterns: Tensor, visible: Tensor, temperature: float = 1.0) -> Tensor:
        """Log p of what some units are, over all states of the others; it has gradients.

        Args:
            patterns: `[num_visible, num_patterns]`, the values of the visible units.
            visible: the positions of these units, `[num_visible]`.
            temperature: T.

        Returns:
            `[num_patterns]`.

        Raises:
            ValueError: there are more than 20 units.
        """
        number = self.graph.num_nodes
        log_z = self.log_partition(temperature)
        visible = checked_positions("visible", visible, number, self.bias.device)
        if patterns.dim() != 2 or len(patterns) != len(visible):
            raise ValueError(
                f"patterns must be [{len(visible)}, num_patterns], got shape {list(patterns.shape)}."
            )
        is_hidden = torch.ones(number, dtype=torch.bool, device=visible.device).index_fill(0, visible, False)
        others = all_states("the machine", int(is_hidden.sum()), self.bias, self.low, self.high)
        states = self.bias.new_empty(number, patterns.size(1), len(others))
        states[visible] = patterns.to(self.bias)[:, :, None]
        states[is_hidden] = others.T[:, None]
        energies = self.energy(states.flatten(1)).view(patterns.size(1), len(others))
        return torch.logsumexp(-energies / temperature, 1) - log_z

    def extra_repr(self) -> str:
        """The number of units, and of which kind."""
        return f"{self.graph.num_nodes}, num_edges={self.graph.num_edges}, units={self.units!r}"

    def _check(self, state: Tensor) -> None:
        bad = ((state != self.low) & (state != self.high)).nonzero()
        if bad.numel():
            place = tuple(bad[0].tolist())
            raise ValueError(
                f"state{list(place)} is {state[place].item()}, but {self.units} units are {self.low:g} or "
                f"{self.high:g}."
            )


def _filled(name: str, given: Tensor | float, number: int) -> Tensor:
    if not isinstance(given, Tensor):
        return torch.full((number,), float(given))
    if given.shape != (number,):
        raise ValueError(f"{name} must be [{number}], got shape {list(given.shape)}.")
    return given.detach().clone()
