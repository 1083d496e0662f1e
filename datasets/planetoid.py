"""Cora, CiteSeer and PubMed: citation graphs with the public split of Yang et al. (2016)."""

from __future__ import annotations

import tempfile
import warnings
from pathlib import Path

from mpnn import files
from mpnn.datasets.checksums import SHA256
from mpnn.datasets.download import download
from mpnn.datasets.files import (
    cache_folder,
    data_folder,
    first_place,
    is_verified,
    make_folder,
    read_verified,
)
from mpnn.datasets.planetoid_npz import read_npz
from mpnn.datasets.record import DataError, NodeDataset, row_normalise
from mpnn.graph.graph import Graph

FOLDERS = {"cora": "Cora", "citeseer": "CiteSeer", "pubmed": "PubMed"}

# The files number the classes; the names follow from the published sizes of the classes.
CLASS_NAMES = {
    "cora": (
        "Theory",
        "Reinforcement learning",
        "Genetic algorithms",
        "Neural networks",
        "Probabilistic methods",
        "Case-based",
        "Rule learning",
    ),
    "citeseer": ("AI", "Machine learning", "Information retrieval", "Databases", "Agents", "HCI"),
    "pubmed": ("Experimental diabetes", "Type 2 diabetes", "Type 1 diabetes"),
}


def load_planetoid(name: str, data: str | Path | None = None) -> NodeDataset:
    """Return `"cora"`, `"citeseer"` or `"pubmed"` with row-normalised features and the public split.

    A citation is an edge in both directions, and is there once. 20 labelled nodes of each class are for
    training, 500 nodes for validation, 1000 for the test (Yang et al., 2016; Kipf & Welling, 2017).

    Args:
        name: which graph.
        data: a folder that holds the eight raw files `ind.NAME.*` in `planetoid/Cora/raw`, `Cora/raw`, `raw`
            or directly, or their pickle-free form `NAME.npz` in `planetoid_npz` or directly. By default the
            folder that the environment variable `MPNN_DATA` names; without it the raw files are downloaded
            once into the user's cache. They are pickles, and reading a pickle runs what is written in it:
            each is opened only if its SHA-256 is that of the published file.

    Raises:
        DataError: a folder or file is missing, unreadable or not the published one.
    """
    folder = data_folder(data)
    if folder is None:
        return _read_raw(_download(name), name)
    home = FOLDERS[name]
    raw = first_place(folder, (f"planetoid/{home}/raw", f"{home}/raw", "raw", "."), SHA256[name])
    if raw is not None:
        return _read_raw(raw, name)
    npz = first_place(folder, ("planetoid_npz", "."), [f"{name}.npz"])
    if npz is not None:
        return read_npz(npz / f"{name}.npz", name, CLASS_NAMES[name])
    raise DataError(f"{folder} holds neither {home}/raw/ind.{name}.x and the files beside it nor {name}.npz")


def _read_raw(raw: Path, name: str) -> NodeDataset:
    contents = {file: read_verified(raw / file, sha256) for file, sha256 in SHA256[name].items()}

    # The bytes that were verified are the bytes that are unpickled: only this user can write to this folder.
    with tempfile.TemporaryDirectory(prefix="mpnn-") as private, warnings.catch_warnings():
        for file, content in contents.items():
            (Path(private) / file).write_bytes(content)
        # The pickles name scipy's modules as they were called in 2016.
        warnings.filterwarnings("ignore", category=DeprecationWarning)
        from torch_geometric.io import read_planetoid_data  # slow to import: only where it is needed

        record = read_planetoid_data(private, name)
    return NodeDataset(
        name=name,
        graph=Graph(record.edge_index, record.y.numel()),
        x=row_normalise(record.x),
        y=record.y,
        train_mask=record.train_mask,
        val_mask=record.val_mask,
        test_mask=record.test_mask,
        class_names=CLASS_NAMES[name],
    )


def _download(name: str) -> Path:
    """Return the user's copy of the raw files, fetched from where PyG fetches them unless they are there."""
    raw = cache_folder("planetoid") / FOLDERS[name] / "raw"
    missing = {file: sha256 for file, sha256 in SHA256[name].items() if not is_verified(raw / file, sha256)}
    if missing:
        from torch_geometric.datasets import Planetoid  # slow to import: only where it is needed

        make_folder(raw)
        for file, sha256 in missing.items():
            files.write(raw / file, download(name, f"{Planetoid.url}/{file}", sha256), DataError)
    return raw
