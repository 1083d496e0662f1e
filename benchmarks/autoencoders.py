"""Autoencoders on MNIST: the figures of docs/results.md.

    python benchmarks/autoencoders.py vae           # pytorch/examples' VAE: its loss on the test images
    python benchmarks/autoencoders.py deep          # 784-1000-500-250-30: squared error per test image
    python benchmarks/autoencoders.py binarised     # ELBO and importance-weighted bound, in nats

MNIST's files are in the folder that MPNN_DATA names, or `--data`. `--pictures FOLDER` draws reconstructions,
samples and codes.

vae        784-400-20, ReLU, Adam 1e-3, batches of 128, seed 1, 10 epochs; the loss is the sum of the pixels'
           cross-entropies and the divergence, over the number of images.
deep       the code has 30 units; ReLU, cross-entropy, Adam with one cycle, batches of 250, 40 epochs, no
           pre-training, weights drawn as by He et al., 2015, and a weight decay of 0.1 (AdamW), without
           which the network learns the training images by heart. The highest rate of the cycle is chosen
           first: each of 5e-4, 1e-3, 2e-3 and 4e-3 learns from five sixths of the training images, in a
           tenth of the epochs, and the one with the least squared error on the last sixth of them is taken.
           Then the network begins anew, and learns from all training images; the test images are looked at
           once, at the end. PCA of 30 components, fitted to the same images, stands beside it.
binarised  every pixel is 1 with the probability that its grey says, drawn anew in every epoch, once for the
           test images; 784-200-200-50, tanh, Adam with one cycle up to 1e-3, batches of 100, 200 epochs
           (the network of Burda et al., 2016).
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import torch
import torch.nn.functional as F
from sklearn.decomposition import PCA
from torch import Tensor, nn

from mpnn.datasets.digits import load_digits, load_mnist
from mpnn.models import Autoencoder, VariationalAutoencoder
from mpnn.train import latent_picture, reconstructions_picture, samples_picture, save_picture

EPOCHS = {"vae": 10, "deep": 40, "binarised": 200}
RATES = (5e-4, 1e-3, 2e-3, 4e-3)  # of `deep`, one of which is chosen on training images
DECAY = 0.1  # of the weights of `deep`
SAMPLES, JUDGED = 500, 1000  # of the importance-weighted bound: draws of a code, and test images


class Pixels:
    """Grey values between 0 and 1, `[count, pixels]`, to train and to test on."""

    def __init__(self, dataset: str, data: Path | None, most: int | None) -> None:
        found = load_mnist(data) if dataset == "mnist" else load_digits()
        mean, deviation = (torch.tensor(found.read_as[name]) for name in ("mean", "deviation"))
        x = (found.x * deviation + mean).clamp(0, 1).flatten(1)
        mask = torch.arange(len(x)) >= 1500 if found.test_mask is None else found.test_mask
        self.train, self.test, self.labels = x[~mask][:most], x[mask][:most], found.y[mask][:most]
        self.names = found.class_names


def batches(x: Tensor, size: int) -> Iterator[Tensor]:
    """The rows in a new order, some at a time."""
    for rows in torch.split(torch.randperm(len(x)), size):
        yield x[rows]


def learn(
    model: nn.Module,
    loss_of: Callable[[Tensor], Tensor],
    x: Callable[[], Tensor],
    *,
    epochs: int,
    size: int,
    rate: float = 1e-3,
    decay: float = 0.0,
    one_cycle: bool = False,
) -> None:
    """Adam, with `x()` drawn anew for every epoch; prints the mean loss of each."""
    optimizer = torch.optim.AdamW(model.parameters(), lr=rate, weight_decay=decay, fused=True)
    steps = epochs * -(-len(x()) // size)
    scheduler = torch.optim.lr_scheduler.OneCycleLR(optimizer, rate, total_steps=steps) if one_cycle else None
    began = time.perf_counter()
    for epoch in range(epochs):
        total, data = 0.0, x()
        for batch in batches(data, size):
            optimizer.zero_grad()
            loss = loss_of(batch)
            (loss / len(batch)).backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            if scheduler is not None:
                scheduler.step()
            total += loss.item()
        print(f"epoch {epoch + 1}: {total / len(data):.3f}, {time.perf_counter() - began:.0f} s", flush=True)


def vae(pixels: Pixels, epochs: int, pictures: Path | None) -> None:
    """The loss of pytorch/examples."""
    model = VariationalAutoencoder(pixels.train.size(1))
    learn(model, lambda x: -model.elbo(x).sum(), lambda: pixels.train, epochs=epochs, size=128)
    with torch.no_grad():
        print(f"test loss {-model.elbo(pixels.test).mean():.2f}")
        draw(pictures, "vae", pixels, model(pixels.test[:12])[0], model.encode(pixels.test)[0])
        if pictures is not None:
            save_picture(samples_picture(model.sample(64)), pictures / "vae-samples.png")


def deep(pixels: Pixels, epochs: int, pictures: Path | None, rate: float | None, decay: float) -> None:
    """The squared error of Hinton and Salakhutdinov, 2006."""
    if rate is None:
        rate = chosen_rate(pixels.train, max(1, epochs // 10), decay)
    model = deep_model(pixels.train, epochs, rate, decay)
    for name, x in (("training", pixels.train), ("test", pixels.test)):
        print(f"squared error per {name} image {squared_error(model, x):.3f}")
    with torch.no_grad():
        draw(pictures, "deep", pixels, model(pixels.test[:12]).sigmoid(), model.encode(pixels.test))
    components = PCA(min(30, len(pixels.train)), random_state=0).fit(pixels.train.numpy())
    rebuilt = components.inverse_transform(components.transform(pixels.test.numpy()))
    print(f"PCA: squared error per test image {((rebuilt - pixels.test.numpy()) ** 2).sum(1).mean():.3f}")


def chosen_rate(x: Tensor, epochs: int, decay: float) -> float:
    """The rate whose network has the least squared error on the last sixth of the images."""
    kept = len(x) - len(x) // 6
    errors = {}
    for rate in RATES:
        errors[rate] = squared_error(deep_model(x[:kept], epochs, rate, decay), x[kept:])
        print(f"rate {rate:g}: squared error per held-out training image {errors[rate]:.3f}", flush=True)
    return min(errors, key=errors.__getitem__)


def deep_model(x: Tensor, epochs: int, rate: float, decay: float) -> Autoencoder:
    """The network, from the same weights each time, after learning from images."""
    torch.manual_seed(1)
    model = Autoencoder([x.size(1), 1000, 500, 250, 30])

    def loss(x: Tensor) -> Tensor:
        return F.binary_cross_entropy_with_logits(model(x), x, reduction="sum")

    learn(model, loss, lambda: x, epochs=epochs, size=250, rate=rate, decay=decay, one_cycle=True)
    return model


@torch.no_grad()
def squared_error(model: Autoencoder, x: Tensor) -> float:
    """The mean over images of the sum over pixels."""
    errors = [(model(part).sigmoid() - part).square().sum(1) for part in torch.split(x, 1000)]
    return torch.cat(errors).mean().item()


def binarised(pixels: Pixels, epochs: int, pictures: Path | None) -> None:
    """Bounds of the log-likelihood of black and white images."""
    model = VariationalAutoencoder(pixels.train.size(1), (200, 200), 50, activation="tanh")
    test = pixels.test.bernoulli(generator=torch.Generator().manual_seed(0))
    learn(
        model,
        lambda x: -model.elbo(x).sum(),
        lambda: pixels.train.bernoulli(),
        epochs=epochs,
        size=100,
        one_cycle=True,
    )
    with torch.no_grad():
        print(f"ELBO {torch.cat([model.elbo(part, 5) for part in torch.split(test, 1000)]).mean():.2f}")
        bounds = [model.importance_bound(part, SAMPLES) for part in torch.split(test[:JUDGED], 20)]
        print(f"importance-weighted bound, {SAMPLES} samples: {torch.cat(bounds).mean():.2f}")
        draw(pictures, "binarised", pixels, model(test[:12])[0], model.encode(test)[0])


def draw(folder: Path | None, name: str, pixels: Pixels, rebuilt: Tensor, codes: Tensor) -> None:
    """Pictures of the reconstructions and of the codes."""
    if folder is None:
        return
    folder.mkdir(parents=True, exist_ok=True)
    save_picture(reconstructions_picture(pixels.test[:12], rebuilt), folder / f"{name}-reconstructions.png")
    save_picture(latent_picture(codes, pixels.labels, pixels.names), folder / f"{name}-codes.png")


def main() -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("figure", choices=EPOCHS)
    add("--data", type=Path, help="the folder of MNIST's files")
    add("--dataset", choices=("mnist", "digits"), default="mnist")
    add("--epochs", type=int, help=f"by default {EPOCHS}")
    add("--rate", type=float, help="of `deep`, where its cycle is highest, without choosing one")
    add("--decay", type=float, default=DECAY, help="of the weights of `deep`")
    add("--images", type=int, help="no more than these, of either part")
    add("--pictures", type=Path, metavar="FOLDER")
    arguments = parser.parse_args()
    torch.manual_seed(1)
    pixels = Pixels(arguments.dataset, arguments.data, arguments.images)
    epochs = arguments.epochs or EPOCHS[arguments.figure]
    if arguments.figure == "deep":
        deep(pixels, epochs, arguments.pictures, arguments.rate, arguments.decay)
    else:
        {"vae": vae, "binarised": binarised}[arguments.figure](pixels, epochs, arguments.pictures)


if __name__ == "__main__":
    main()
