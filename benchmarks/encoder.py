"""The 4-2-4 encoder of Ackley, Hinton and Sejnowski (1985): how many starts learn it, and how soon.

    python benchmarks/encoder.py                 # 40 starts of at most 2,000 cycles, some minutes of one core
    python benchmarks/encoder.py --starts 4 --cycles 200

Two groups of four visible units see each other through two hidden units only: one unit of each group is on,
the same in both. A cycle clamps each of the four patterns twice, with noise, and lets the machine run free as
often; then each weight moves by 2 in the direction of its slope. A start is solved when the four patterns
have four codes, and the most likely second group, given the first, is the right one: found by enumeration at
the last temperature, after each cycle.

All starts are one machine on a graph with a part for each, and differ by their random numbers alone.
"""

from __future__ import annotations

import argparse
import time
from itertools import combinations

import torch
from torch import Tensor

from mpnn import Graph, propagate
from mpnn.models import BoltzmannLearning, BoltzmannMachine, noisy

GROUP, HIDDEN = 4, 2
UNITS = 2 * GROUP + HIDDEN
TWICE, STEP, TEMPERATURE = 2, 2.0, 10.0


def encoder(copies: int) -> Graph:
    """The graph of some encoders side by side, `UNITS` units each: two groups, then the hidden units."""
    one, other = range(GROUP), range(GROUP, 2 * GROUP)
    pairs = [*combinations(one, 2), *combinations(other, 2)]
    pairs += [(i, j) for i in (*one, *other) for j in range(2 * GROUP, UNITS)]
    edges = torch.tensor(pairs).T
    edges = torch.cat([edges, edges.flip(0)], 1)
    shift = UNITS * torch.arange(copies)
    return Graph((edges[:, None] + shift[:, None]).flatten(1), UNITS * copies)


def energies(machine: BoltzmannMachine, states: Tensor) -> Tensor:
    """The energy of each copy, `[copies, ...]`, where all are in the same states `[UNITS, ...]`."""
    copies = machine.graph.num_nodes // UNITS
    everyone = states.repeat(copies, 1)
    received = propagate(machine.graph, machine.message, s=everyone, w=machine.weight)
    parts = everyone * (0.5 * received + machine.bias[:, None])
    return -parts.view(copies, UNITS, -1).sum(1)


@torch.no_grad()
def solved(machine: BoltzmannMachine) -> Tensor:
    """Which copies have learned it, `[copies]`."""
    units = torch.eye(GROUP)
    bits = (torch.arange(2**HIDDEN)[:, None] >> torch.arange(HIDDEN) & 1).float()
    everything = (torch.arange(2**GROUP)[:, None] >> torch.arange(GROUP) & 1).float()
    sides = [units.repeat_interleave(len(everything), 0), everything.repeat(GROUP, 1)]
    visible = torch.cat(sides, 1).repeat_interleave(len(bits), 0)
    states = torch.cat([visible, bits.repeat(GROUP * len(everything), 1)], 1).T
    log_p = (-energies(machine, states.contiguous()) / TEMPERATURE).view(
        -1, GROUP, len(everything), len(bits)
    )
    right = 2 ** torch.arange(GROUP)  # the number of the state in which only that unit is on
    completes = (log_p.logsumexp(3).argmax(2) == right).all(1)
    codes = log_p[:, torch.arange(GROUP), right].argmax(2)
    return completes & (codes.sort(1).values == torch.arange(GROUP)).all(1)


def run(starts: int, cycles: int, seed: int = 0) -> list[int]:
    """The cycle in which each start was solved for the first time, as far as it was."""
    machine = BoltzmannMachine(encoder(starts))
    inside = torch.arange(UNITS * starts) % UNITS
    learning = BoltzmannLearning(machine, inside < 2 * GROUP, seed=seed)
    patterns = torch.eye(GROUP).repeat(2, TWICE).repeat(starts, 1)
    found = torch.zeros(starts, dtype=torch.int64)
    for cycle in range(1, cycles + 1):
        machine.zero_grad()
        learning.backward(noisy(patterns, seed=(seed << 32) + cycle))
        with torch.no_grad():
            for parameter in machine.parameters():
                assert parameter.grad is not None
                parameter.sub_(STEP * parameter.grad.sign())
        found[(found == 0) & solved(machine)] = cycle
        if bool((found > 0).all()):
            break
    return found[found > 0].sort().values.tolist()


def main() -> None:
    """Read the command line, print when the starts were solved."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--starts", type=int, default=40)
    parser.add_argument("--cycles", type=int, default=2000)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    began = time.process_time()
    found = run(arguments.starts, arguments.cycles, arguments.seed)
    early = sum(cycle <= 1000 for cycle in found)
    middle = f", the median in cycle {found[len(found) // 2]}, the last in {found[-1]}" if found else ""
    print(
        f"{len(found)} of {arguments.starts} starts solved within {arguments.cycles:,} cycles, {early} "
        f"within 1,000{middle}; {time.process_time() - began:.0f} s"
    )


if __name__ == "__main__":
    main()
