"""Sparse matrices that contradict themselves: one sentence each, and no memory is touched."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.io
import scipy.sparse
import torch
from hypothesis import given
from hypothesis import strategies as st

from mpnn import Graph
from mpnn.datasets import DataError, load
from mpnn.datasets.mat import read_mat
from mpnn.graph.matrix import check_matrix

FORMATS = ["csr", "csc", "bsr", "coo", "lil", "dok", "dia"]


def damaged(form: str = "csr", **parts: Any) -> Any:
    """Four by four, with other arrays than scipy would have taken."""
    matrix = scipy.sparse.coo_array((np.ones(4), ([0, 1, 2, 3], [1, 2, 3, 0])), shape=(4, 4)).asformat(form)
    for name, value in parts.items():
        setattr(matrix, name, value)
    return matrix


DAMAGED = [
    ({"indptr": np.array([0, 64, 2, 3, 4])}, r"indptr\[2\] is 2, but should be at least 64"),
    ({"indptr": np.array([0, 3, 1, 2, 4])}, r"indptr\[2\] is 1, but should be at least 3"),
    ({"indptr": np.array([0, 3, 1, 2, 4], np.uint64)}, r"indptr\[2\] is 1, but should be at least 3"),
    ({"indptr": np.array([1, 1, 2, 3, 4])}, "should hold 5 numbers from 0 on, but holds 5 from 1"),
    ({"indptr": np.array([-1, 1, 2, 3, 4])}, "should hold 5 numbers from 0 on, but holds 5 from -1"),
    ({"indptr": np.array([0, 1, 2, 4])}, "should hold 5 numbers from 0 on, but holds 4 from 0 on"),
    ({"indptr": np.array([], np.int64)}, "should hold 5 numbers from 0 on, but holds 0 from None"),
    ({"indptr": np.array([0, 1, 2, 3, 9])}, "indptr ends at 9, but there are 4 indices and 4 entries"),
    ({"data": np.ones(2)}, "indptr ends at 4, but there are 4 indices and 2 entries"),
    ({"indices": np.array([1, 2])}, "indptr ends at 4, but there are 2 indices and 4 entries"),
    ({"indices": np.array([1, 2, 4, 0])}, r"indices\[2\] is 4, but should be one of 4 places"),
    ({"indices": np.array([1, -2, 3, 0])}, r"indices\[1\] is -2, but should be one of 4 places"),
    ({"indices": np.array([1.0, 2.0, 3.0, 0.0])}, r"indices should be an array of integers .* float64 \[4\]"),
    ({"indptr": np.array([0.0, 1, 2, 3, 4])}, "indptr should be an array of integers"),
    ({"indptr": [0, 1, 2, 3, 4]}, "indptr should be an array of integers of one dimension, but is list"),
]


@pytest.mark.parametrize("form", ["csr", "csc", "bsr"])
@pytest.mark.parametrize("parts, said", DAMAGED)
def test_pointers_and_indices_that_contradict_each_other_are_named(
    parts: dict[str, Any], said: str, form: str
) -> None:
    if form == "bsr" and "data" in parts:
        parts = {"data": np.ones((2, 1, 1))}
    with pytest.raises(ValueError, match=said):
        Graph.from_scipy(damaged(form, **parts))


def test_places_of_an_entry_outside_of_a_matrix_are_named() -> None:
    matrix = damaged("coo")
    matrix.coords = (np.array([0, 1, 2, 9]), matrix.coords[1])
    with pytest.raises(ValueError, match=r"matrix.row\[3\] is 9, but should be one of 4 places"):
        Graph.from_scipy(matrix)
    matrix = damaged("coo")
    matrix.coords = (matrix.coords[0], np.array([0, 1]))
    with pytest.raises(ValueError, match=r"matrix.col holds 2 numbers, but there are 4 entries"):
        Graph.from_scipy(matrix)
    matrix = damaged("lil")
    matrix.rows[1] = [1, 2, 3]
    with pytest.raises(ValueError, match=r"matrix.rows\[1\] holds 3 columns, but matrix.data\[1\] holds 1"):
        Graph.from_scipy(matrix)
    with pytest.raises(TypeError, match=r"matrix must be a two-dimensional scipy.sparse matrix, got ndarray"):
        Graph.from_scipy(np.eye(3))


@given(st.sampled_from(FORMATS), st.integers(0, 5), st.integers(0, 5), st.integers(0, 99))
def test_a_sound_matrix_of_any_format_is_taken(form: str, rows: int, columns: int, seed: int) -> None:
    if form in ("bsr", "dia"):  # of which scipy makes no empty ones
        rows, columns = max(rows, 1), max(columns, 1)
    matrix = scipy.sparse.random_array((rows, columns), density=0.4, rng=seed).asformat(form)
    check_matrix(matrix)
    graph, values = Graph.from_scipy(matrix)
    assert (graph.to_scipy(values).toarray() == matrix.toarray()).all()


@pytest.mark.parametrize("form", ["csr", "csc"])
@pytest.mark.parametrize("indptr", [[0, 64, 2, 3, 4], [0, 3, 1, 2, 4]])
def test_a_file_with_wrong_pointers_is_damaged(tmp_path: Path, indptr: list[int], form: str) -> None:
    path = tmp_path / "net.npz"
    scipy.sparse.save_npz(path, damaged(form, indptr=np.array(indptr)))
    with pytest.raises(DataError, match=r"net.npz is damaged or of another format: matrix.indptr\[2\] is"):
        load(str(path))


def test_a_matlab_file_with_wrong_pointers_is_damaged(tmp_path: Path) -> None:
    path = tmp_path / "net.mat"
    labels = scipy.sparse.csc_matrix(np.eye(4))
    content = {"network": scipy.sparse.csc_matrix(damaged("csc")), "group": labels}
    scipy.io.savemat(path, content)
    assert read_mat(path, "net").graph.num_edges == 8
    raw = path.read_bytes()
    right, wrong = (np.array(jc, np.int32).tobytes() for jc in ([0, 1, 2, 3, 4], [0, 3, 1, 2, 4]))
    assert raw.count(right) == 2
    path.write_bytes(raw.replace(right, wrong, 1))
    with pytest.raises(DataError, match=r"net.mat is damaged or of another format: network.indptr\[2\] is 1"):
        read_mat(path, "net")


def test_a_zero_byte_in_a_matrix_market_file_is_named(tmp_path: Path) -> None:
    path = tmp_path / "net.mtx"
    path.write_bytes(b"%%MatrixMarket matrix coordinate real general\n2 2 1\n1 2 1.\x005\n")
    with pytest.raises(DataError, match=r"net.mtx is damaged or of another format: byte \d+ is 0"):
        load(str(path))


def test_stored_zeros_and_repeated_entries_stay_edges() -> None:
    matrix = scipy.sparse.coo_array((np.array([0.0, 1.0, 2.0]), ([0, 1, 1], [1, 0, 0])), shape=(2, 2))
    graph, values = Graph.from_scipy(matrix)
    assert graph.edge_index.tolist() == [[0, 1, 1], [1, 0, 0]] and values.tolist() == [0, 1, 2]
    assert torch.equal(Graph.from_scipy(matrix.tocsr())[0].edge_index, torch.tensor([[0, 1], [1, 0]]))
