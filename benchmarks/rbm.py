"""RBMs on MNIST: how likely the test images are, exactly and by annealed importance sampling.

    python benchmarks/rbm.py exact --data DIR       # 16 hidden units, log Z by enumeration, a minute
    python benchmarks/rbm.py annealed --data DIR    # 500 hidden units, log Z by annealing, ten minutes

Both are trained by persistent chains, one sweep a step, in batches of 100, with a centred gradient (Melchior
et al., 2016), and the pixels are 1 above a half. `--data` names the folder with the four IDX files; by
default it is that of the environment variable MPNN_DATA. Times are those of one core.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor

from mpnn.datasets.digits import load_mnist
from mpnn.models import RBM, ContrastiveDivergence, annealed_log_partition

BATCH = 100


def black_and_white(data: str | Path | None) -> tuple[Tensor, Tensor]:
    """The images of MNIST as 0 and 1, `[60000, 784]` to train on and `[10000, 784]` to test."""
    mnist = load_mnist(data)
    assert mnist.test_mask is not None
    low, high = mnist.x.min(), mnist.x.max()
    x = (mnist.x.flatten(1) > (low + high) / 2).float()
    return x[~mnist.test_mask], x[mnist.test_mask]


def drawn(rbm: RBM, num_chains: int, seed: int) -> Callable[[int], tuple[Tensor, Tensor]]:
    """PyTorch's own random numbers, which cost less than those that follow from sweep and unit alone."""
    generator = torch.Generator().manual_seed(seed)

    def draw(sweep: int) -> tuple[Tensor, Tensor]:
        return (
            torch.rand(num_chains, rbm.num_visible, generator=generator),
            torch.rand(num_chains, rbm.num_hidden, generator=generator),
        )

    return draw


def train(
    rbm: RBM,
    x: Tensor,
    *,
    epochs: int,
    rate: float,
    last_rate: float,
    seed: int = 0,
    centring: float | None = 0.01,
    steps: int = 1,
    persistent: bool = True,
    said: Callable[[int, float], None] | None = None,
) -> None:
    """Train an RBM; the learning rate falls from `rate` in a straight line to `last_rate`."""
    rbm.start_from(x)
    learning = ContrastiveDivergence(
        rbm, steps=steps, num_chains=BATCH if persistent else None, centring=centring, seed=seed
    )
    optimizer = torch.optim.SGD(rbm.parameters(), lr=rate)
    generator, draw = torch.Generator().manual_seed(seed), drawn(rbm, BATCH, seed + 1)
    total, began, step = epochs * (len(x) // BATCH), time.process_time(), 0
    for epoch in range(epochs):
        for rows in torch.randperm(len(x), generator=generator).split(BATCH):  # type: ignore[no-untyped-call]
            if len(rows) < BATCH:
                continue
            for group in optimizer.param_groups:
                group["lr"] = rate + (last_rate - rate) * step / total
            optimizer.zero_grad()
            learning.backward(x[rows], draw)
            optimizer.step()
            step += 1
        if said is not None:
            said(epoch + 1, time.process_time() - began)


def exact(arguments: argparse.Namespace) -> None:
    """16 hidden units: log Z over all their states."""
    x, test = black_and_white(arguments.data)
    torch.manual_seed(arguments.seed)
    rbm = RBM(x.size(1), 16)

    def likelihoods(epoch: int, seconds: float) -> None:
        if epoch % 10 and epoch != epochs:
            return
        with torch.no_grad():
            double = RBM(x.size(1), 16).double()
            double.load_state_dict(rbm.state_dict())
            log_z = double.log_partition()
            means = [-float(double.free_energy(part.double()).mean() + log_z) for part in (x, test)]
        print(f"epoch {epoch}: train {means[0]:.2f}, test {means[1]:.2f} nats, {seconds:.0f} s", flush=True)

    epochs = arguments.epochs or 50
    train(rbm, x, epochs=epochs, rate=0.01, last_rate=0.01, seed=arguments.seed, said=likelihoods)


@torch.no_grad()
def estimate(rbm: RBM, test: Tensor, base: Tensor, betas: int, chains: int, samples: Tensor | None) -> None:
    """Print how likely the test images are by chains that go forward, or back from samples."""
    began = time.process_time()
    draw = drawn(rbm, chains, 2)
    found = annealed_log_partition(
        rbm, betas=betas, num_chains=chains, bias=base, samples=samples, uniform=draw
    )
    free = -float(rbm.free_energy(test).double().mean())
    way = "backwards" if samples is not None else "forwards"
    print(
        f"    test {free - found.log_partition:.2f} nats ({free - found.high:.2f} to "
        f"{free - found.low:.2f}) {way}: log Z {found.log_partition:.2f}, deviation of log weights "
        f"{found.deviation:.2f}; {chains} chains of {betas:,} steps, {time.process_time() - began:.0f} s",
        flush=True,
    )


def annealed(arguments: argparse.Namespace) -> None:
    """500 hidden units: log Z by annealing, forwards, and backwards from chains that began at the data."""
    x, test = black_and_white(arguments.data)
    torch.manual_seed(arguments.seed)
    rbm = RBM(x.size(1), 500)
    base = RBM(x.size(1), 1).start_from(x).visible_bias.detach()

    def likelihoods(epoch: int, seconds: float) -> None:
        if epoch % 10 and epoch != epochs:
            return
        chains, betas = (100, arguments.steps) if epoch == epochs else (50, arguments.steps // 10)
        print(f"epoch {epoch}, {seconds:.0f} s of training:", flush=True)
        estimate(rbm, test, base, betas, chains, None)
        if epoch == epochs:
            draw = drawn(rbm, chains, 3)
            samples, _ = rbm.sample(rbm.hidden(x[:chains]).round(), sweeps=1000, uniform=draw)
            estimate(rbm, test, base, betas, chains, samples)

    epochs = arguments.epochs or 40
    train(rbm, x, epochs=epochs, rate=0.05, last_rate=0.0, seed=arguments.seed, said=likelihoods)


def main() -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("figure", choices=("exact", "annealed"))
    parser.add_argument("--data", type=Path, help="folder of MNIST (default: $MPNN_DATA)")
    parser.add_argument("--epochs", type=int, help="50 for exact, 40 for annealed")
    parser.add_argument("--steps", type=int, default=10_000, help="of the annealing at the end")
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    {"exact": exact, "annealed": annealed}[arguments.figure](arguments)


if __name__ == "__main__":
    main()
