"""Amazon and Coauthor: graphs of goods and of scientists (Shchur et al., 2018), from plain `.npz` files."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from mpnn.datasets.files import compare_content, find_file
from mpnn.datasets.planetoid_npz import DAMAGE, compressed
from mpnn.datasets.record import DataError, NodeDataset, check_declared, check_dense, classes_of, damage
from mpnn.files import Arrays, read
from mpnn.graph.graph import Graph

FILES = {
    "amazon-computers": "amazon_electronics_computers.npz",
    "amazon-photo": "amazon_electronics_photo.npz",
    "coauthor-cs": "ms_academic_cs.npz",
    "coauthor-physics": "ms_academic_phy.npz",
}


def load_shchur(name: str, data: str | Path | None = None) -> NodeDataset:
    """Return `"amazon-computers"`, `"amazon-photo"`, `"coauthor-cs"` or `"coauthor-physics"`.

    Edges go both ways, once each, without self loops; features are 0 and 1. There is no public split: the
    paper draws 20 nodes of each class to train and 30 to validate on.

    Args:
        name: which graph.
        data: a folder that holds its file in `gnn_benchmark`, `raw` or directly; by default the folder that
            the environment variable `MPNN_DATA` names. Nothing is downloaded. A pickle in it, such as the
            names of Coauthor's classes, is not read: classes are then called by their numbers.

    Raises:
        DataError: the file is missing or damaged.
    """
    return read_shchur(find_file(name, data, FILES[name], ("gnn_benchmark", "raw", ".")), name)


def read_shchur(path: Path, name: str) -> NodeDataset:
    """Read adjacency and features as CSR (`adj_*`, `attr_*`), `labels`, and `class_names` if they are there.

    Raises:
        DataError: the file is damaged, lacks a key, or its arrays do not fit together.
    """
    try:
        arrays = Arrays(read(path, DataError), path, DataError)
        links, x = compressed(arrays, "adj_"), compressed(arrays, "attr_")
        check_dense(path, *x.shape)
        check_declared(path, links.shape[0], "rows")
        y = torch.from_numpy(arrays["labels"].astype(np.int64))
        names = _class_names(arrays, classes_of(y))
        compare_content(path, links, x, y.numpy())
        both = (links + links.T).tocoo()
        apart = both.row != both.col
        edge_index = torch.from_numpy(np.stack([both.row[apart], both.col[apart]]).astype(np.int64))
        return NodeDataset(
            name=name,
            graph=Graph(edge_index, links.shape[0]),
            x=torch.from_numpy((x != 0).astype(np.float32).toarray()),
            y=y,
            class_names=tuple(map(str, names)),
        )
    except DAMAGE as error:
        raise damage(path, error) from error


def _class_names(arrays: Arrays, count: int) -> Sequence[Any]:
    try:
        names: list[Any] = arrays["class_names"].tolist()
    except DataError:  # not there, or a pickle, which would run what is in it
        return range(count)
    return names
