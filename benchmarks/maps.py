"""Self-organising maps beside MiniSom: the figures of docs/results.md.

    python benchmarks/maps.py [--repeats 5] [--pictures FOLDER]

The first table is a run of MiniSom's, repeated: iris, standardised, on 6 × 5 units that begin at samples
(seed 0), sigma 1.5 and learning rate 0.5 with asymptotic decay, a gaussian, 400 steps in order. The second is
time on 20 × 20 units, of a step on each of 2,000 samples of 64 numbers, and of an epoch in batches on 10,000;
single precision here and double there, the fastest of some repeats.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from minisom import MiniSom
from sklearn.datasets import load_iris

from mpnn import topology
from mpnn.models import SelfOrganisingMap
from mpnn.train import planes_picture, save_picture, umatrix_picture

STEPS, SIDE, WIDTH = 400, 20, 64


def iris(hexagonal: bool, pictures: Path | None) -> str:
    """A row of the first table."""
    data = load_iris()
    numbers = (data.data - data.data.mean(0)) / data.data.std(0)
    kind = "hexagonal" if hexagonal else "rectangular"
    theirs = MiniSom(6, 5, 4, sigma=1.5, learning_rate=0.5, topology=kind, random_seed=0)
    theirs.random_weights_init(numbers)
    # MiniSom's [x, y] are columns and rows of hexagons, as they are drawn.
    graph = topology.lattice((5, 6), hexagonal=True) if hexagonal else topology.lattice((6, 5))
    ours = SelfOrganisingMap(graph, 4, sigma=1.5, learning_rate=0.5)

    def weights() -> torch.Tensor:
        found = torch.from_numpy(theirs.get_weights().copy())
        return (found.transpose(0, 1) if hexagonal else found).flatten(0, 1)

    ours.weight = weights()
    x = torch.from_numpy(numbers)
    ours.fit(x, STEPS)
    theirs.train(numbers, STEPS)
    if pictures is not None:
        pictures.mkdir(parents=True, exist_ok=True)
        save_picture(umatrix_picture(ours, x, title="iris"), pictures / f"iris-{kind}.png")
        planes = planes_picture(ours, data.feature_names, title="iris")
        save_picture(planes, pictures / f"iris-{kind}-planes.png")
    errors = [
        f"{one.topographic_error(given):.4f} | {one.quantization_error(given):.6f}"
        for one, given in ((ours, x), (theirs, numbers))
    ]
    apart = float((ours.weight - weights()).abs().max())
    return f"| {kind} | {' | '.join(errors)} | {apart:.0e} |"


def fastest(call: Callable[[], object], repeats: int) -> float:
    """Seconds."""
    found = []
    for _ in range(repeats):
        began = time.perf_counter()
        call()
        found.append(time.perf_counter() - began)
    return min(found)


def times(repeats: int, samples: int) -> list[str]:
    """The rows of the second table."""
    numbers = np.random.default_rng(0).normal(size=(samples, WIDTH))
    x = torch.from_numpy(numbers).float()
    ours = SelfOrganisingMap((SIDE, SIDE), WIDTH, sigma=3.0).random_weights_init(x)
    theirs = MiniSom(SIDE, SIDE, WIDTH, sigma=3.0, random_seed=0)
    some = max(1, samples // 5)
    online = [
        1e6 * fastest(call, repeats) / some
        for call in (lambda: ours.fit(x[:some], some), lambda: theirs.train(numbers[:some], some))
    ]
    batch = [
        1e3 * fastest(call, repeats)
        for call in (lambda: ours.fit_batch(x, 1), lambda: theirs.train_batch_offline(numbers, 1))
    ]
    return [
        f"| a step online | {online[0]:.0f} µs | {online[1]:.0f} µs |",
        f"| an epoch in batches | {batch[0]:.0f} ms | {batch[1]:.0f} ms |",
    ]


def main() -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("--repeats", type=int, default=5)
    add("--samples", type=int, default=10_000, help="of the times")
    add("--pictures", type=Path, metavar="FOLDER", help="where maps of iris are drawn")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    print("| map | topographic error | quantisation error | MiniSom's | MiniSom's | weights apart |")
    print("|---|---|---|---|---|---|")
    for hexagonal in (False, True):
        print(iris(hexagonal, arguments.pictures))
    print("\n| | mpnn | MiniSom |\n|---|---|---|")
    print(*times(arguments.repeats, arguments.samples), sep="\n")


if __name__ == "__main__":
    main()
