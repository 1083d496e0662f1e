"""Images from files that other programs write, and from arrays, as numbers between 0 and 1."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from mpnn.datasets.digits import read_idx
from mpnn.datasets.files import is_there
from mpnn.datasets.planetoid_npz import DAMAGE
from mpnn.datasets.record import DataError, damage, in_a_line
from mpnn.files import array, opened, read

PICTURES = (".png", ".jpg", ".jpeg", ".bmp", ".gif", ".tif", ".tiff", ".webp", ".pgm", ".ppm")
COLOURS = {1: "L", 3: "RGB"}  # how pillow calls grey, and red, green and blue
WHITE = 255


def read_images(given: Any, channels: int) -> tuple[Tensor, list[str]]:
    """Return images `[count, channels, height, width]`, 1 being white, and what they are called.

    Args:
        given: a picture, several of them, or a folder of pictures, in the order of their names; a `.npy` file
            or IDX file; or an array or tensor, `[height, width]`, `[count, height, width]` or
            `[count, channels, height, width]`. Bytes are 255 where white; other numbers lie between 0 and 1.
        channels: 1 for grey, to which pictures in colour are turned; 3 for red, green and blue.

    Raises:
        DataError: there is no image, or one cannot be read, or they are of several sizes.
    """
    if isinstance(given, Tensor | np.ndarray):
        return _checked(torch.as_tensor(given), channels, "images")
    if isinstance(given, str | Path):
        return _of_path(Path(given), channels)
    if isinstance(given, Sequence) and given and all(isinstance(one, str | Path) for one in given):
        return _of_files([Path(one) for one in given], channels)
    raise DataError(f"images are {type(given).__name__}, but should be files, a folder, an array or a tensor")


def _of_path(path: Path, channels: int) -> tuple[Tensor, list[str]]:
    if is_there(path, Path.is_dir):
        files = sorted(file for file in path.iterdir() if file.suffix.lower() in PICTURES)
        if not files:
            raise DataError(f"{path} holds no picture: names should end in {', '.join(PICTURES)}")
        return _of_files(files, channels)
    with opened(path, DataError):  # or the sentence that says why not
        pass
    if path.suffix.lower() in PICTURES:
        return _of_files([path], channels)
    if path.suffix == ".npy":
        try:
            pixels = torch.from_numpy(array(read(path, DataError)))
        except DAMAGE as error:
            raise damage(path, error) from error
        return _checked(pixels, channels, str(path))
    if "ubyte" in path.name:
        return _checked(read_idx(path), channels, str(path))
    raise DataError(f"{path} is no image: its name should end in {', '.join(PICTURES)}, .npy or -ubyte")


def read_pictures(files: Sequence[Path]) -> Tensor:
    """Pictures of one size, `[count, channels, height, width]`, 1 being white: grey if all of them are.

    Raises:
        DataError: one cannot be read, or differs in size.
    """
    x, _ = _of_files(files, 3)
    return x[:, :1] if bool((x == x[:, :1]).all()) else x


def _of_files(files: Sequence[Path], channels: int) -> tuple[Tensor, list[str]]:
    from PIL import Image  # slow to import: only where it is needed

    if channels not in COLOURS:
        raise DataError(f"the model reads {channels} channels, but pictures have 1 or 3: give an array")
    found: list[Tensor] = []
    for file in files:
        content = io.BytesIO(read(file, DataError))
        try:
            with Image.open(content) as picture:
                pixels = np.array(picture.convert(COLOURS[channels]), dtype=np.uint8)
        except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
            raise DataError(f"{file} cannot be read: {in_a_line(error)}") from error
        found.append(torch.from_numpy(pixels.reshape(*pixels.shape[:2], channels)).permute(2, 0, 1))
        if found[-1].shape != found[0].shape:
            one, other = (f"{part.size(1)} × {part.size(2)}" for part in (found[-1], found[0]))
            raise DataError(f"{file} has {one} pixels, but {files[0]} has {other}")
    return torch.stack(found).float() / WHITE, [file.name for file in files]


def _checked(pixels: Tensor, channels: int, name: str) -> tuple[Tensor, list[str]]:
    """An array as images, bytes and numbers both between 0 and 1."""
    if pixels.dim() == 2:
        pixels = pixels[None]
    if pixels.dim() == 3 and channels == 1:
        pixels = pixels[:, None]
    if pixels.dim() != 4 or pixels.size(1) != channels or not pixels.numel():
        raise DataError(
            f"{name} is {list(pixels.shape)}, but should be [count, {channels}, height, width], not empty"
        )
    if pixels.dtype == torch.uint8:
        pixels = pixels.float() / WHITE
    if not pixels.is_floating_point() or not bool(((pixels >= 0) & (pixels <= 1)).all()):
        raise DataError(f"{name} should hold bytes, or numbers between 0 and 1, which is white")
    return pixels.float(), [str(number) for number in range(len(pixels))]
