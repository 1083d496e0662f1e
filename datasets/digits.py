"""Small images: the digits that come with scikit-learn, and MNIST and Fashion-MNIST from their own files."""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from mpnn import files
from mpnn.datasets.files import find_file, published
from mpnn.datasets.image_record import ImageDataset
from mpnn.datasets.record import DataError

NAMES = tuple(str(digit) for digit in range(10))
GARMENTS = (
    *("t-shirt", "trouser", "pullover", "dress", "coat", "sandal"),
    *("shirt", "sneaker", "bag", "ankle boot"),
)
PARTS = ("train", "t10k")  # to train and to test on
UNSIGNED_BYTE = 8  # the type code of an IDX file
# Mean and standard deviation of the pixels, white being 1: of all digits, and of MNIST's training images.
DIGITS, MNIST, FASHION = (0.3053, 0.3760), (0.1307, 0.3081), (0.2860, 0.3530)


def load_digits() -> ImageDataset:
    """Return 1,797 digits of 8 × 8 pixels (Alpaydin and Kaynak, 1998), embedded in scikit-learn.

    Pixels are shifted and scaled to mean 0 and standard deviation 1.

    >>> load_digits()
    digits: 1,797 images of 8 × 8 pixels and 1 channel, 10 classes
    """
    from sklearn.datasets import load_digits as embedded  # slow to import: only where it is needed

    found = embedded()
    x = _scaled(torch.from_numpy(found.images) / 16, *DIGITS)
    return ImageDataset("digits", x, torch.from_numpy(found.target).long(), NAMES, read_as=_as_read(*DIGITS))


def load_mnist(data: str | Path | None = None) -> ImageDataset:
    """Return MNIST (LeCun et al., 1998): 60,000 digits of 28 × 28 pixels, and 10,000 to test on.

    Pixels are shifted and scaled to mean 0 and standard deviation 1.

    Args:
        data: the folder with the four IDX files, `train-images-idx3-ubyte` and so on, as they are or with
            `.gz`; they may lie in `MNIST/raw` or `mnist/MNIST/raw` below it. By default the folder that the
            environment variable `MPNN_DATA` names.

    Raises:
        DataError: a file is missing or damaged.
    """
    return _of_idx("mnist", data, (".", "MNIST/raw", "mnist/MNIST/raw"), NAMES, MNIST)


def load_fashion_mnist(data: str | Path | None = None) -> ImageDataset:
    """Return Fashion-MNIST (Xiao et al., 2017): 60,000 garments of 28 × 28 pixels, and 10,000 to test on.

    Args:
        data: the folder with the four IDX files, called as those of MNIST; they may lie in `fashion_mnist` or
            `FashionMNIST/raw` below it. By default the folder that the variable `MPNN_DATA` names.

    Raises:
        DataError: a file is missing or damaged.
    """
    return _of_idx("fashion-mnist", data, ("fashion_mnist", "FashionMNIST/raw", "."), GARMENTS, FASHION)


def _of_idx(
    name: str,
    data: str | Path | None,
    places: tuple[str, ...],
    classes: tuple[str, ...],
    scale: tuple[float, float],
) -> ImageDataset:
    packed = ("", ".gz")
    raw = find_file(name, data, "train-images-idx3-ubyte", places, packed).parent
    known = published if name == "mnist" else lambda path: path  # the sums are MNIST's
    images: list[Tensor] = []
    labels: list[Tensor] = []
    for part in PARTS:
        for found, what in ((images, "images-idx3-ubyte"), (labels, "labels-idx1-ubyte")):
            found.append(read_idx(known(find_file(name, raw, f"{part}-{what}", endings=packed))))
        if images[-1].dim() != 3 or labels[-1].dim() != 1 or len(images[-1]) != len(labels[-1]):
            raise DataError(
                f"{part} of {name} in {raw} has images {list(images[-1].shape)} and labels "
                f"{list(labels[-1].shape)}, but should have [count, height, width] and [count]"
            )
    if images[0].shape[1:] != images[1].shape[1:]:
        raise DataError(f"the images in {raw} are of several sizes, but should be of one")
    x = _scaled(torch.cat(images) / 255, *scale)
    test_mask = torch.arange(len(x)) >= len(images[0])
    return ImageDataset(name, x, torch.cat(labels).long(), classes, test_mask, _as_read(*scale))


def read_idx(path: Path) -> Tensor:
    """Return the unsigned bytes that an IDX file holds, compressed by gzip or not.

    Raises:
        DataError: it cannot be read, or is not such a file.
    """
    content = files.read(path, DataError)
    if len(content) < 4 or content[:3] != bytes([0, 0, UNSIGNED_BYTE]):
        raise DataError(f"{path} is no IDX file of unsigned bytes: it begins with {content[:4].hex()!r}")
    rank = content[3]
    start = 4 + 4 * rank
    shape = struct.unpack(f">{rank}I", content[4:start]) if len(content) >= start else ()
    if not shape or len(content) - start != int(np.prod(shape)):
        raise DataError(
            f"{path} is damaged: after its head come {max(0, len(content) - start)} bytes, but should come "
            f"{' × '.join(map(str, shape)) or 'as many as it says'}"
        )
    return torch.frombuffer(bytearray(content[start:]), dtype=torch.uint8).view(shape)


def _as_read(mean: float, deviation: float) -> dict[str, float]:
    return {"mean": mean, "deviation": deviation}


def _scaled(pixels: Tensor, mean: float, deviation: float) -> Tensor:
    return ((pixels.float() - mean) / deviation).unsqueeze(1)
