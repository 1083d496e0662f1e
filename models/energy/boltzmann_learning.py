"""How a Boltzmann machine learns: pairs that are on together in the data, less pairs in its own dreams."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate

import torch
from torch import Tensor

from mpnn import Schedule, topology, uniforms
from mpnn.graph.checks import checked_positions
from mpnn.models.energy.boltzmann_machine import BoltzmannMachine
from mpnn.models.parts.checks import check_count, check_number, check_probability

Cooling = Sequence[tuple[int, float]]  # sweeps at a temperature
ACKLEY = ((2, 20.0), (2, 15.0), (2, 12.0), (4, 10.0))


class BoltzmannLearning:
    """The gradient of -log p of the visible units, by two phases of sampling (Ackley et al., 1985).

    ∂ log p / ∂w_ij = (⟨s_i s_j⟩ with the data clamped - ⟨s_i s_j⟩ of the free machine) / T, where each
    direction of an edge has half of it. Both phases cool from the highest temperature to the last, and then
    count for some sweeps. `backward` adds the gradient to `.grad` of the parameters, as that of a loss.

    Args:
        machine: learns.
        visible: the positions of the units that the data say, `[num_visible]`.
        cooling: pairs (sweeps, temperature); by default those of the paper, which end at 10.
        counted: how many sweeps are counted, at the last temperature.
        seed: of the random numbers.

    >>> pair = torch.tensor([[0, 1], [1, 0]])
    >>> machine = BoltzmannMachine(pair)
    >>> learning = BoltzmannLearning(machine, torch.tensor([0, 1]), cooling=[(5, 1.0)])
    >>> learning.backward(torch.tensor([[1.0, 0.0], [1.0, 0.0]]))  # the two units are equal
    >>> bool((machine.weight.grad < 0).all())  # a larger weight makes them more likely
    True
    """

    def __init__(
        self,
        machine: BoltzmannMachine,
        visible: Tensor,
        *,
        cooling: Cooling = ACKLEY,
        counted: int = 10,
        seed: int = 0,
    ) -> None:
        check_count("counted", counted, 1)
        if not len(cooling):
            raise ValueError("cooling is empty, but must be pairs (sweeps, temperature).")
        for sweeps, temperature in cooling:
            check_count("cooling", sweeps, 0)
            check_number("cooling", temperature)
            if temperature <= 0:
                raise ValueError(f"cooling has the temperature {temperature}, but must have positive ones.")
        self.machine, self.counted, self.seed = machine, counted, seed
        self.visible = checked_positions("visible", visible, machine.graph.num_nodes, machine.bias.device)
        self.cooling, self.ends = tuple(cooling), list(accumulate(sweeps for sweeps, _ in cooling))
        colours = topology.colouring(machine.graph)
        self.free = Schedule.alternating(colours)
        self.clamped = Schedule.alternating(colours, clamped=self.visible)
        self.phase = 0  # of the next random numbers

    def backward(self, patterns: Tensor) -> None:
        """Add the gradient of -log p, the mean over patterns, to `.grad`.

        Args:
            patterns: `[num_visible, num_patterns]`; each has a chain in either phase, so that one that stands
                there several times has several.
        """
        if patterns.dim() != 2 or len(patterns) != len(self.visible):
            raise ValueError(
                f"patterns must be [{len(self.visible)}, num_patterns], got shape {list(patterns.shape)}."
            )
        machine, temperature = self.machine, self.cooling[-1][1]
        start = machine.sample(sweeps=0, num_chains=patterns.size(1), seed=self._next_seed())
        given = start.index_copy(0, self.visible, patterns.to(start))
        with torch.enable_grad():
            loss = self._energy(given, self.clamped) - self._energy(start, self.free)
            (loss / temperature).backward()  # type: ignore[no-untyped-call]

    def _energy(self, state: Tensor, schedule: Schedule) -> Tensor:
        """The mean energy of the states that are counted; its slope is what is on together."""
        cooled = self.ends[-1]
        chain = self.machine.chain(
            state,
            schedule,
            cooled + self.counted,
            seed=self._next_seed(),
            temperature=self._temperature,
            record=1,
        )
        return self.machine.energy(torch.cat(chain.record[cooled:], 1)).mean()

    def _temperature(self, sweep: int) -> float:
        return next(
            (t for end, (_, t) in zip(self.ends, self.cooling, strict=True) if sweep < end),
            self.cooling[-1][1],
        )

    def _next_seed(self) -> int:
        self.phase += 1
        return self.seed + (self.phase << 32)


def noisy(patterns: Tensor, *, off: float = 0.15, on: float = 0.05, seed: int = 0) -> Tensor:
    """Patterns of 0 and 1 in which each 1 becomes 0 with the chance `off`, and each 0 becomes 1 with `on`.

    With them no state of the visible units is impossible, and weights stay finite (Ackley et al., 1985).

    >>> noisy(torch.ones(2, 1000)).mean() < 0.9
    tensor(True)
    """
    check_probability("off", off)
    check_probability("on", on)
    u = uniforms(seed, 0, patterns.shape, device=patterns.device)
    return torch.where(u < torch.where(patterns > 0, off, on), 1 - patterns, patterns)
