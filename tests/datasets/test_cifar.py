"""CIFAR-10's binary files; no pickled file is read."""

from __future__ import annotations

import pickle
from pathlib import Path

import numpy as np
import pytest

from mpnn.datasets import DataError, ImageDataset, load
from mpnn.train import preset, train

FILES = (*(f"data_batch_{k}.bin" for k in range(1, 6)), "test_batch.bin")


@pytest.fixture
def cifar(tmp_path: Path) -> Path:
    """A folder like the published one, of four images a file."""
    draw = np.random.default_rng(0)
    home = tmp_path / "cifar-10-batches-bin"
    home.mkdir()
    for k, name in enumerate(FILES):
        rows = draw.integers(0, 256, (4, 3073), dtype=np.uint8)
        rows[:, 0] = (np.arange(4) + 4 * k) % 10
        (home / name).write_bytes(rows.tobytes())
    return tmp_path


def test_images_are_read_as_the_page_of_the_data_describes_them(cifar: Path) -> None:
    """A byte of the class, then 1,024 red ones row by row, as many green, as many blue."""
    data = load("cifar10", cifar)
    assert isinstance(data, ImageDataset) and data.test_mask is not None
    assert data.x.shape == (24, 3, 32, 32) and data.test_mask.tolist() == [False] * 20 + [True] * 4
    assert data.y.tolist() == [k % 10 for k in range(24)] and data.class_names[6] == "frog"
    raw = np.frombuffer((cifar / "cifar-10-batches-bin" / "data_batch_3.bin").read_bytes(), np.uint8)
    image = (data.x[9] * data.read_as["deviation"] + data.read_as["mean"]) * 255
    for channel, row, column in ((0, 0, 0), (1, 2, 3), (2, 31, 30)):
        wanted = raw[3073 + 1 + 1024 * channel + 32 * row + column]
        assert float(image[channel, row, column]) == pytest.approx(wanted, abs=1e-3)
    learned = data.x[:20].double()
    assert abs(float(learned.mean())) < 1e-6 and abs(float(learned.std()) - 1) < 1e-6
    again = load("cifar10", cifar / "cifar-10-batches-bin")
    assert isinstance(again, ImageDataset) and again.x.equal(data.x)


def test_a_residual_network_trains_on_them(cifar: Path, tmp_path: Path) -> None:
    settings = preset(
        "resnet20", task="image", dataset="cifar10", data=str(cifar), epochs=1, warmup=0, augment="crop,flip"
    )
    report = train(settings, tmp_path / "run", draw=False)
    assert report.results[0].history[0]["train_loss"] < 5


class Runs:
    """Unpickled, it makes a folder."""

    def __reduce__(self) -> object:
        return Path.mkdir, (Path("ran"),)


def test_the_pickled_version_is_not_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "cifar-10-batches-py").mkdir()
    for name in ("data_batch_1", "test_batch"):
        (tmp_path / "cifar-10-batches-py" / name).write_bytes(pickle.dumps(Runs()))
    with pytest.raises(DataError, match="is pickled and could run code: take the binary version"):
        load("cifar10", tmp_path)
    assert not (tmp_path / "ran").exists()


def test_what_is_damaged_is_one_sentence(cifar: Path) -> None:
    file = cifar / "cifar-10-batches-bin" / "data_batch_2.bin"
    whole = file.read_bytes()
    file.write_bytes(whole[:-1])
    with pytest.raises(
        DataError, match=r"data_batch_2.bin is damaged: it holds 12,291 bytes, but each image"
    ):
        load("cifar10", cifar)
    file.write_bytes(whole[:3073] + bytes([10]) + whole[3074:])
    with pytest.raises(DataError, match=r"data_batch_2.bin is damaged: image 1 is of class 10"):
        load("cifar10", cifar)
    file.unlink()
    with pytest.raises(DataError, match=r"holds no data_batch_2.bin"):
        load("cifar10", cifar)
