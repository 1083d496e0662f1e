"""Edges from a sparse matrix: Matrix Market's `.mtx`, and the `.npz` of `scipy.sparse.save_npz`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import scipy.sparse
import torch

from mpnn.datasets.child import read_in_child, sparse
from mpnn.datasets.own.columns import Columns
from mpnn.datasets.own.edge_list import EdgeList
from mpnn.datasets.planetoid_npz import DAMAGE
from mpnn.datasets.record import DataError, check_declared, damage
from mpnn.files import Arrays, read
from mpnn.graph.matrix import check_entries

ENTRY = "value"  # what the entries of a matrix are called


def read_matrix(path: Path, columns: Columns) -> EdgeList:
    """Read an edge from row to column for each entry that is not 0; the nodes are numbered from 0."""
    columns.refuse(("source", "target", "edge_label", "edge_type"), f"{path.name} has no such columns")
    if columns.edge_weight not in (None, ENTRY):
        raise DataError(f"edge_weight is {columns.edge_weight!r}, but entries of {path.name} go by {ENTRY!r}")
    matrix = _load(path)
    check_declared(path, matrix.shape[0], "rows")
    if matrix.shape[0] != matrix.shape[1]:
        raise DataError(f"{path} is a matrix {matrix.shape}, but that of a graph is as high as wide")
    there = matrix.data != 0
    ends = np.stack([matrix.row[there], matrix.col[there]]).astype(np.int64)
    weights = matrix.data[there].astype(np.float32)
    attr = None
    if columns.edge_weight is not None:
        attr = torch.from_numpy(weights)
    elif len(np.unique(weights)) > 1:
        attr = torch.from_numpy(weights[:, None])
    return EdgeList(ends, [str(node) for node in range(matrix.shape[0])], attr)


def _load(path: Path) -> Any:
    try:
        if path.suffix == ".npz":
            matrix = sparse(Arrays(read(path, DataError), path, DataError), "")
        else:
            parts = read_in_child(path, "Matrix Market")
            dense = "matrix" in parts
            matrix = scipy.sparse.coo_array(parts["matrix"]) if dense else sparse(parts, "matrix.")
            check_entries(matrix)
    except DAMAGE as error:
        raise damage(path, error) from error
    return matrix.tocoo()
