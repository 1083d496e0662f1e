"""A deep belief network on MNIST, fine-tuned, beside the same network without pre-training.

    python benchmarks/dbn.py --data DIR                                   # 784-500-500-2000-10, ten minutes
    python benchmarks/dbn.py --data DIR --pretrain 2 --epochs 2 --images 9000   # a short try

Each RBM learns by CD-1 from the probabilities that the layers below it give (Hinton et al., 2006), pixels
being probabilities themselves; a linear layer is put on top, and the whole network is trained by
backpropagation with cross-entropy. The learning rate of Adam falls to 0 along half a cosine. The images of
the test set are looked at once, with the weights of the last epoch. `--data` names the folder with the four
IDX files; by default it is that of the environment variable MPNN_DATA. Times are those of one core.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mpnn.datasets.digits import load_mnist
from mpnn.models import DBN, RBM, ContrastiveDivergence, Linear

BATCH = 100
SIZES = (784, 500, 500, 2000)


def grey(data: str | Path | None) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Pixels from 0 to 1 and digits, to train and to test."""
    mnist = load_mnist(data)
    assert mnist.test_mask is not None
    low, high = mnist.x.min(), mnist.x.max()
    x, is_test = (mnist.x.flatten(1) - low) / (high - low), mnist.test_mask
    return x[~is_test], mnist.y[~is_test], x[is_test], mnist.y[is_test]


def pretrain(rbm: RBM, v: Tensor, *, epochs: int, rate: float, seed: int) -> None:
    """CD-1 with momentum, from the probabilities of the layer below."""
    rbm.start_from(v)
    learning = ContrastiveDivergence(rbm, seed=seed)
    optimizer = torch.optim.SGD(rbm.parameters(), lr=rate, momentum=0.5)
    generator = torch.Generator().manual_seed(seed)

    def draw(_: int) -> tuple[Tensor, Tensor]:
        sizes = (BATCH, rbm.num_visible), (BATCH, rbm.num_hidden)
        of_visible, of_hidden = (torch.rand(size, generator=generator) for size in sizes)
        return of_visible, of_hidden

    for epoch in range(epochs):
        for group in optimizer.param_groups:
            group["momentum"] = 0.5 if epoch < 5 else 0.9
        for rows in torch.randperm(len(v), generator=generator)[: len(v) // BATCH * BATCH].view(-1, BATCH):
            optimizer.zero_grad()
            learning.backward(v[rows], draw)
            optimizer.step()


def fine_tune(network: nn.Module, x: Tensor, y: Tensor, *, epochs: int, rate: float, seed: int) -> None:
    """Backpropagation by Adam."""
    steps = epochs * (len(x) // BATCH)
    optimizer = torch.optim.Adam(network.parameters(), lr=rate)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    generator = torch.Generator().manual_seed(seed)
    for _ in range(epochs):
        for rows in torch.randperm(len(x), generator=generator)[: len(x) // BATCH * BATCH].view(-1, BATCH):
            optimizer.zero_grad()
            F.cross_entropy(network(x[rows]), y[rows]).backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            schedule.step()


@torch.no_grad()
def error(network: nn.Module, x: Tensor, y: Tensor) -> float:
    """The percentage of images that are taken for another digit."""
    return 100 * float((network(x).argmax(1) != y).float().mean())


def main() -> None:
    """Read the command line, train both networks, print their errors."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, help="folder of MNIST (default: $MPNN_DATA)")
    parser.add_argument("--pretrain", type=int, default=15, help="epochs of each RBM")
    parser.add_argument("--epochs", type=int, default=20, help="of backpropagation")
    parser.add_argument("--images", type=int, default=60_000, help="to train on")
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(given.seed)
    x, y, test_x, test_y = grey(given.data)
    x, y = x[: given.images], y[: given.images]
    began = time.process_time()

    def minutes() -> str:
        return f"{(time.process_time() - began) / 60:.1f} minutes"

    dbn, below = DBN(SIZES), x
    for number, rbm in enumerate(dbn.layers):
        pretrain(rbm, below, epochs=given.pretrain, rate=0.05, seed=given.seed + number)
        with torch.no_grad():
            free = float(rbm.free_energy(below[:1000]).mean())
            below = rbm.hidden(below)
        print(f"layer {number + 1}: mean free energy {free:.1f}, {minutes()}", flush=True)
    for name, is_trained in (("pre-trained", True), ("from random weights", False)):
        network = dbn.to_network(10)
        if not is_trained:
            for layer in network:
                if isinstance(layer, Linear):
                    layer.reset_parameters()
        fine_tune(network, x, y, epochs=given.epochs, rate=1e-3, seed=given.seed)
        wrong, own = error(network, test_x, test_y), error(network, x, y)
        print(f"{name}: test error {wrong:.2f} %, training error {own:.2f} %, {minutes()}", flush=True)


if __name__ == "__main__":
    main()
