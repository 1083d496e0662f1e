"""Images of your own: folders of pictures, and arrays in one file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from PIL import Image

import mpnn
from mpnn.datasets import Columns, DataError, ImageDataset, load_images
from mpnn.train.command import cli
from tests.train.conftest import Complaint
from tests.train.conftest import complaint as complaint  # a fixture

DRAW = np.random.default_rng(0)
GREY = DRAW.integers(0, 256, (20, 6, 5), dtype=np.uint8)
COLOURED = DRAW.integers(0, 256, (20, 6, 5, 3), dtype=np.uint8)
NAMES = ["cat", "dog"]


def pixels(data: ImageDataset) -> np.ndarray[Any, Any]:
    """The bytes that the images were made of."""
    raw = (data.x * data.read_as["deviation"] + data.read_as["mean"]) * 255
    return raw.round().byte().permute(0, 2, 3, 1).numpy()


def write(folder: Path, images: np.ndarray[Any, Any], ending: str = "png") -> None:
    """Pictures 0, 2, ... of the first class, and 1, 3, ... of the second."""
    for k, image in enumerate(images):
        place = folder / NAMES[k % 2]
        place.mkdir(parents=True, exist_ok=True)
        Image.fromarray(image).save(place / f"{k:02d}.{ending}")


@pytest.mark.parametrize("images", [GREY, COLOURED], ids=["grey", "coloured"])
def test_a_folder_for_each_class_is_read(images: np.ndarray[Any, Any], tmp_path: Path) -> None:
    write(tmp_path, images)
    (tmp_path / "cat" / "notes.txt").write_text("none of the pictures")
    (tmp_path / "empty").mkdir()
    data = load_images(tmp_path)
    assert data.class_names == ("cat", "dog") and data.test_mask is None
    assert data.y.tolist() == [0] * 10 + [1] * 10
    expected = np.concatenate([images[::2], images[1::2]]).reshape(20, 6, 5, -1)
    assert np.array_equal(pixels(data), expected)
    assert abs(float(data.x.mean())) < 1e-5 and abs(float(data.x.std()) - 1) < 1e-5


def test_folders_for_training_and_testing_are_the_parts(tmp_path: Path) -> None:
    write(tmp_path / "train", GREY[:14])
    write(tmp_path / "test", GREY[14:])
    data = load_images(tmp_path)
    assert data.test_mask is not None and data.test_mask.tolist() == [False] * 14 + [True] * 6
    train = data.x[~data.test_mask]
    assert abs(float(train.mean())) < 1e-5 and abs(float(train.std()) - 1) < 1e-5
    assert data.y[14:].tolist() == [0, 0, 0, 1, 1, 1]


@pytest.mark.parametrize(
    "x",
    [GREY, GREY[:, None], GREY[..., None], GREY / 255.0, GREY.astype("int64"), GREY.astype("float32") / 255],
    ids=["grey", "channel first", "channel last", "numbers", "whole numbers", "float32"],
)
def test_arrays_in_a_file_are_read(x: np.ndarray[Any, Any], tmp_path: Path) -> None:
    np.savez(tmp_path / "own.npz", x=x, y=np.arange(20) % 3 + 5)
    data = load_images(tmp_path / "own.npz")
    assert np.array_equal(pixels(data)[..., 0], GREY)
    assert data.class_names == ("5", "6", "7") and data.y[:4].tolist() == [0, 1, 2, 0]


def test_files_as_kerass_are_read(tmp_path: Path) -> None:
    names = np.array(["dog", "cat"])[np.arange(20) % 2]
    parts: dict[str, Any] = {
        "x_train": COLOURED[:12],
        "x_test": COLOURED[12:],
        "y_train": names[:12, None],
        "y_test": names[12:],
    }
    np.savez_compressed(tmp_path / "keras.npz", **parts)
    data = load_images(tmp_path / "keras.npz")
    assert np.array_equal(pixels(data), COLOURED)
    assert data.class_names == ("cat", "dog") and data.y[:2].tolist() == [1, 0]
    assert data.test_mask is not None and int(data.test_mask.sum()) == 8


def test_numbers_are_learned_as_numbers(tmp_path: Path) -> None:
    np.savez(tmp_path / "own.npz", images=GREY, targets=np.arange(20) / 4)
    data = load_images(tmp_path / "own.npz")
    assert data.y.shape == (20, 1) and data.class_names == ("y",) and float(data.y[3, 0]) == 0.75


def test_from_pictures_to_predictions(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Light ones and dark ones, of which new ones are told."""
    monkeypatch.chdir(tmp_path)
    for name, low in (("dark", 0), ("light", 128)):
        folder = tmp_path / "pictures" / name
        folder.mkdir(parents=True)
        for k in range(30):
            image = DRAW.integers(low, low + 128, (8, 8), dtype=np.uint8)
            Image.fromarray(image).save(folder / f"{k}.jpg", quality=95)
    words = ["train", "image", "--dataset", "pictures", "--model", "mlp", "--hidden", "8", "--epochs", "60"]
    assert cli.main([*words, "--lr", "0.01", "--out", "run", "--no-pictures"]) == 0
    assert cli.main(["predict", "run", "--images", "pictures/light", "--output", "said.csv"]) == 0
    said = pd.read_csv("said.csv")
    assert len(said) == 30 and (said.predicted == "light").all()
    assert mpnn.load("run").predict(str(tmp_path / "pictures" / "dark")).predicted.eq("dark").all()


