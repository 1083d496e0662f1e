"""Images of your own: a folder of pictures for each class, or arrays in one file."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from numpy.typing import NDArray
from torch import Tensor

from mpnn.datasets.image_record import ImageDataset
from mpnn.datasets.own.columns import Columns
from mpnn.datasets.pixels import COLOURS, PICTURES, WHITE, read_pictures
from mpnn.datasets.record import DataError
from mpnn.files import Arrays, read

TRAIN, TEST = "train", ("test", "val")  # folders, and what follows `x_` and `y_` in a file
IMAGES, LABELS = ("x", "images", "data"), ("y", "labels", "targets")


def load_images(path: Path, columns: Columns | None = None) -> ImageDataset:
    """Return images of your own, each with its class, or with numbers.

    A folder holds a folder of pictures for each class, or `train` and `test`, which hold those. An `.npz`
    holds `x` and `y`, or `x_train`, `y_train`, `x_test` and `y_test`, as Keras's have: x `[count, height,
    width]`, or with 1 or 3 channels last or first, bytes or numbers between 0 and 1; y classes, as numbers or
    names, or floating point `[count]` or `[count, num_targets]`. Pixels are shifted and scaled to mean 0 and
    standard deviation 1.

    Args:
        path: the folder or file.
        columns: images have none.

    Raises:
        DataError: there is no image, or one cannot be read, or they differ in size; it names the file.
    """
    if columns not in (None, Columns()):
        raise DataError(f"columns are named, but {path} is read as images, which have none: leave them out")
    if path.is_dir():
        return _of_folder(path)
    if path.suffix == ".npz":
        return _of_arrays(path)
    raise DataError(f"{path} is no folder of pictures, and no .npz with images x and their classes y")


# Folders ----------------------------------------------------------------------------------------------------


def _of_folder(path: Path) -> ImageDataset:
    inside = {folder.name: folder for folder in sorted(path.iterdir()) if folder.is_dir()}
    test = next((name for name in TEST if name in inside), None)
    parts = [path] if TRAIN not in inside or test is None else [inside[TRAIN], inside[test]]
    found = [_pictures(part) for part in parts]
    names = tuple(sorted({folder for one in found for folder in one}))
    if len(names) < 2:
        raise DataError(
            f"{parts[0]} holds {len(names) or 'no'} folder{'s'[len(names) == 1 :]} of pictures, but should "
            f"hold one for each class, at least 2; pictures end in {', '.join(PICTURES)}"
        )
    files = [file for one in found for each in one.values() for file in each]
    y = [names.index(name) for one in found for name, each in one.items() for _ in each]
    number = sum(map(len, found[0].values()))
    is_test = torch.arange(len(files)) >= number if len(found) == 2 else None
    return _dataset(path, read_pictures(files), torch.tensor(y), names, is_test)


def _pictures(part: Path) -> dict[str, list[Path]]:
    """The pictures of each folder in another, in the order of their names."""
    folders = sorted(folder for folder in part.iterdir() if folder.is_dir())
    found = {
        folder.name: sorted(file for file in folder.iterdir() if file.suffix.lower() in PICTURES)
        for folder in folders
    }
    return {name: files for name, files in found.items() if files}


# Arrays -----------------------------------------------------------------------------------------------------


def _of_arrays(path: Path) -> ImageDataset:
    arrays = Arrays(read(path, DataError), path, DataError)
    test = next((name for name in TEST if f"x_{name}" in arrays), None)
    endings = ["", *(() if test is None else (f"_{test}",))]
    if f"x_{TRAIN}" in arrays:
        endings[0] = f"_{TRAIN}"
    x = [_named(arrays, IMAGES, ending, path) for ending in endings]
    y = [_named(arrays, LABELS, ending, path) for ending in endings]
    for ending, images, labels in zip(endings, x, y, strict=True):
        if images.ndim not in (3, 4) or labels.ndim not in (1, 2) or len(images) != len(labels):
            raise DataError(
                f"{path} has images {list(images.shape)} and answers {list(labels.shape)}"
                f"{f' in {ending[1:]}' if ending else ''}, but should have [count, height, width], or one "
                "dimension more for channels, and [count]"
            )
    pixels = [_as_pixels(images, path) for images in x]
    if len({tuple(part.shape[1:]) for part in pixels}) > 1:
        raise DataError(f"{path} has images of {[list(part.shape[1:]) for part in pixels]} in its parts")
    is_test = torch.arange(sum(map(len, x))) >= len(x[0]) if len(x) == 2 else None
    answers, names = _answers(y, path)
    return _dataset(path, torch.cat(pixels), answers, names, is_test)


def _named(arrays: Arrays, names: Sequence[str], ending: str, path: Path) -> NDArray[Any]:
    for name in names:
        if f"{name}{ending}" in arrays:
            return arrays[f"{name}{ending}"]
    raise DataError(
        f"{path} has {', '.join(arrays) or 'no array'}, but should have {names[0]}{ending} among its arrays"
    )


def _as_pixels(images: NDArray[Any], path: Path) -> Tensor:
    """`[count, channels, height, width]` between 0 and 1."""
    if images.dtype.kind not in "uif":
        raise DataError(f"{path} has images of {images.dtype}, but should have bytes or numbers")
    x = torch.from_numpy(images.astype("uint8" if images.dtype.kind == "u" else "float32"))
    if images.dtype.kind == "u" and images.max(initial=0) > WHITE:
        raise DataError(f"{path} has images of {images.dtype} above {WHITE}, but should have bytes")
    if x.dim() == 3:
        x = x[:, None]
    elif x.size(1) not in COLOURS and x.size(3) in COLOURS:
        x = x.permute(0, 3, 1, 2)
    if x.size(1) not in COLOURS or not x.numel():
        raise DataError(
            f"{path} has images {list(images.shape)}, but should have 1 or 3 channels, first or last"
        )
    if x.dtype == torch.uint8:
        return x.float() / WHITE
    if images.dtype.kind == "i" and bool(((x >= 0) & (x <= WHITE)).all()):
        return x / WHITE
    if not bool(((x >= 0) & (x <= 1)).all()):
        raise DataError(
            f"{path} has pixels from {x.min():g} to {x.max():g}, but should have bytes, or 0 to 1"
        )
    return x


def _answers(parts: Sequence[NDArray[Any]], path: Path) -> tuple[Tensor, tuple[str, ...]]:
    kinds = {part.dtype.kind for part in parts}
    if kinds == {"f"}:
        y = torch.cat([torch.from_numpy(part.astype("float32")).view(len(part), -1) for part in parts])
        return y, tuple(f"y{k}" if y.size(1) > 1 else "y" for k in range(y.size(1)))
    if not kinds <= set("uibUS"):
        raise DataError(f"{path} has answers of {parts[0].dtype}, but should have classes or numbers")
    cells = [cell for part in parts for cell in part.reshape(len(part), -1).tolist()]
    if any(len(cell) != 1 for cell in cells):
        raise DataError(f"{path} has several whole numbers for an image, but should have one class for each")
    said = [cell[0].decode() if isinstance(cell[0], bytes) else cell[0] for cell in cells]
    classes = sorted(set(said))
    number: Callable[[Any], int] = {name: k for k, name in enumerate(classes)}.__getitem__
    return torch.tensor([number(one) for one in said]), tuple(map(str, classes))


# Both -------------------------------------------------------------------------------------------------------


def _dataset(
    path: Path, pixels: Tensor, y: Tensor, names: tuple[str, ...], is_test: Tensor | None
) -> ImageDataset:
    learned = pixels if is_test is None else pixels[~is_test]
    mean, deviation = float(learned.mean()), float(learned.std()) or 1.0
    read_as = {"mean": mean, "deviation": deviation}
    return ImageDataset(path.stem, (pixels - mean) / deviation, y, names, is_test, read_as)
