"""Networks of neurons on MNIST, with the protocols of docs/results.md.

    python benchmarks/neurons.py --data DIR             # both; or $MPNN_DATA
    python benchmarks/neurons.py --only rbf
    python benchmarks/neurons.py --dataset digits       # seconds, to see that it runs

`kernel-perceptron`: K = (1 + x·y)^4 on pixels from 0 to 1, one output against all others for each digit, ten
epochs of the training images in their order; tested with the mean of the weights after each sample, or with
`--last` with the weights after the last one. `rbf`: 100 centres of each digit by k-means, exp(-0.03 d²), and
weights by least squares.

Of MNIST it is a few minutes of one core each. Digits without a published test part are tested on every fifth.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import numpy as np
import torch

from mpnn.datasets import ImageDataset, load
from mpnn.train.estimators import KernelPerceptron, RBFClassifier

Part = tuple[np.ndarray, np.ndarray]
NETWORKS = ("kernel-perceptron", "rbf")


def parts(data: ImageDataset) -> tuple[Part, Part]:
    """Pixels from 0 to 1 with their digits, to train and to test on."""
    pixels = (data.x * data.read_as["deviation"] + data.read_as["mean"]).clamp(0, 1).flatten(1).numpy()
    test = np.arange(len(pixels)) % 5 == 0 if data.test_mask is None else data.test_mask.numpy()
    y = data.y.numpy()
    return (pixels[~test], y[~test]), (pixels[test], y[test])


def untrained(name: str, arguments: argparse.Namespace) -> KernelPerceptron | RBFClassifier:
    """The network of a protocol."""
    if name == "rbf":
        return RBFClassifier(arguments.centers, epsilon=0.03**0.5, alpha=0.0, random_state=0)
    return KernelPerceptron(degree=4, max_iter=arguments.epochs, average=not arguments.last, shuffle=False)


def main() -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("--only", nargs="+", choices=NETWORKS, default=NETWORKS)
    add("--dataset", choices=("mnist", "digits"), default="mnist")
    add("--data", type=Path, help="folder with the files of MNIST (default: $MPNN_DATA)")
    add("--epochs", type=int, default=10, help="of the kernel perceptron")
    add("--last", action="store_true", help="the weights after the last sample, in place of their mean")
    add("--centers", type=int, default=100, help="of each digit")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    data = load(arguments.dataset, arguments.data)
    assert isinstance(data, ImageDataset)
    train, test = parts(data)
    print("| data set | network | test error, % | seconds |", "|---|---|---|---|", sep="\n")
    for name in arguments.only:
        began = time.process_time()
        network = untrained(name, arguments).fit(*train)
        error = 100 * (1 - network.score(*test))
        print(
            f"| {arguments.dataset} | {name} | {error:.2f} | {time.process_time() - began:.0f} |", flush=True
        )


if __name__ == "__main__":
    main()
