"""The pickle-free form of a citation graph: plain numpy arrays in one `.npz`."""

from __future__ import annotations

import zipfile
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import torch
from scipy.sparse import csr_matrix

from mpnn.datasets.files import compare_content
from mpnn.datasets.record import DataError, NodeDataset, in_a_line, row_normalise
from mpnn.graph.graph import Graph
from mpnn.graph.matrix import check_matrix

DAMAGE = (OSError, EOFError, ValueError, KeyError, IndexError, TypeError, zipfile.BadZipFile, zlib.error)


def read_npz(path: Path, name: str, class_names: tuple[str, ...]) -> NodeDataset:
    """Read a graph whose features are a sparse matrix in CSR form.

    The keys are `edge_index` `[2, num_edges]`; `x_data`, `x_indices`, `x_indptr`, `x_shape` of the features,
    which are normalised by row here; `y`, `train_mask`, `val_mask` and `test_mask` `[num_nodes]`.

    Raises:
        DataError: the file is damaged, lacks a key, or its arrays do not fit together.
    """
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as arrays:
            csr = (arrays["x_data"], arrays["x_indices"], arrays["x_indptr"])
            x = csr_matrix(csr, shape=tuple(arrays["x_shape"]))
            check_matrix(x, "x")
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
        raise DataError(f"{path} is damaged or of another format: {in_a_line(error)}") from error
