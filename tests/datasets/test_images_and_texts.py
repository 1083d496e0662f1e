"""Images from IDX files, and texts."""

from __future__ import annotations

import gzip
import struct
from pathlib import Path

import numpy as np
import pytest
import torch

from mpnn.datasets import DataError, ImageDataset, TextDataset, load
from mpnn.datasets.digits import read_idx

pytestmark = pytest.mark.filterwarnings("ignore:.*is not the published file")


def write_idx(path: Path, array: np.ndarray) -> None:
    content = bytes([0, 0, 8, array.ndim]) + struct.pack(f">{array.ndim}I", *array.shape) + array.tobytes()
    path.write_bytes(gzip.compress(content) if path.suffix == ".gz" else content)


@pytest.fixture
def mnist(tmp_path: Path) -> Path:
    """A folder like MNIST's: six small images to train and two to test on, half of the files compressed."""
    rng = np.random.default_rng(0)
    for part, count, ending in (("train", 6, ".gz"), ("t10k", 2, "")):
        images = rng.integers(0, 256, (count, 5, 4), dtype=np.uint8)
        write_idx(tmp_path / f"{part}-images-idx3-ubyte{ending}", images)
        labels = rng.integers(0, 10, count, dtype=np.uint8)
        write_idx(tmp_path / f"{part}-labels-idx1-ubyte{ending}", labels)
    return tmp_path


def test_idx_files_are_read_as_they_were_written(tmp_path: Path) -> None:
    array = np.random.default_rng(1).integers(0, 256, (3, 4, 5), dtype=np.uint8)
    for name in ("plain", "packed.gz"):
        write_idx(tmp_path / name, array)
        assert np.array_equal(read_idx(tmp_path / name).numpy(), array)


def test_a_folder_like_mnists_is_read(mnist: Path) -> None:
    data = load("mnist", mnist)
    assert isinstance(data, ImageDataset) and data.test_mask is not None
    assert data.x.shape == (8, 1, 5, 4) and data.test_mask.tolist() == [False] * 6 + [True] * 2
    raw = read_idx(mnist / "t10k-images-idx3-ubyte")
    assert torch.allclose((data.x[6:, 0] * 0.3081 + 0.1307) * 255, raw.float(), atol=1e-4)


def test_a_folder_like_fashion_mnists_is_read(mnist: Path, recwarn: pytest.WarningsRecorder) -> None:
    data = load("fashion-mnist", mnist)
    assert isinstance(data, ImageDataset) and data.class_names[9] == "ankle boot" and not recwarn.list
    raw = read_idx(mnist / "t10k-images-idx3-ubyte")
    assert torch.allclose((data.x[6:, 0] * 0.3530 + 0.2860) * 255, raw.float(), atol=1e-4)
    (mnist / "FashionMNIST").mkdir()
    (mnist / "FashionMNIST" / "raw").mkdir()
    for file in mnist.glob("*ubyte*"):
        file.rename(mnist / "FashionMNIST" / "raw" / file.name)
    again = load("fashion-mnist", mnist)
    assert isinstance(again, ImageDataset) and torch.equal(again.x, data.x)


def test_mnist_has_the_published_size_and_mean(real_data: Path) -> None:
    data = load("mnist", real_data)
    assert isinstance(data, ImageDataset) and data.test_mask is not None
    assert data.x.shape == (70_000, 1, 28, 28) and int(data.test_mask.sum()) == 10_000
    train = data.x[~data.test_mask].double()
    assert abs(float(train.mean())) < 1e-3 and abs(float(train.std()) - 1) < 1e-3


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("train-images-idx3-ubyte.gz", b"nothing", "cannot be read: it is not packed by gzip"),
        ("t10k-images-idx3-ubyte", b"\x00\x00\x0d\x03", "is no IDX file of unsigned bytes: it begins with"),
        (
            "t10k-labels-idx1-ubyte",
            bytes([0, 0, 8, 1, 0, 0, 0, 9, 1]),
            "after its head come 1 bytes, but should",
        ),
        (
            "t10k-labels-idx1-ubyte",
            bytes([0, 0, 8, 1, 0, 0, 0, 1, 1]),
            r"has images \[2, 5, 4\] and labels \[1\]",
        ),
    ],
)
def test_a_damaged_file_is_named(mnist: Path, name: str, content: bytes, message: str) -> None:
    (mnist / name).write_bytes(content)
    with pytest.raises(DataError, match=message):
        load("mnist", mnist)


def test_a_missing_file_is_named(mnist: Path, tmp_path: Path) -> None:
    (mnist / "t10k-labels-idx1-ubyte").unlink()
    with pytest.raises(DataError, match=r"holds no t10k-labels-idx1-ubyte or t10k-labels-idx1-ubyte.gz$"):
        load("mnist", mnist)
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="holds no train-images-idx3-ubyte"):
        load("mnist", tmp_path / "empty")
    with pytest.raises(DataError, match=r"holds no input.txt: it may lie there or in tinyshakespeare, text/"):
        load("shakespeare", tmp_path / "empty")


def test_images_are_checked() -> None:
    with pytest.raises(DataError, match=r"x is torch.float32 \[2, 3\], but should be floating point"):
        ImageDataset("bad", torch.zeros(2, 3), torch.zeros(2).long(), ("a",))
    with pytest.raises(DataError, match=r"test_mask is torch.bool \[3\], but should be bool \[2\]"):
        ImageDataset("bad", torch.zeros(2, 1, 3, 3), torch.zeros(2).long(), ("a",), torch.ones(3).bool())


def test_a_text_survives_its_numbers() -> None:
    text = "Grüße, 你好!\n" * 100
    data = TextDataset.of("greetings", text)
    assert data.decode(data.tokens) == text and torch.equal(data.encode(text), data.tokens)
    with pytest.raises(DataError, match="'x' is none of the 11 characters of greetings"):
        data.encode("x")


def test_a_text_that_is_too_short_is_no_text() -> None:
    with pytest.raises(DataError, match="short has 5 characters, but should have 1000"):
        TextDataset.of("short", "hello")


def test_shakespeare_has_the_published_size(real_data: Path) -> None:
    data = load("shakespeare", real_data)
    assert isinstance(data, TextDataset)
    assert (len(data.tokens), len(data.characters)) == (1_115_394, 65)
    assert data.decode(data.tokens[:14]) == "First Citizen:"
