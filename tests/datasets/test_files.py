"""Checks whether a file is the published one."""

from __future__ import annotations

import hashlib
import struct
import warnings
from pathlib import Path

import numpy as np
import pytest
import scipy.sparse

from mpnn.datasets import load
from mpnn.datasets.checksums import CONTENT
from mpnn.datasets.files import compare_content, published


def test_another_file_of_that_name_gets_a_warning(tmp_path: Path) -> None:
    path = tmp_path / "input.txt"
    path.write_text("To be, or not to be\n" * 100)
    with pytest.warns(UserWarning, match=r"input.txt is not the published file \(its SHA-256 differs\)"):
        assert load("shakespeare", tmp_path).name == "shakespeare"


def test_files_of_other_names_and_missing_ones_pass(tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("to be")
    assert published(tmp_path / "mine.txt") == tmp_path / "mine.txt"
    assert published(tmp_path / "input.txt") == tmp_path / "input.txt"


@pytest.mark.parametrize("name", ["blogcatalog", "ppi", "mnist", "shakespeare", "mutag", "amazon-photo"])
def test_the_published_files_pass(real_data: Path, name: str) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        load(name, real_data)


def test_the_same_numbers_pass_however_a_file_writes_them(real_data: Path, tmp_path: Path) -> None:
    for file in (real_data / "tu" / "MUTAG" / "raw").glob("MUTAG_*.txt"):
        lines = file.read_text().splitlines()
        (tmp_path / file.name).write_bytes("\r\n".join(line.replace(", ", ",") for line in lines).encode())
    name = "amazon_electronics_photo.npz"
    with np.load(real_data / "gnn_benchmark" / name) as arrays:
        wide = {key: arrays[key].astype(np.int64) for key in arrays.files if arrays[key].dtype.kind in "if"}
    np.savez(tmp_path / name, **wide)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        load("mutag", tmp_path)
        load("amazon-photo", tmp_path)


def test_a_changed_number_gets_a_warning(real_data: Path, tmp_path: Path) -> None:
    for file in (real_data / "tu" / "MUTAG" / "raw").glob("MUTAG_*.txt"):
        (tmp_path / file.name).write_bytes(file.read_bytes())
    labels = tmp_path / "MUTAG_graph_labels.txt"
    labels.write_text(labels.read_text().replace("-1", "1", 1))
    with pytest.warns(UserWarning, match=r"MUTAG_graph_labels.txt is not the published file \(what it holds"):
        load("mutag", tmp_path)
    name = "amazon_electronics_photo.npz"
    with np.load(real_data / "gnn_benchmark" / name) as arrays:
        changed = {key: arrays[key] for key in arrays.files}
    changed["labels"] = np.roll(changed["labels"], 1)
    np.savez(tmp_path / name, **changed)
    with pytest.warns(UserWarning, match=r"amazon_electronics_photo.npz is not the published file"):
        load("amazon-photo", tmp_path)


def test_a_matrix_is_its_entries_in_whatever_order(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "some.npz"
    sorted_, mixed = (
        scipy.sparse.csr_matrix((data, columns, [0, 2, 2]), shape=(2, 3))
        for data, columns in (([3.0, 2.0], [0, 2]), ([2.0, 3.0], [2, 0]))
    )
    parts = ((2,), [2, 3]), ((3,), [0, 2, 2]), ((2,), [0, 2]), ((2,), [3, 2])
    digest = hashlib.sha256()
    for shape, values in parts:
        digest.update(str(shape).encode() + struct.pack(f"<{len(values)}d", *values))
    monkeypatch.setitem(CONTENT, "some.npz", digest.hexdigest())
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        compare_content(path, sorted_)
        compare_content(path, mixed)
        compare_content(tmp_path / "other.npz", mixed * 2)  # of which no sum is known
    with pytest.warns(UserWarning, match=r"some.npz is not the published file \(what it holds differs\)"):
        compare_content(path, mixed * 2)


@pytest.mark.parametrize("name", ["cora", "citeseer"])
def test_the_form_without_pickles_is_compared_with_what_the_published_files_hold(
    real_data: Path, tmp_path: Path, name: str
) -> None:
    if not (real_data / "planetoid_npz" / f"{name}.npz").exists():
        pytest.skip(f"{real_data} holds no planetoid_npz/{name}.npz")
    with np.load(real_data / "planetoid_npz" / f"{name}.npz") as arrays:
        content = {key: arrays[key] for key in arrays.files}
    np.savez(tmp_path / f"{name}.npz", **content)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        load(name, tmp_path)
    content["edge_index"][:, 0] += 1
    np.savez(tmp_path / f"{name}.npz", **content)
    with pytest.warns(UserWarning, match=f"{name}.npz is not the published file"):
        load(name, tmp_path)