def _damaged(folder: Path) -> Path:
    write(folder / "bad", GREY)
    (folder / "bad" / "dog" / "03.png").write_bytes(b"\x89PNG nothing")
    return folder / "bad"


def _sizes(folder: Path) -> Path:
    write(folder / "sizes", GREY)
    Image.fromarray(GREY[0, :4]).save(folder / "sizes" / "dog" / "99.png")
    return folder / "sizes"


def _one(folder: Path) -> Path:
    write(folder / "one", GREY[:1])
    return folder / "one"


def _npz(**arrays: Any) -> Any:
    def make(folder: Path) -> Path:
        np.savez(folder / "bad.npz", **arrays)
        return folder / "bad.npz"

    return make


@pytest.mark.parametrize(
    ("make", "why"),
    [
        (_damaged, r"03\.png cannot be read"),
        (_sizes, r"99\.png has 4 × 5 pixels, but .* has 6 × 5"),
        (_one, "holds 1 folder of pictures, but should hold one for each class, at least 2"),
        (lambda folder: folder, "holds no folders of pictures"),
        (lambda folder: folder / "nothing.txt", "is no folder of pictures, and no .npz"),
        (_npz(y=np.arange(20)), r"has y, but should have x among its arrays"),
        (_npz(x=GREY, y=np.arange(19)), r"images \[20, 6, 5\] and answers \[19\]"),
        (_npz(x=GREY * 2.0, y=np.arange(20)), "pixels from 0 to 510, but should have bytes, or 0 to 1"),
        (_npz(x=GREY / np.nan, y=np.arange(20)), "pixels from nan"),
        (_npz(x=np.zeros((20, 6, 5, 2)), y=np.arange(20)), "should have 1 or 3 channels, first or last"),
        (_npz(x=GREY, y=np.zeros((20, 4), int)), "several whole numbers for an image"),
        (_npz(x=GREY.astype("U3"), y=np.arange(20)), "images of <U3"),
        (_npz(x_train=GREY, y_train=np.arange(20), x_test=GREY[:, 1:], y_test=np.arange(20)), "in its parts"),
    ],
)
def test_what_is_wrong_is_one_sentence(make: Any, why: str, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=why), np.errstate(invalid="ignore", divide="ignore"):
        load_images(make(tmp_path))


def test_columns_are_refused_and_paths_that_are_not_there(tmp_path: Path, complaint: Complaint) -> None:
    with pytest.raises(DataError, match="columns are named, but "):
        load_images(tmp_path, Columns(source="a"))
    assert "no_such" in complaint("train", "image", "--dataset", str(tmp_path / "no_such.npz"))
