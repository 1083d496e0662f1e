"""Amazon, Coauthor, BlogCatalog, PPI, and what is drawn: against PyG, scipy and networkx."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import networkx as nx
import numpy as np
import pytest
import scipy.io
import scipy.sparse
import torch
from torch import Tensor
from torch_geometric.io import read_npz

from mpnn.datasets import DATASETS, DataError, GraphDataset, NodeDataset, load
from mpnn.datasets.synthetic import load_cycles, load_grid, load_sbm, load_trees
from tests.compare import assert_close
from tests.datasets.loading import one_graph
from tests.present import present

pytestmark = pytest.mark.filterwarnings("ignore:.*is not the published file")


@pytest.fixture
def small_npz(tmp_path: Path) -> Path:
    """A file in the format of Shchur et al."""
    random = np.random.default_rng(0)
    links = scipy.sparse.random_array((40, 40), density=0.08, rng=random).tocsr()
    attr = scipy.sparse.random_array((40, 9), density=0.3, rng=random).tocsr()
    attr.data[:] = 1
    arrays = {
        f"{name}_{part}": getattr(matrix, part)
        for name, matrix in (("adj", links), ("attr", attr))
        for part in ("data", "indices", "indptr", "shape")
    }
    np.savez(tmp_path / "amazon_electronics_photo.npz", labels=np.arange(40) % 3, **arrays)
    return tmp_path


def test_amazon_is_read_as_by_pyg(small_npz: Path) -> None:
    theirs = read_npz(str(small_npz / "amazon_electronics_photo.npz"))
    ours = one_graph("amazon-photo", small_npz)
    assert set(zip(*ours.graph.edge_index.tolist(), strict=True)) == set(
        zip(*theirs.edge_index.tolist(), strict=True)
    )
    assert ours.graph.num_edges == theirs.num_edges
    assert_close(ours.x, theirs.x)
    assert ours.y is not None and torch.equal(ours.y, theirs.y) and ours.train_mask is None


class Runs:
    """An object that runs code when it is unpickled."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> Any:
        return Path.mkdir, (self.mark,)


def test_pickled_names_are_left_unread_and_the_classes_numbered(small_npz: Path) -> None:
    path, mark = small_npz / "amazon_electronics_photo.npz", small_npz / "was run"
    with np.load(path) as arrays:
        content = {name: arrays[name] for name in arrays.files}
    np.savez(path, **content, class_names=np.array([Runs(mark)] * 3, dtype=object))
    assert one_graph("amazon-photo", small_npz).class_names == ("0", "1", "2")
    assert not mark.exists()


PUBLISHED = [
    ("amazon-photo", 7650, 119081, 745, 8),
    ("coauthor-cs", 18333, 81894, 6805, 15),
    ("blogcatalog", 10312, 333983, None, 39),
    ("ppi", 3890, 37845, None, 50),
]


@pytest.mark.parametrize(("name", "nodes", "edges", "channels", "classes"), PUBLISHED)
def test_the_real_files_have_the_published_sizes(
    real_data: Path, name: str, nodes: int, edges: int, channels: int | None, classes: int
) -> None:
    data = one_graph(name, real_data)
    assert (data.num_nodes, data.graph.num_edges, data.num_classes) == (nodes, 2 * edges, classes)
    assert channels in (None, data.num_features)


def test_several_labels_are_read_from_matlab_files(tmp_path: Path) -> None:
    labels = np.array([[1, 0], [1, 1], [0, 1]])
    network = np.array([[1, 1, 0], [1, 0, 1], [0, 1, 0]])
    content = {"network": scipy.sparse.csc_matrix(network), "group": scipy.sparse.csc_matrix(labels)}
    scipy.io.savemat(tmp_path / "blogcatalog.mat", content)
    data = one_graph("blogcatalog", tmp_path)
    assert data.y is not None and data.y.dtype == torch.bool and data.y.int().tolist() == labels.tolist()
    assert sorted(data.graph.edge_index.T.tolist()) == [[0, 1], [1, 0], [1, 2], [2, 1]]


@pytest.mark.parametrize(
    ("name", "file"), [("amazon-photo", "amazon_electronics_photo.npz"), ("ppi", "Homo_sapiens.mat")]
)
def test_missing_and_damaged_files_are_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, file: str
) -> None:
    monkeypatch.delenv("MPNN_DATA", raising=False)
    with pytest.raises(DataError, match=f"{name} is read from {file}: give its folder by --data"):
        load(name)
    with pytest.raises(DataError, match=f"holds no {file}"):
        load(name, tmp_path)
    (tmp_path / file).write_bytes(b"PK\x03\x04 nothing")
    with pytest.raises(DataError, match=f"{file} is damaged or of another format"):
        load(name, tmp_path)


def test_blocks_are_linked_within_more_often_than_between() -> None:
    data = load_sbm(size=200)
    assert data.y is not None and data.edge_y is not None
    within = data.edge_y.double().mean()
    expected = 0.08 * 199 / (0.08 * 199 + 0.01 * 400)  # the mean of the model
    assert abs(float(within) - expected) < 0.02
    assert torch.equal(data.edge_y == 1, data.y[data.graph.src] == data.y[data.graph.dst])


def test_the_grid_is_networkxs_and_its_answers_the_means() -> None:
    data = load_grid(4, 5)
    assert nx.is_isomorphic(data.graph.to_networkx().to_undirected(), nx.grid_2d_graph(4, 5))
    assert data.y is not None
    for node in range(20):
        around = data.x[data.graph.src[data.graph.dst == node]]
        assert_close(data.y[node], around.mean(dim=0), atol=1e-6)


def test_trees_are_trees_and_closed_ones_have_a_cycle() -> None:
    trees, cycles = load_trees(40), load_cycles(40)
    for graph, leaves in zip(trees.graphs, trees.y.flatten().tolist(), strict=True):
        theirs = graph.to_networkx().to_undirected()
        assert nx.is_tree(theirs) and leaves == sum(degree == 1 for _, degree in theirs.degree)
    for graph, label in zip(cycles.graphs, cycles.y.tolist(), strict=True):
        theirs = graph.to_networkx().to_undirected()
        assert len(nx.cycle_basis(theirs)) == label and nx.is_connected(theirs)


def drawn(name: str) -> list[Tensor]:
    """The features of every node or of every graph, and what is to be learned."""
    data = load(name)
    assert isinstance(data, NodeDataset | GraphDataset)
    return [*data.x, present(data.y)]


@pytest.mark.parametrize("name", ["sbm", "grid", "trees", "cycles"])
def test_what_is_drawn_is_always_the_same(name: str) -> None:
    assert not DATASETS[name].reads_files
    assert all(torch.equal(a, b) for a, b in zip(drawn(name), drawn(name), strict=True))
