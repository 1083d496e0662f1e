"""Whole networks against their originals in other libraries: time and memory, side by side in one run.

    make test-peers                                       # installs the originals
    .venv-peers/bin/python benchmarks/zoo.py              # times: the least of interleaved repeats
    .venv-peers/bin/python benchmarks/zoo.py --memory     # peak memory of one step, a fresh process for each

A training step is forward, backward and a step of gradient descent; inference is one call in evaluation.
Images are 32 x 3 x 64 x 64.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable
from pathlib import Path

import torch
from dense import Step, fresh, peak
from torch import Tensor, nn

sys.path.append(str(Path(__file__).parents[1]))  # for the list of networks, which the comparison reads too

from tests.peers.vision import NETWORKS, Network, tensors

TIMED = {network.name: network for network in NETWORKS if network.name != "googlenet_aux"}
WAYS: dict[str, Callable[[Network], nn.Module]] = {
    "torchvision": lambda network: network.theirs(),
    "mpnn": lambda network: network.ours(),
}
MODES = ("training", "inference")


def total(outputs: object) -> Tensor:
    """A number that has a gradient for every output."""
    return torch.stack([out.square().mean() for out in tensors(outputs)]).sum()


def step(network: nn.Module, images: Tensor, mode: str) -> Step:
    """One step of a network in a mode."""
    network.train(mode == "training")
    optimizer = torch.optim.SGD(network.parameters(), lr=1e-4)

    def train() -> None:
        optimizer.zero_grad()
        total(network(images)).backward()
        optimizer.step()

    def infer() -> None:
        with torch.no_grad():
            network(images)

    return train if mode == "training" else infer


def images_of(batch: int) -> Tensor:
    return torch.randn(batch, 3, 64, 64, generator=torch.Generator().manual_seed(0))


def fastest(steps: dict[str, Step], repeats: int) -> dict[str, float]:
    """The least seconds of a step of each contender; they take turns, and the first turn does not count."""
    seconds: dict[str, list[float]] = {way: [] for way in steps}
    for _ in range(repeats + 1):
        for way, run in steps.items():
            start = time.perf_counter()
            run()
            seconds[way].append(time.perf_counter() - start)
    return {way: min(found[1:]) for way, found in seconds.items()}


def times(names: list[str], batch: int, repeats: int) -> None:
    """Print the table of times."""
    print("| network | step | original ms | mpnn ms | mpnn / original |\n|---|---|---|---|---|")
    for name in names:
        for mode in MODES:
            steps = {way: step(build(TIMED[name]), images_of(batch), mode) for way, build in WAYS.items()}
            found = fastest(steps, repeats)
            ours, theirs = found["mpnn"], found["torchvision"]
            cells = f"{theirs * 1e3:.0f} | {ours * 1e3:.0f} | {ours / theirs:.3f}"
            print(f"| {name} | {mode} | {cells} |", flush=True)


def memory(names: list[str], batch: int, repeats: int) -> None:
    """Print the table of peak memory."""
    print("| network | step | original MB | mpnn MB | mpnn / original |\n|---|---|---|---|---|")
    for name in names:
        for mode in MODES:
            theirs, ours = (
                fresh(["--one", name, "--way", way, "--mode", mode, "--batch", str(batch)], repeats, __file__)
                for way in WAYS
            )
            print(f"| {name} | {mode} | {theirs:.0f} | {ours:.0f} | {ours / theirs:.3f} |", flush=True)


def one(name: str, way: str, mode: str, batch: int) -> float:
    """The peak memory of a step in MB, after one on two images has loaded what is loaded once."""
    network = WAYS[way](TIMED[name])
    step(network, images_of(2), mode)()
    return peak(step(network, images_of(batch), mode))


def main() -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--only", nargs="+", choices=TIMED, default=list(TIMED), metavar="NETWORK")
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--memory", action="store_true")
    parser.add_argument("--one", choices=TIMED, help=argparse.SUPPRESS)
    parser.add_argument("--way", choices=WAYS, default="mpnn", help=argparse.SUPPRESS)
    parser.add_argument("--mode", choices=MODES, default="training", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.one:
        print(one(arguments.one, arguments.way, arguments.mode, arguments.batch))
    elif arguments.memory:
        memory(arguments.only, arguments.batch, min(arguments.repeats, 3))
    else:
        times(arguments.only, arguments.batch, arguments.repeats)


if __name__ == "__main__":
    main()
