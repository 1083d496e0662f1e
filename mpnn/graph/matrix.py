"""Sparse matrices of scipy, looked at before scipy's own routines, which crash on damaged ones."""

from __future__ import annotations

from typing import Any

import numpy as np
import scipy.sparse
from numpy.typing import NDArray

LARGEST = float(np.finfo(np.float32).max)
ROWS = {"csr": 0, "bsr": 0, "csc": 1}  # which dimension the pointers are of


def check_matrix(matrix: Any, name: str = "matrix") -> None:
    """Raise TypeError or ValueError unless `matrix` is a sound sparse matrix of two dimensions.

    >>> check_matrix(scipy.sparse.eye_array(3).tocsr())
    """
    if not scipy.sparse.issparse(matrix) or matrix.ndim != 2:
        raise TypeError(f"{name} must be a two-dimensional scipy.sparse matrix, got {type(matrix).__name__}.")
    if matrix.format in ROWS:
        _check_compressed(matrix, name)
    elif matrix.format == "coo":
        for part, places, size in (
            ("row", matrix.row, matrix.shape[0]),
            ("col", matrix.col, matrix.shape[1]),
        ):
            _check_places(f"{name}.{part}", places, size, len(np.atleast_1d(matrix.data)))
    elif matrix.format == "lil":
        for row, (columns, values) in enumerate(zip(matrix.rows, matrix.data, strict=True)):
            if len(columns) != len(values):
                raise ValueError(
                    f"{name}.rows[{row}] holds {len(columns)} columns, but {name}.data[{row}] holds "
                    f"{len(values)} values."
                )


def check_entries(matrix: Any, name: str = "matrix") -> None:
    """Raise ValueError unless the entries of a sound matrix are real, and finite in float32.

    >>> check_entries(scipy.sparse.eye_array(3).tocsr())
    """
    if matrix.data.dtype.kind not in "biuf":
        raise ValueError(f"{name} holds {matrix.data.dtype}, but should hold real numbers.")
    if bool((np.abs(matrix.data) <= LARGEST).all()):
        return
    entries = matrix.tocoo()
    bad = int((~(np.abs(entries.data) <= LARGEST)).argmax())
    raise ValueError(
        f"{name}: the entry at row {entries.row[bad]}, column {entries.col[bad]} is {entries.data[bad]}, but "
        "should be finite in float32."
    )


def _check_compressed(matrix: Any, name: str) -> None:
    axis = ROWS[matrix.format]
    block = matrix.blocksize if matrix.format == "bsr" else (1, 1)
    num_rows, num_columns = (matrix.shape[k] // block[k] for k in (axis, 1 - axis))
    indptr = _integers(f"{name}.indptr", matrix.indptr)
    if indptr.shape != (num_rows + 1,) or indptr[0] != 0:
        start = int(indptr[0]) if indptr.size else None
        raise ValueError(
            f"{name}.indptr should hold {num_rows + 1} numbers from 0 on, but holds {indptr.size} from "
            f"{start} on."
        )
    falls = np.flatnonzero(indptr[1:] < indptr[:-1])
    if falls.size:
        k = int(falls[0])
        raise ValueError(
            f"{name}.indptr[{k + 1}] is {indptr[k + 1]}, but should be at least {indptr[k]}, indptr[{k}]."
        )
    entries = len(matrix.data)
    if indptr[-1] > min(entries, len(matrix.indices)):
        raise ValueError(
            f"{name}.indptr ends at {indptr[-1]}, but there are {len(matrix.indices)} indices and {entries} "
            "entries."
        )
    _check_places(f"{name}.indices", matrix.indices[: indptr[-1]], num_columns, int(indptr[-1]))


def _integers(name: str, array: Any) -> NDArray[Any]:
    if not isinstance(array, np.ndarray) or array.ndim != 1 or array.dtype.kind not in "iu":
        kind = f"{array.dtype} {list(array.shape)}" if isinstance(array, np.ndarray) else type(array).__name__
        raise ValueError(f"{name} should be an array of integers of one dimension, but is {kind}.")
    return array


def _check_places(name: str, places: Any, size: int, count: int) -> None:
    places = _integers(name, places)
    if len(places) != count:
        raise ValueError(f"{name} holds {len(places)} numbers, but there are {count} entries.")
    outside = np.flatnonzero((places < 0) | (places >= size))
    if outside.size:
        bad = int(outside[0])
        raise ValueError(f"{name}[{bad}] is {places[bad]}, but should be one of {size} places, from 0 on.")
