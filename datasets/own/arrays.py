"""Features of nodes from a file of numbers beside the tables: `.npy`, `.npz`, or lists in `.json`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from mpnn.datasets.child import sparse
from mpnn.datasets.planetoid_npz import DAMAGE
from mpnn.datasets.record import DataError, check_dense, damage
from mpnn.files import Arrays, array, read, read_json

ENDINGS = (".npy", ".npz", ".json")
MOST = 1_000_000  # features of a list: more would not fit into memory
NAME = "x"  # of the array in a `.npz` that holds several
SPARSE = "format"  # a key of what scipy.sparse.save_npz writes


def read_features(given: Any, names: Sequence[str], width: int | None = None) -> Tensor:
    """Return a row of features for each node, float32 `[num_nodes, channels]`.

    Args:
        given: an array or tensor, or a file: `.npy`; `.npz`, with one array, or one called `x`, or a matrix
            of `scipy.sparse.save_npz`; their rows are in the order of the nodes. Or a `.json` with a list of
            features for each node, which are numbers from 0: then a node has 1 where it has a feature.
            Pickles are not read.
        names: of the nodes, in their order.
        width: how many channels there should be, None for any.

    Raises:
        DataError: the file cannot be read, or has another number of rows than there are nodes.
    """
    where = "features" if isinstance(given, np.ndarray | Tensor) else str(given)
    if isinstance(given, np.ndarray | Tensor):
        array = given.numpy(force=True) if isinstance(given, Tensor) else given
    elif Path(given).suffix == ".json":
        return _of_lists(Path(given), names, width)
    else:
        array = _load(Path(given))
    array = array[:, None] if array.ndim == 1 else array
    if array.ndim != 2 or array.dtype.kind not in "biuf" or not array.shape[1]:
        raise DataError(
            f"{where} holds {array.dtype} {list(array.shape)}, but should hold numbers [nodes, channels]"
        )
    if len(array) != len(names):
        raise DataError(
            f"{where} has {len(array):,} rows, but there are {len(names):,} nodes: one row for each"
        )
    _check_width(where, array.shape[1], width)
    with np.errstate(over="ignore"):  # what is too large gets a sentence below
        features = torch.from_numpy(array.astype(np.float32))
    bad = (~features.isfinite()).nonzero()
    if len(bad):
        row, column = bad[0].tolist()
        raise DataError(
            f"{where}: row {row} (node {names[row]}) holds {array[row, column]} in column {column}, but "
            "should hold numbers that are finite in float32"
        )
    return features


def count_rows(path: str | Path) -> int:
    """How many rows a file of features has; of a `.json`, how many lists."""
    path = Path(path)
    return len(_lists(path) if path.suffix == ".json" else _load(path))


def _check_width(where: str, found: int, width: int | None) -> None:
    if width is not None and found != width:
        raise DataError(f"{where} has {found} columns, but the model was trained with {width}")


def _load(path: Path) -> np.ndarray[Any, Any]:
    if path.suffix not in ENDINGS:
        raise DataError(f"features_file is {str(path)!r}, but its name should end in {', '.join(ENDINGS)}")
    content = read(path, DataError)
    try:
        if path.suffix == ".npy":
            return array(content)
        found = Arrays(content, path, DataError)
        if SPARSE in found:
            matrix = sparse(found, "")
            check_dense(path, *matrix.shape)
            dense: np.ndarray[Any, Any] = matrix.toarray()
            return dense
    except (*DAMAGE, MemoryError) as error:
        raise damage(path, error) from error
    if NAME not in found and len(found) != 1:
        raise DataError(
            f"{path} holds {', '.join(found) or 'nothing'}, but should hold one array, or one called {NAME!r}"
        )
    return found[NAME if NAME in found else next(iter(found))]


def _of_lists(path: Path, names: Sequence[str], width: int | None) -> Tensor:
    lists = _lists(path)
    strange = [name for name in names if name not in lists]
    if strange:
        raise DataError(f"{path} has lists for {len(lists):,} nodes, but none for node {strange[0]!r}")
    highest = max((feature for name in names for feature in lists[name]), default=-1)
    if width is not None and highest >= width:
        raise DataError(f"{path} has a feature {highest}, but the model was trained with 0..{width - 1}")
    x = torch.zeros(len(names), highest + 1 if width is None else width)
    rows = [row for row, name in enumerate(names) for _ in lists[name]]
    x[rows, [feature for name in names for feature in lists[name]]] = 1
    return x


def _lists(path: Path) -> dict[str, list[int]]:
    """A list of features for each node by its name."""
    lists = read_json(path, DataError)
    if not all(map(_is_list_of_features, lists.values())):
        raise DataError(f"{path} should hold a list of features for each node, which are numbers from 0")
    return lists


def _is_list_of_features(value: Any) -> bool:
    return isinstance(value, list) and all(type(one) is int and 0 <= one < MOST for one in value)
