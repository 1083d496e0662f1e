"""Numbers that float32 cannot hold, and answers that are not there: a sentence with file and line, or NaN."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.io
import scipy.sparse
import torch
from torch_geometric.data import Data

from mpnn.datasets import Columns, DataError, NodeDataset, load
from mpnn.datasets.mat import read_mat
from mpnn.datasets.own.arrays import read_features
from mpnn.datasets.planetoid_npz import read_npz
from mpnn.datasets.shchur import read_shchur
from tests.datasets.loading import many_graphs, one_graph

EDGES = torch.tensor([[0, 1, 2], [1, 2, 0]])


def tables(folder: Path, cell: str) -> Columns:
    """Four nodes, whose targets and features are numbers but for one cell."""
    (folder / "net.csv").write_text("a,b,far\n1,2,0.5\n2,3,1.5\n3,4,2.5\n")
    (folder / "nodes.csv").write_text(f"n,target,size\n1,0.5,{cell}\n2,{cell},2\n3,1.5,3\n4,2.5,5\n")
    return Columns(nodes=str(folder / "nodes.csv"), label="target", ignore="size")


@pytest.mark.parametrize("cell", ["NA", "nan", "NaN", "n/a", "null", ""])
def test_a_target_without_a_number_is_not_known(tmp_path: Path, cell: str) -> None:
    data = load(str(tmp_path / "net.csv"), columns=tables(tmp_path, cell))
    assert isinstance(data, NodeDataset) and data.y is not None and data.known is not None
    assert data.known.tolist() == [True, False, True, True]
    assert data.y[data.known].flatten().tolist() == [0.5, 1.5, 2.5]
    assert data.class_names == ("target",)


def refused(path: Path, columns: Columns | None, words: str) -> None:
    with pytest.raises(DataError, match=words) as raised:
        load(str(path), columns=columns)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize("cell", ["1e39", "-4e38"])
def test_a_number_beyond_float32_is_named_with_its_line(tmp_path: Path, cell: str) -> None:
    net, target = tmp_path / "net.csv", tables(tmp_path, cell)
    refused(net, target, rf"nodes\.csv line 3: target is '{cell}', but should be finite in float32")
    both = Columns(nodes=target.nodes, label="target,size")
    refused(net, both, rf"nodes\.csv line 3: target is '{cell}', but should be finite")
    feature = Columns(nodes=target.nodes, label="target", node_id="n")
    (tmp_path / "nodes.csv").write_text(f"n,target,size\n1,0.5,{cell}\n2,1,2\n3,1.5,3\n4,2.5,5\n")
    refused(net, feature, rf"nodes\.csv: size is '{cell}' in line 2")
    net.write_text(f"a,b,far\n1,2,0.5\n2,3,{cell}\n3,4,2.5\n")
    refused(net, None, rf"net\.csv: far is '{cell}' in line 3")
    refused(net, Columns(edge_weight="far"), rf"net\.csv line 3: far is '{cell}'")
    refused(net, Columns(edge_label="far"), rf"net\.csv line 3: far is '{cell}'")


def teams(folder: Path, *cells: str) -> tuple[Path, Columns]:
    """A net of three nodes, each with its team."""
    (folder / "net.csv").write_text("a,b\n1,2\n2,3\n3,1\n")
    rows = [f"{k + 1},{cell},{k % 2}\n" for k, cell in enumerate(cells)]
    (folder / "nodes.csv").write_text("n,team,other\n" + "".join(rows))
    return folder / "net.csv", Columns(nodes=str(folder / "nodes.csv"), label="team")


@pytest.mark.parametrize("cell", ["1e39", "-1e39", "1e400", "inf", "-Infinity", "9" * 400, "9" * 5000])
def test_an_infinite_number_is_no_class_among_whole_numbers(tmp_path: Path, cell: str) -> None:
    """A column of numbers has a slip in it then, and no class of that name."""
    net, columns = teams(tmp_path, "0", cell, "1")
    words = rf"nodes\.csv line 3: team is '{cell[:40]}', but should be finite"
    refused(net, columns, words)
    refused(net, replace(columns, label="team,other"), words)


@pytest.mark.parametrize(
    ("cells", "names"),
    [
        (("inf", "1e39", "word"), ("1e39", "inf", "word")),
        (("--1", "0", "-2"), ("--1", "-2", "0")),
        (("10", "9", "-2"), ("-2", "9", "10")),
    ],
)
def test_words_among_numbers_are_classes(
    tmp_path: Path, cells: tuple[str, ...], names: tuple[str, ...]
) -> None:
    net, columns = teams(tmp_path, *cells)
    data = load(str(net), columns=columns)
    assert isinstance(data, NodeDataset) and data.class_names == names


@pytest.mark.parametrize("entry", [float("nan"), 1e39, 1j], ids=str)
def test_entries_of_matrices_are_finite_in_float32(tmp_path: Path, entry: complex) -> None:
    """A comparison with 0 would take NaN for 1."""
    dense = np.eye(4, dtype=type(entry))[[1, 2, 3, 0]]
    dense[2, 3] = entry
    bad, good = scipy.sparse.csr_matrix(dense), scipy.sparse.csr_matrix(np.eye(4))
    words = "real numbers" if isinstance(entry, complex) else "row 2, column 3 is .*, but should be finite"

    def says(name: str, load_it: Callable[[Path], object]) -> None:
        with pytest.raises(DataError, match=rf"{name}.*{words}") as raised:
            load_it(tmp_path / name)
        assert "\n" not in str(raised.value)

    scipy.sparse.save_npz(tmp_path / "net.npz", bad)
    says("net.npz", lambda path: load(str(path)))
    says("net.npz", lambda path: read_features(str(path), [*"abcd"]))
    scipy.io.mmwrite(tmp_path / "net.mtx", bad)
    says("net.mtx", lambda path: load(str(path)))
    for network, group in ((bad, good), (good, bad)):
        scipy.io.savemat(tmp_path / "net.mat", {"network": network, "group": group})
        says("net.mat", lambda path: read_mat(path, "net"))
    for links, features in ((bad, good), (good, bad)):
        _save_csr(tmp_path / "goods.npz", {"adj": links, "attr": features}, labels=np.arange(4))
        says("goods.npz", lambda path: read_shchur(path, "goods"))
    parts = {f"{part}_mask": np.arange(4) == k for k, part in enumerate(("train", "val", "test"))}
    rest = {"edge_index": np.array([[0, 1], [1, 2]]), "y": np.arange(4), **parts}
    _save_csr(tmp_path / "cites.npz", {"x": bad}, **rest)
    says("cites.npz", lambda path: read_npz(path, "cites", (*"abcd",)))


def test_a_dense_matrix_of_a_matlab_file_is_finite_in_float32(tmp_path: Path) -> None:
    scipy.io.savemat(tmp_path / "net.mat", {"network": np.full((2, 2), np.nan), "group": np.eye(2)})
    with pytest.raises(DataError, match=r"net\.mat.*network: the entry at row 0, column 0 is nan"):
        read_mat(tmp_path / "net.mat", "net")


def _save_csr(path: Path, matrices: dict[str, scipy.sparse.csr_matrix], **others: np.ndarray) -> None:
    """Matrices as they are published: each part in an array of its own."""
    made: dict[str, Any] = {
        f"{name}_{part}": getattr(one, part)
        for name, one in matrices.items()
        for part in ("data", "indices", "indptr", "shape")
    }
    np.savez(path, **made | others)


@pytest.mark.parametrize("value", [float("inf"), float("nan"), 1e39])
def test_features_of_pyg_are_finite_in_float32(tmp_path: Path, value: float) -> None:
    x = torch.tensor([[1.0], [value], [0.0]], dtype=torch.float64)
    torch.save(Data(edge_index=EDGES, x=x, y=torch.tensor([0, 1, 0])), tmp_path / "net.pt")
    refused(
        tmp_path / "net.pt", None, r"net\.pt cannot be used: row 1 of its features holds a number that is"
    )
    torch.save(Data(edge_index=EDGES, edge_attr=x, num_nodes=3), tmp_path / "net.pt")
    refused(tmp_path / "net.pt", None, "row 1 of its features")


def test_features_of_pyg_are_real(tmp_path: Path) -> None:
    x = torch.ones(3, 1, dtype=torch.complex64)
    torch.save(Data(edge_index=EDGES, x=x, y=torch.tensor([0, 1, 0])), tmp_path / "net.pt")
    refused(tmp_path / "net.pt", None, "its features are torch.complex64 .*, but should be real numbers")


def test_names_of_nodes_may_have_any_number_of_digits(tmp_path: Path) -> None:
    (tmp_path / "net.csv").write_text(f"a,b\n{'9' * 5000},10\n10,9\n")
    assert one_graph(str(tmp_path / "net.csv")).node_names == ("9", "10", "9" * 5000)
    np.save(tmp_path / "x.npy", np.ones((11, 2)))
    columns = Columns(features_file=str(tmp_path / "x.npy"))
    refused(tmp_path / "net.csv", columns, "has 11 rows, but node '9{5000}' is none of 0..10")


def test_some_masks_without_the_others_are_named(tmp_path: Path) -> None:
    parts = {
        "train_mask": torch.tensor([True, False, False]),
        "test_mask": torch.tensor([False, True, False]),
    }
    torch.save(Data(edge_index=EDGES, x=torch.ones(3, 1), y=torch.arange(3), **parts), tmp_path / "net.pt")
    with pytest.warns(UserWarning, match=r"has train_mask and test_mask but no val_mask: all three say"):
        assert one_graph(str(tmp_path / "net.pt")).train_mask is None


@pytest.fixture
def toy(tmp_path: Path) -> Path:
    """Two graphs of two nodes in the TU format."""
    for name, text in (
        ("A", "1, 2\n2, 1\n3, 4\n4, 3\n"),
        ("graph_indicator", "1\n1\n2\n2\n"),
        ("graph_labels", "0\n1\n"),
    ):
        (tmp_path / f"TOY_{name}.txt").write_text(text)
    return tmp_path


@pytest.mark.parametrize("count", [3, 6])
def test_there_is_a_label_for_each_edge(toy: Path, count: int) -> None:
    (toy / "TOY_edge_labels.txt").write_text("0\n1\n0\n1\n")
    assert many_graphs(str(toy)).edge_dim == 2
    (toy / "TOY_edge_labels.txt").write_text("0\n" * count)
    refused(toy, None, rf"TOY_edge_\*\.txt in .* have {count} lines, but should have 4")


@pytest.mark.parametrize("file", ["node_attributes", "graph_attributes"])
def test_numbers_of_a_tu_folder_are_finite_in_float32(toy: Path, file: str) -> None:
    (toy / f"TOY_{file}.txt").write_text("0.5\n1e39\n1\n1\n"[: 9 if file[0] == "g" else None])
    refused(toy, None, rf"TOY_{file}\.txt line 2: '1e39' should be a finite number")


def test_labels_far_apart_are_refused(toy: Path) -> None:
    (toy / "TOY_node_labels.txt").write_text("0\n1\n99999999\n1\n")
    refused(
        toy, None, r"TOY_node_labels\.txt has labels from 0 to 99999999, but 4 lines: number them from 0 on"
    )
