"""The Ising model on a torus: its energy and magnetisation beside Onsager's exact solution.

    python benchmarks/ising.py                                  # K = 0.3 and 0.5 on 64 × 64, some minutes
    python benchmarks/ising.py --side 32 --sweeps 500

A `BoltzmannMachine` with spins on `topology.lattice`, which is bipartite where its sides are even: a sweep
draws the black fields, then the white ones. All chains begin with every spin up, and the first tenth of the
sweeps is not counted. Above the critical coupling ½ log(1 + √2) = 0.4407 spins stay aligned (Onsager, 1944;
Yang, 1952).

Each pair of neighbours has one edge in either direction. On a torus with a side of 2 a spin's neighbours on
both sides are the same spin: `lattice` has one edge for both, where textbooks count the bond twice.
"""

from __future__ import annotations

import argparse
import math
import time

import torch
from scipy.special import ellipk
from torch import Tensor

from mpnn import Schedule, topology
from mpnn.models import BoltzmannMachine


def onsager_energy(coupling: float) -> float:
    """The energy per spin, in units of the coupling, on a lattice without an end."""
    k = 2 * math.sinh(2 * coupling) / math.cosh(2 * coupling) ** 2
    tanh = math.tanh(2 * coupling)
    return -(1 + 2 / math.pi * (2 * tanh**2 - 1) * float(ellipk(k**2))) / tanh


def yang_magnetisation(coupling: float) -> float:
    """The magnetisation per spin; 0 below the critical coupling."""
    size = 1 - math.sinh(2 * coupling) ** -4
    return size**0.125 if size > 0 else 0.0


def measure(side: int, coupling: float, sweeps: int, chains: int, seed: int) -> tuple[Tensor, Tensor]:
    """The energy per spin, in units of the coupling, and the size of the magnetisation, of each chain."""
    lattice = topology.lattice((side, side), torus=True)
    machine = BoltzmannMachine(lattice, units="spin", weight=coupling)
    schedule = Schedule.alternating(topology.colouring(lattice))
    state, found, every = torch.ones(side * side, chains), [], 10
    first = sweeps // 10
    for sweep in range(0, sweeps, every):
        state = machine.chain(state, schedule, every, seed=seed, first=sweep).state
        if sweep >= first:
            energy = machine.energy(state).detach().double() / coupling / side**2
            found.append(torch.stack([energy, state.double().mean(0).abs()]))
    energies, sizes = torch.stack(found).mean(0)
    return energies, sizes


def shown(found: Tensor, exact: float) -> str:
    """A mean over chains, its standard error, and how far it is from the exact value."""
    mean, error = float(found.mean()), float(found.std()) / math.sqrt(len(found))
    if not exact:
        return f"{mean:.5f} ± {error:.5f} | – | –"
    return f"{mean:.5f} ± {error:.5f} | {exact:.5f} | {mean - exact:+.5f}"


def main() -> None:
    """Read the command line, print a table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--coupling", type=float, nargs="+", default=[0.3, 0.5], metavar="K")
    parser.add_argument("--side", type=int, default=64)
    parser.add_argument("--sweeps", type=int, default=5000)
    parser.add_argument("--chains", type=int, default=64)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    torch.set_num_threads(1)
    print("| K | energy | Onsager | difference | magnetisation | Yang | difference | seconds |")
    print("|---|---|---|---|---|---|---|---|")
    for coupling in given.coupling:
        began = time.process_time()
        energy, size = measure(given.side, coupling, given.sweeps, given.chains, given.seed)
        cells = shown(energy, onsager_energy(coupling)), shown(size, yang_magnetisation(coupling))
        seconds = time.process_time() - began
        print(f"| {coupling} | {cells[0]} | {cells[1]} | {seconds:.0f} |", flush=True)


if __name__ == "__main__":
    main()
