"""BlogCatalog and PPI: graphs whose nodes have several labels each, from Matlab files."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.sparse import coo_matrix

from mpnn.datasets.child import read_in_child, sparse
from mpnn.datasets.features import degree_one_hot
from mpnn.datasets.files import find_file, published
from mpnn.datasets.planetoid_npz import DAMAGE
from mpnn.datasets.record import DataError, NodeDataset, check_dense, damage
from mpnn.graph.graph import Graph
from mpnn.graph.matrix import check_entries

FILES = {"blogcatalog": "blogcatalog.mat", "ppi": "Homo_sapiens.mat"}


def load_mat(name: str, data: str | Path | None = None) -> NodeDataset:
    """Return `"blogcatalog"` (Zafarani and Liu, 2009) or `"ppi"` (Grover and Leskovec, 2016).

    Their features are one-hot degrees. Edges go both ways, once each, without self loops.

    Args:
        name: which graph.
        data: a folder that holds its file in `graph_embedding` or directly; by default the folder that the
            environment variable `MPNN_DATA` names.

    Raises:
        DataError: the file is missing or damaged.
    """
    return read_mat(published(find_file(name, data, FILES[name], ("graph_embedding", "."))), name)


def read_mat(path: Path, name: str) -> NodeDataset:
    """Read `network`, a sparse adjacency matrix, and `group`, sparse nodes by labels.

    Raises:
        DataError: the file is damaged, lacks a matrix, or they do not fit together.
    """
    parts = read_in_child(path, "MATLAB")
    links, labels = (_matrix(parts, path, name) for name in ("network", "group"))
    if links.shape[0] != links.shape[1] or labels.shape[0] != links.shape[0]:
        raise DataError(
            f"{path}: network {list(links.shape)} should be as high as wide, and group {list(labels.shape)} "
            "should have a row for each node"
        )
    check_dense(path, *labels.shape)
    both = (links + links.T).tocoo()
    apart = (both.row != both.col) & (both.data != 0)
    edge_index = torch.from_numpy(np.stack([both.row[apart], both.col[apart]]).astype(np.int64))
    graph = Graph(edge_index, links.shape[0])
    return NodeDataset(
        name=name,
        graph=graph,
        x=degree_one_hot(graph.in_degree),
        derived=("x",),
        y=torch.from_numpy(labels.toarray() != 0),
        class_names=tuple(f"label {number}" for number in range(labels.shape[1])),
    )


def _matrix(parts: Mapping[str, NDArray[Any]], path: Path, name: str) -> coo_matrix:
    if name not in parts and f"{name}.format" not in parts:
        raise DataError(f"{path} is damaged or of another format: it has no matrix {name!r}")
    try:
        if name in parts:
            matrix = coo_matrix(parts[name])
            check_entries(matrix, name)
            return matrix
        return sparse(parts, f"{name}.").tocoo()
    except DAMAGE as error:
        raise damage(path, error) from error
