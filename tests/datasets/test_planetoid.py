"""Citation graphs against PyG's own loader; files that are not the published ones are never opened."""

from __future__ import annotations

import os
import pickle
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
import torch_geometric.transforms
from torch_geometric.datasets import Planetoid

from mpnn.datasets import DataError, NodeDataset, load
from mpnn.datasets.planetoid import CLASS_NAMES, FOLDERS
from tests.datasets.loading import one_graph

pytestmark = pytest.mark.filterwarnings("ignore:.*is not the published file")
SIZES = {"cora": (2708, 10556, 1433, 7), "citeseer": (3327, 9104, 3703, 6)}


@pytest.fixture(autouse=True)
def no_data_by_default(monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> None:
    if "real_data" in request.fixturenames:
        request.getfixturevalue("real_data")
    monkeypatch.delenv("MPNN_DATA", raising=False)


def assert_equals_pyg(ours: NodeDataset, root: Path, name: str) -> None:
    theirs = Planetoid(str(root), FOLDERS[name], transform=torch_geometric.transforms.NormalizeFeatures())[0]
    assert torch.equal(ours.graph.edge_index, theirs.edge_index)
    torch.testing.assert_close(ours.x, theirs.x, rtol=0, atol=1e-7)
    for field in ("y", "train_mask", "val_mask", "test_mask"):
        assert torch.equal(getattr(ours, field), getattr(theirs, field)), field


@pytest.mark.parametrize("place", ["planetoid/Cora/raw", "Cora/raw", "raw", "."])
def test_raw_files_are_read_as_by_pyg_wherever_they_lie(
    small_planetoid: Path, tmp_path_factory: pytest.TempPathFactory, place: str
) -> None:
    home = tmp_path_factory.mktemp("home")
    shutil.copytree(small_planetoid / "planetoid/Cora/raw", home / place, dirs_exist_ok=True)
    assert_equals_pyg(one_graph("cora", home), small_planetoid / "planetoid", "cora")


def test_the_data_folder_is_only_read(small_planetoid: Path) -> None:
    before = sorted(small_planetoid.rglob("*"))
    load("cora", small_planetoid)
    assert sorted(small_planetoid.rglob("*")) == before


def test_the_folder_can_come_from_the_environment(
    small_planetoid: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MPNN_DATA", str(small_planetoid))
    assert one_graph("cora").num_nodes == 550


@pytest.mark.parametrize("name", SIZES)
def test_published_files_are_read_as_by_pyg(real_data: Path, tmp_path: Path, name: str) -> None:
    data = one_graph(name, real_data)
    assert (data.num_nodes, data.graph.num_edges, data.num_features, data.num_classes) == SIZES[name]
    shutil.copytree(real_data / "planetoid" / FOLDERS[name] / "raw", tmp_path / FOLDERS[name] / "raw")
    assert_equals_pyg(data, tmp_path, name)


@pytest.mark.parametrize("name", SIZES)
def test_the_form_without_pickles_holds_the_same(real_data: Path, name: str) -> None:
    raw, plain = one_graph(name, real_data), one_graph(name, real_data / "planetoid_npz")
    assert torch.equal(plain.x, raw.x)
    order = (raw.graph.src * raw.num_nodes + raw.graph.dst).argsort()
    assert torch.equal(plain.graph.edge_index, raw.graph.edge_index[:, order])
    for field in ("y", "train_mask", "val_mask", "test_mask"):
        assert torch.equal(getattr(plain, field), getattr(raw, field)), field


class Bomb:
    """Writes a file when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.mkdir, (str(self.path),)


def test_a_changed_pickle_is_named_and_not_opened(small_planetoid: Path) -> None:
    file = small_planetoid / "planetoid/Cora/raw/ind.cora.graph"
    file.write_bytes(pickle.dumps(Bomb(small_planetoid / "exploded")))
    with pytest.raises(
        DataError, match=r"ind\.cora\.graph is not the published file .* so it was not opened"
    ):
        load("cora", small_planetoid)
    assert not (small_planetoid / "exploded").exists()


def test_a_truncated_file_is_named(small_planetoid: Path) -> None:
    file = small_planetoid / "planetoid/Cora/raw/ind.cora.allx"
    file.write_bytes(file.read_bytes()[:100])
    with pytest.raises(DataError, match=r"ind\.cora\.allx is not the published file .* it has 100 bytes"):
        load("cora", small_planetoid)


def test_a_missing_file_is_named(small_planetoid: Path) -> None:
    (small_planetoid / "planetoid/Cora/raw/ind.cora.ty").unlink()
    with pytest.raises(DataError, match=r"ind\.cora\.ty is missing"):
        load("cora", small_planetoid)


def test_a_file_that_cannot_be_read_is_named(small_planetoid: Path) -> None:
    file = small_planetoid / "planetoid/Cora/raw/ind.cora.x"
    file.unlink()
    file.mkdir()
    with pytest.raises(DataError, match=r"ind\.cora\.x is a folder, but should be a file"):
        load("cora", small_planetoid)


@pytest.mark.parametrize("folder", ["", "no/such/folder"])
def test_a_folder_that_does_not_exist_is_named(folder: str) -> None:
    with pytest.raises(DataError, match=f"data is '{folder}', but should be a folder"):
        load("cora", folder)


def test_a_folder_of_the_environment_that_does_not_exist_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MPNN_DATA", "/no/such/folder")
    with pytest.raises(DataError, match="MPNN_DATA is '/no/such/folder', but should be a folder"):
        load("cora")


def test_a_folder_without_the_files_says_what_is_looked_for(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"holds neither Cora/raw/ind\.cora\.x and the files beside it nor"):
        load("cora", tmp_path)


def test_without_a_network_the_error_says_how_to_give_the_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(url: str, timeout: float) -> None:
        raise OSError("no route to host")

    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr("urllib.request.urlopen", refuse)
    with pytest.raises(DataError, match=r"cora could not be downloaded \(http.*: no route to host\): try"):
        load("cora")
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []


def write_npz(path: Path, **changes: np.ndarray) -> None:
    count, masks = 9, np.arange(9) % 3
    arrays = {
        "edge_index": np.array([[0, 1, 8], [1, 0, 2]]),
        "x_data": np.ones(9, np.float32),
        "x_indices": np.zeros(9, np.int32),
        "x_indptr": np.arange(10),
        "x_shape": np.array([count, 4]),
        "y": np.arange(9) % 6,
        "train_mask": masks == 0,
        "val_mask": masks == 1,
        "test_mask": masks == 2,
    }
    np.savez(path, **arrays | changes)


def test_a_small_file_without_pickles_is_read(tmp_path: Path) -> None:
    write_npz(tmp_path / "citeseer.npz")
    data = one_graph("citeseer", tmp_path)
    assert (data.num_nodes, data.graph.num_edges, data.num_features) == (9, 3, 4)
    assert data.class_names == CLASS_NAMES["citeseer"]


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"y": np.arange(8)}, "y is torch.int64"),
        ({"y": np.full(9, 6)}, r"y\[0\] is 6"),
        ({"edge_index": np.array([[0], [9]])}, "9"),
        ({"edge_index": np.array([[0.0], [1.0]])}, "edge_index"),
        ({"x_indices": np.full(9, 4, np.int32)}, "ind"),
        ({"x_indptr": np.arange(9)}, "index pointer"),
        ({"y": np.array([None] * 9)}, "it holds Python objects, which could run code"),
    ],
)
def test_an_array_that_does_not_fit_is_named_with_its_file(
    tmp_path: Path, changes: dict[str, np.ndarray], reason: str
) -> None:
    write_npz(tmp_path / "citeseer.npz", **changes)
    with pytest.raises(DataError, match=rf"citeseer\.npz(:.*)? is damaged.*{reason}"):
        load("citeseer", tmp_path)


def test_a_truncated_file_without_pickles_is_named(tmp_path: Path) -> None:
    write_npz(tmp_path / "cora.npz")
    content = (tmp_path / "cora.npz").read_bytes()
    for length in (0, 4, 100, len(content) - 30):
        (tmp_path / "cora.npz").write_bytes(content[:length])
        with pytest.raises(DataError, match=r"cora\.npz is damaged or of another format"):
            load("cora", tmp_path)
