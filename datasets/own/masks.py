"""Images of your own with masks: two folders of pictures, whose names tell what belongs together."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from mpnn.datasets.mask_record import UNKNOWN, MaskDataset
from mpnn.datasets.own.columns import Columns
from mpnn.datasets.pixels import PICTURES, read_pictures
from mpnn.datasets.record import DataError, in_a_line
from mpnn.files import read

IMAGES, MASKS, NAMES = "images", "masks", "classes.txt"
VOID = 255  # in a mask: the class of this pixel is not known


def load_masks(path: Path, columns: Columns | None = None) -> MaskDataset:
    """Return the images and masks of a folder.

    It holds a folder `images`, a folder `masks` with a picture of the same name for each, whose ending may
    differ, and if classes have names, `classes.txt` with one on each line. A mask is grey or has a palette;
    its numbers are the classes, from 0, and 255 is a pixel whose class is not known. Where all numbers are
    0 or 255, 255 is class 1. Pixels are shifted and scaled to mean 0 and standard deviation 1.

    Args:
        path: the folder.
        columns: images have none.

    Raises:
        DataError: a picture lacks its mask, cannot be read or has another size; it names the file.
    """
    if columns not in (None, Columns()):
        raise DataError(f"columns are named, but {path} is read as images, which have none: leave them out")
    images, masks = (_pictures(path / folder) for folder in (IMAGES, MASKS))
    for one, other, what in ((images, masks, "mask"), (masks, images, "image")):
        for name in one.keys() - other.keys():
            raise DataError(f"{one[name]} has no {what} of its name in {path / (what + 's')}")
    pixels = read_pictures([images[name] for name in images])
    found = torch.stack([_mask(masks[name], images[name], pixels.shape[2:]) for name in images])
    y = found.long()
    two = bool((y == VOID).any()) and bool(((y == 0) | (y == VOID)).all())
    y = torch.where(y == VOID, 1 if two else UNKNOWN, y)
    most = int(y.max())
    names = tuple(map(str, range(most + 1)))
    if (path / NAMES).exists():
        names = _names(path / NAMES, most)
    if len(names) < 2:
        raise DataError(f"masks in {path / MASKS} have {len(names)} class, but should have at least 2")
    mean, deviation = float(pixels.mean()), float(pixels.std()) or 1.0
    x = (pixels - mean) / deviation
    return MaskDataset(path.stem, x, y, names, tuple(images), {"mean": mean, "deviation": deviation})


def _pictures(folder: Path) -> dict[str, Path]:
    """The pictures of a folder by their names without an ending."""
    if not folder.is_dir():
        raise DataError(
            f"{folder} is no folder, but images with masks are two: {IMAGES} and {MASKS}, below "
            f"{folder.parent}"
        )
    found: dict[str, Path] = {}
    for file in sorted(folder.iterdir()):
        if file.suffix.lower() in PICTURES:
            if file.stem in found:
                raise DataError(f"{file} and {found[file.stem]} have one name: masks are found by names")
            found[file.stem] = file
    if not found:
        raise DataError(f"{folder} holds no picture: names should end in {', '.join(PICTURES)}")
    return found


def _mask(file: Path, image: Path, size: torch.Size) -> Tensor:
    """The numbers of a mask, bytes `[height, width]`."""
    from PIL import Image  # slow to import: only where it is needed

    try:
        with Image.open(io.BytesIO(read(file, DataError))) as picture:
            mode, numbers = picture.mode, np.array(picture)
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        if isinstance(error, DataError):
            raise
        raise DataError(f"{file} cannot be read: {in_a_line(error)}") from error
    if mode not in ("L", "P", "1"):
        raise DataError(f"{file} is a picture of kind {mode}, but a mask is grey or has a palette")
    if numbers.shape != tuple(size):
        raise DataError(
            f"{file} has {numbers.shape[0]} × {numbers.shape[1]} pixels, but {image} has "
            f"{size[0]} × {size[1]}"
        )
    return torch.from_numpy(numbers.astype(np.uint8))


def _names(path: Path, most: int) -> tuple[str, ...]:
    try:
        names = tuple(line.strip() for line in read(path, DataError).decode().splitlines() if line.strip())
    except UnicodeDecodeError as error:
        raise DataError(f"{path} is no text: {error}") from error
    if len(names) <= most or len(set(names)) < len(names):
        raise DataError(
            f"{path} has {len(set(names))} different names, but masks have classes 0 to {most}: one for each"
        )
    return names
