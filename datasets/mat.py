"""BlogCatalog and PPI: graphs whose nodes have several labels each, from Matlab files."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import scipy.io
import scipy.sparse
import torch
from scipy.io.matlab import MatReadError
from scipy.sparse import coo_matrix

from mpnn.datasets.features import degree_one_hot
from mpnn.datasets.files import find_file, published
from mpnn.datasets.planetoid_npz import DAMAGE
from mpnn.datasets.record import DataError, NodeDataset, in_a_line
from mpnn.graph.graph import Graph
from mpnn.graph.matrix import check_matrix

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
    try:
        content = scipy.io.loadmat(path)
        for key in ("network", "group"):
            if scipy.sparse.issparse(content[key]):  # as it is in the file: the next step trusts it
                check_matrix(content[key], key)
        links, labels = (coo_matrix(content[key]) for key in ("network", "group"))
    except (*DAMAGE, NotImplementedError, MatReadError) as error:
        raise DataError(f"{path} is damaged or of another format: {in_a_line(error)}") from error
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
