"""What a network says of every pixel, as pictures whose numbers are the classes."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor

from mpnn.train.errors import RunError
from mpnn.train.fitting import checkpoint
from mpnn.train.pictures.masks import palette

MOST = 256  # classes that a byte can tell apart


def write_masks(folder: Path, classes: Tensor, names: Sequence[str]) -> None:
    """Write a `.png` for each image: bytes that are its classes, with a palette by which they can be seen.

    Args:
        folder: where to; it is made if it is not there.
        classes: `[num_images, height, width]`.
        names: of the images; an ending is replaced.

    Raises:
        RunError: the folder is none, two images have one name, or there are too many classes.
    """
    from PIL import Image  # slow to import: only where it is needed

    stems = [Path(name).stem for name in names]
    for name, stem in zip(names, stems, strict=True):
        if stems.count(stem) > 1:
            raise RunError(f"{name} is not the only image called {stem}: their masks would be one file")
    if classes.numel() and int(classes.max()) >= MOST:
        raise RunError(f"there are over {MOST} classes, more than the numbers of a mask")
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise RunError(f"output is {str(folder)!r}, but should be a folder: {error.strerror}") from error
    colours = palette(MOST).flatten().tolist()
    for stem, mask in zip(stems, classes.to(torch.uint8).cpu(), strict=True):
        picture = Image.fromarray(mask.numpy())
        picture.putpalette(colours)
        content = io.BytesIO()
        picture.save(content, "png")
        checkpoint.write_output(folder / f"{stem}.png", content.getvalue())
