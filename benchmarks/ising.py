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


def measure(side: int, coupling: float, sweeps: int, chains: int, seed: int) -> tuple[float, float]:
    """The mean energy per spin, in units of the coupling, and the mean size of the magnetisation."""
    lattice = topology.lattice((side, side), torus=True)
    machine = BoltzmannMachine(lattice, units="spin", weight=coupling)
    schedule = Schedule.alternating(topology.colouring(lattice))
    state, found, every = torch.ones(side * side, chains), [], 10
    first = sweeps // 10
    for sweep in range(0, sweeps, every):
        state = machine.chain(state, schedule, every, seed=seed, first=sweep).state
        if sweep >= first:
            energy = float(machine.energy(state).detach().double().mean()) / coupling / side**2
            found.append((energy, float(state.mean(0).abs().mean())))
    energies, sizes = zip(*found, strict=True)
    return sum(energies) / len(found), sum(sizes) / len(found)


def main() -> None:
    """Read the command line, print a table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--coupling", type=float, nargs="+", default=[0.3, 0.5], metavar="K")
    parser.add_argument("--side", type=int, default=64)
    parser.add_argument("--sweeps", type=int, default=5000)
    parser.add_argument("--chains", type=int, default=8)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    torch.set_num_threads(1)
    print("| K | energy | Onsager | difference | magnetisation | Yang | difference | seconds |")
    print("|---|---|---|---|---|---|---|---|")
    for coupling in given.coupling:
        began = time.process_time()
        energy, size = measure(given.side, coupling, given.sweeps, given.chains, given.seed)
        exact, ordered = onsager_energy(coupling), yang_magnetisation(coupling)
        other = f"{size:.5f} | {ordered:.5f} | {size - ordered:+.5f}" if ordered else f"{size:.5f} | – | –"
        seconds = time.process_time() - began
        print(
            f"| {coupling} | {energy:.5f} | {exact:.5f} | {energy - exact:+.5f} | {other} | {seconds:.0f} |",
            flush=True,
        )


if __name__ == "__main__":
    main()
