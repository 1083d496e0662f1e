"""How much Hopfield's network remembers: bits that one step changes, and what is retrieved at each load.

    python benchmarks/hopfield.py              # N = 1000, three draws, about two minutes; draws the picture
    python benchmarks/hopfield.py --neurons 200 --draws 1 --no-picture

Patterns are random. At load α, α N of them are stored by Hebb's rule. The share of bits that one step of all
neurons changes is ½ erfc(√(1 / 2α)) for many neurons (Hertz, Krogh and Palmer, 1991, section 2.2). The
overlap is that of a pattern and the state that it ends in, all neurons at once, until nothing changes or two
states follow each other. On the small-world graph (Watts and Strogatz, 1998; one tenth of all pairs, three
tenths of the links drawn anew) the load is the number of patterns for each neighbour of a neuron.
"""

from __future__ import annotations

import argparse
from math import erfc, sqrt
from pathlib import Path

import networkx as nx
import torch
from torch import Tensor

from mpnn import Graph, topology
from mpnn.models import HopfieldNetwork

PICTURE = Path(__file__).parents[1] / "docs" / "images" / "hopfield.png"
UNSTABLE = (0.105, 0.138, 0.185, 0.37, 0.61)
LOADS = (0.04, 0.07, 0.10, 0.13, 0.138, 0.15, 0.16, 0.18, 0.20, 0.25, 0.30, 0.40, 0.50)
SHOWN = 20  # patterns of each draw from which the network starts
STEPS = 100


def complete(neurons: int, seed: int) -> tuple[Graph, int]:
    """All pairs, and how many neighbours a neuron has; the same for every seed."""
    return topology.complete(neurons, self_loops=False), neurons


def small_world(neurons: int, seed: int) -> tuple[Graph, int]:
    """A ring of near neighbours, some links of which go anywhere."""
    near = max(2, neurons // 10)
    plain = nx.connected_watts_strogatz_graph(neurons, near, 0.3, seed=seed)
    edges = torch.tensor(list(plain.edges)).T
    return Graph(torch.cat([edges, edges.flip(0)], 1), neurons), near


GRAPHS = {"all pairs": complete, "small world": small_world}


def remembering(made: tuple[Graph, int], load: float, seed: int) -> tuple[HopfieldNetwork, Tensor]:
    """A network, and what it was given, `[num_patterns, num_neurons]`."""
    graph, neighbours = made
    generator = torch.Generator().manual_seed(seed)
    number = max(1, round(load * neighbours))
    patterns = torch.randint(2, (number, graph.num_nodes), generator=generator).float() * 2 - 1
    return HopfieldNetwork(graph.num_nodes, graph).fit(patterns), patterns


def unstable(neurons: int, load: float, seed: int) -> tuple[float, float]:
    """The share of bits that one step changes, and that of the theory."""
    network, patterns = remembering(complete(neurons, seed), load, seed)
    found = float((network(patterns.T) != patterns.T).double().mean())
    return found, 0.5 * erfc(sqrt(1 / (2 * len(patterns) / neurons)))


def overlap(made: tuple[Graph, int], load: float, seed: int) -> float:
    """The mean overlap of a pattern and where it ends."""
    network, patterns = remembering(made, load, seed)
    start = patterns[:SHOWN].T
    return float((network.predict(start, mode="sync", steps=STEPS).state * start).mean())


def draw(curves: dict[str, list[float]], path: Path) -> None:
    """Recall against load, a line for each graph."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(5.6, 3.6), layout="constrained")
    axes = figure.subplots()
    for (name, values), colour in zip(curves.items(), ("#2f6db5", "#c8553d"), strict=True):
        axes.plot(LOADS, values, "o-", color=colour, label=name, markersize=4)
    axes.axvline(0.138, color="#7b8794", linewidth=0.8, linestyle="--")
    axes.text(0.139, 0.05, "α = 0.138", color="#7b8794", fontsize=8)
    axes.set(xlabel="patterns for each neighbour, α", ylabel="overlap of pattern and end", ylim=(0, 1.05))
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False, loc="center right")
    figure.savefig(path, dpi=130)


def main() -> None:
    """Read the command line, measure, print, draw."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--neurons", type=int, default=1000)
    parser.add_argument("--draws", type=int, default=3)
    parser.add_argument("--no-picture", action="store_true")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    neurons, draws = arguments.neurons, range(arguments.draws)
    print(f"| load | unstable bits, N = {neurons} | ½ erfc(√(1 / 2α)) |\n|---|---|---|")
    for load in UNSTABLE:
        pairs = [unstable(neurons, load, seed) for seed in draws]
        print(f"| {load} | {sum(p[0] for p in pairs) / len(pairs):.5f} | {pairs[0][1]:.5f} |", flush=True)
    curves: dict[str, list[float]] = {name: [] for name in GRAPHS}
    print(f"\n| load | overlap, {' | overlap, '.join(GRAPHS)} |\n|---|---|---|")
    for load in LOADS:
        for name, made in GRAPHS.items():
            found = [overlap(made(neurons, seed), load, seed) for seed in draws]
            curves[name].append(sum(found) / len(found))
        print(f"| {load} | {' | '.join(f'{values[-1]:.3f}' for values in curves.values())} |", flush=True)
    if not arguments.no_picture:
        draw(curves, PICTURE)


if __name__ == "__main__":
    main()
