"""CIFAR-10 from its published binary files."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor

from mpnn.datasets.files import data_folder, find_file, first_place
from mpnn.datasets.image_record import ImageDataset
from mpnn.datasets.record import DataError
from mpnn.files import read

NAMES = (
    *("airplane", "automobile", "bird", "cat", "deer"),
    *("dog", "frog", "horse", "ship", "truck"),
)
TRAIN, TEST = tuple(f"data_batch_{k}" for k in range(1, 6)), "test_batch"
PLACES = (".", "cifar-10-batches-bin", "CIFAR10/cifar-10-batches-bin")
PICKLED = (".", "cifar-10-batches-py", "CIFAR10/cifar-10-batches-py")
CHANNELS, SIZE = 3, 32
RECORD = 1 + CHANNELS * SIZE * SIZE  # bytes: a class, then the pixels, red, green and blue, row by row


def load_cifar10(data: str | Path | None = None) -> ImageDataset:
    """Return CIFAR-10 (Krizhevsky, 2009): 50,000 images of 32 × 32 pixels, and 10,000 to test on.

    Pixels are shifted and scaled to mean 0 and standard deviation 1 over the training images.

    Args:
        data: the folder with the six files of the binary version, `data_batch_1.bin` and so on; they may lie
            in `cifar-10-batches-bin` below it. By default the folder that the variable `MPNN_DATA` names.
            The version for Python is pickled, and is not read: to unpickle a file is to run what is in it.

    Raises:
        DataError: a file is missing or damaged, or the files are those of the version for Python.
    """
    folder = data_folder(data)
    if folder is not None and first_place(folder, PLACES, [f"{TEST}.bin"]) is None:
        pickled = first_place(folder, PICKLED, [TEST])
        if pickled is not None:
            raise DataError(
                f"{pickled / TEST} is of the version for Python, which is pickled and could run code: take "
                "the binary version, cifar-10-binary.tar.gz"
            )
    home = find_file("cifar10", data, f"{TEST}.bin", PLACES).parent
    parts = [_batch(find_file("cifar10", home, f"{name}.bin")) for name in (*TRAIN, TEST)]
    pixels = torch.cat([images for images, _ in parts]).float() / 255
    y = torch.cat([classes for _, classes in parts]).long()
    test_mask = torch.arange(len(y)) >= len(y) - len(parts[-1][1])
    learned = pixels[~test_mask]
    mean, deviation = float(learned.mean(dtype=torch.float64)), float(learned.std()) or 1.0
    read_as = {"mean": mean, "deviation": deviation}
    return ImageDataset("cifar10", (pixels - mean) / deviation, y, NAMES, test_mask, read_as)


def _batch(path: Path) -> tuple[Tensor, Tensor]:
    """The images `[count, 3, 32, 32]` and classes of one file, both bytes."""
    content = read(path, DataError)
    if not content or len(content) % RECORD:
        raise DataError(f"{path} is damaged: it holds {len(content):,} bytes, but each image has {RECORD:,}")
    rows = torch.frombuffer(bytearray(content), dtype=torch.uint8).view(-1, RECORD)
    classes = rows[:, 0]
    bad = (classes >= len(NAMES)).nonzero()
    if len(bad):
        row = int(bad[0])
        raise DataError(f"{path} is damaged: image {row} is of class {int(classes[row])}, but there are 10")
    return rows[:, 1:].reshape(-1, CHANNELS, SIZE, SIZE), classes
