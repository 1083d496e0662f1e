"""The pickle-free form of a citation graph: plain numpy arrays in one `.npz`."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.sparse import csr_matrix

from mpnn.datasets.files import compare_content
from mpnn.datasets.record import DataError, NodeDataset, check_declared, check_dense, damage, row_normalise
from mpnn.files import Arrays, read
from mpnn.graph.graph import Graph
from mpnn.graph.matrix import check_entries, check_matrix

DAMAGE = (EOFError, ValueError, KeyError, IndexError, TypeError, OverflowError)


def read_npz(path: Path, name: str, class_names: tuple[str, ...]) -> NodeDataset:
    """Read a graph whose features are a sparse matrix in CSR form.

    The keys are `edge_index` `[2, num_edges]`; `x_data`, `x_indices`, `x_indptr`, `x_shape` of the features,
    which are normalised by row here; `y`, `train_mask`, `val_mask` and `test_mask` `[num_nodes]`.

    Raises:
        DataError: the file is damaged, lacks a key, or its arrays do not fit together.
    """
    try:
        arrays = Arrays(read(path, DataError), path, DataError)
        x = compressed(arrays, "x_")
        check_dense(path, *x.shape)
        check_declared(path, x.shape[0], "rows")
        rest: dict[str, Any] = {
            key: torch.from_numpy(arrays[key])
            for key in ("edge_index", "y", "train_mask", "val_mask", "test_mask")
        }
        graph = Graph(rest.pop("edge_index"), x.shape[0])
        links = csr_matrix((np.ones(graph.num_edges), graph.edge_index.numpy()), (x.shape[0],) * 2)
        compare_content(path, links, x, *(value.numpy() for value in rest.values()))
        return NodeDataset(
            name=name,
            graph=graph,
            x=row_normalise(torch.from_numpy(x.toarray())),
            class_names=class_names,
            **rest,
        )
    except DAMAGE as error:
        raise damage(path, error) from error


def compressed(arrays: Mapping[str, NDArray[Any]], before: str) -> csr_matrix:
    """A sound matrix in CSR form, whose parts have these words before their names.

    Raises:
        ValueError: its pointers or its indices are none, or an entry is not finite in float32.
    """
    data, indices, indptr, shape = (arrays[before + part] for part in ("data", "indices", "indptr", "shape"))
    matrix = csr_matrix((data, indices, indptr), shape=tuple(map(int, shape)))
    check_matrix(matrix, before.rstrip("_."))
    check_entries(matrix, before.rstrip("_."))
    return matrix
