"""Folders of data files: small ones made by fixtures, and the published files if they are there."""

from __future__ import annotations

import hashlib
import os
import pickle
from pathlib import Path

import numpy as np
import pytest
import scipy.sparse

from mpnn.datasets.checksums import SHA256
from tests.datasets.own_files import EDGES, NODES


@pytest.fixture
def real_data() -> Path:
    """Folder with the published files."""
    folder = os.environ.get("MPNN_DATA")
    if not folder or not Path(folder).is_dir():
        pytest.skip("set MPNN_DATA to a folder with the published data files")
    return Path(folder)


@pytest.fixture
def small_planetoid(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with raw files of a random graph in Planetoid's format, whose checksums count as known."""
    random = np.random.default_rng(3)
    raw = tmp_path / "planetoid" / "Cora" / "raw"
    raw.mkdir(parents=True)
    num_all, num_train, num_test, channels, classes = 520, 14, 30, 9, 7
    num_nodes = num_all + num_test

    def features(rows: int) -> scipy.sparse.csr_matrix:
        return scipy.sparse.csr_matrix((random.random((rows, channels)) < 0.3).astype(np.float32))

    def one_hot(rows: int) -> np.ndarray:
        return np.eye(classes, dtype=np.int32)[random.integers(classes, size=rows)]

    allx, ally = features(num_all), one_hot(num_all)
    graph = {node: random.integers(num_nodes, size=3).tolist() for node in range(num_nodes)}
    contents = {
        "x": allx[:num_train],
        "y": ally[:num_train],
        "allx": allx,
        "ally": ally,
        "tx": features(num_test),
        "ty": one_hot(num_test),
        "graph": graph,
    }
    for part, content in contents.items():
        (raw / f"ind.cora.{part}").write_bytes(pickle.dumps(content))
    lines = "".join(f"{node}\n" for node in random.permutation(np.arange(num_all, num_nodes)))
    (raw / "ind.cora.test.index").write_text(lines)
    sums = {file.name: hashlib.sha256(file.read_bytes()).hexdigest() for file in raw.iterdir()}
    monkeypatch.setitem(SHA256, "cora", sums)
    return tmp_path


@pytest.fixture
def small_tu(tmp_path: Path) -> Path:
    """A folder with random graphs in the TU format: labels and attributes of nodes, labels of edges."""
    random = np.random.default_rng(5)
    raw = tmp_path / "TOY" / "raw"
    raw.mkdir(parents=True)
    sizes = random.integers(2, 9, size=24)
    starts = np.concatenate([[0], np.cumsum(sizes)[:-1]])
    owner = np.repeat(np.arange(24), sizes)
    pairs = [
        start + random.integers(size, size=(3 * size, 2)) for start, size in zip(starts, sizes, strict=True)
    ]
    # Self loops among them, as real files have them.
    edges = np.unique(np.concatenate(pairs), axis=0)
    columns = {
        "A": edges + 1,
        "graph_indicator": owner + 1,
        "graph_labels": np.tile([-1, 1, 5], 8),
        "node_labels": random.integers(1, 4, size=len(owner)),
        "node_attributes": random.random((len(owner), 2)).round(4),
        "edge_labels": random.integers(0, 2, size=len(edges)),
    }
    for name, values in columns.items():
        lines = (", ".join(map(str, np.atleast_1d(row).tolist())) + "\n" for row in values)
        (raw / f"TOY_{name}.txt").write_text("".join(lines))
    return tmp_path


@pytest.fixture
def tables(tmp_path: Path) -> Path:
    (tmp_path / "net.csv").write_text(EDGES)
    (tmp_path / "nodes.csv").write_text(NODES)
    return tmp_path
