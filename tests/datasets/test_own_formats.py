"""One's own graph from every kind of file, written by other libraries."""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable
from pathlib import Path

import networkx as nx
import pytest
import scipy.io
import scipy.sparse

from mpnn.datasets import GraphDataset, NodeDataset, load
from tests.datasets.own_files import links, read


def test_a_file_that_lists_both_directions_gives_each_edge_once(tmp_path: Path) -> None:
    (tmp_path / "net.txt").write_text("# a comment\n0 1\n1 0\n1\t5\n1 5\n")
    data = read(tmp_path / "net.txt")
    assert sorted(links(data)) == [("0", "1"), ("1", "0"), ("1", "5"), ("5", "1")]
    packed = tmp_path / "packed.txt.gz"
    packed.write_bytes(gzip.compress((tmp_path / "net.txt").read_bytes()))
    assert links(read(packed)) == links(data)


def write_json(graph: nx.Graph, path: Path) -> None:
    path.write_text(json.dumps(nx.node_link_data(graph, edges="links")))


WRITERS: dict[str, Callable[[nx.Graph, Path], None]] = {
    "graphml": nx.write_graphml,
    "gml": nx.write_gml,
    "gexf": nx.write_gexf,
    "json": write_json,
}


@pytest.mark.parametrize("kind", WRITERS)
def test_files_of_networkx_are_read_back(tmp_path: Path, kind: str) -> None:
    club = nx.karate_club_graph()
    for node in club:
        club.nodes[node]["age"] = node / 2
    WRITERS[kind](club, tmp_path / f"club.{kind}")
    data = read(tmp_path / f"club.{kind}", label="club", edge_label="weight")
    assert links(data) == {(str(i), str(j)) for i, j in club.to_directed().edges}
    assert data.class_names == ("Mr. Hi", "Officer") and data.edge_y is not None
    assert data.x.flatten().tolist() == [node / 2 for node in club]


@pytest.mark.parametrize("kind", ["mtx", "npz"])
def test_matrices_of_scipy_are_read_back(tmp_path: Path, kind: str) -> None:
    matrix = scipy.sparse.random_array((30, 30), density=0.1, rng=3).tocsr()
    path = tmp_path / f"net.{kind}"
    if kind == "mtx":
        scipy.io.mmwrite(path, matrix)
    else:
        scipy.sparse.save_npz(path, matrix)
    data = read(path, directed=True)
    assert {(i, j) for i, j in data.graph.edge_index.T.tolist()} == set(zip(*matrix.nonzero(), strict=True))


def test_a_folder_in_the_tu_format_is_graphs(small_tu: Path) -> None:
    data = load(str(small_tu / "TOY" / "raw"))
    assert isinstance(data, GraphDataset) and data.num_graphs == 24


def test_the_real_edge_list_is_read_as_published(real_data: Path) -> None:
    data = load(str(real_data / "snap" / "email-Enron.txt.gz"))
    assert isinstance(data, NodeDataset)
    assert (data.num_nodes, data.graph.num_edges) == (36692, 2 * 183831)


def test_entries_of_a_matrix_and_attributes_of_edges_are_features_of_edges(tmp_path: Path) -> None:
    network = nx.Graph()
    network.add_edge("ann", "bob", weight=0.5)
    network.add_edge("bob", "cid", weight=2.0)
    nx.write_graphml(network, tmp_path / "net.graphml")
    nx.write_gml(network, tmp_path / "net.gml")
    scipy.sparse.save_npz(tmp_path / "net.npz", nx.to_scipy_sparse_array(network).tocsr())
    for kind in ("graphml", "gml", "npz"):
        data = read(tmp_path / f"net.{kind}")
        assert data.edge_attr is not None and data.edge_attr.shape == (4, 1)
        assert sorted(data.edge_attr.flatten().tolist()) == [0.5, 0.5, 2.0, 2.0]
    assert read(tmp_path / "net.graphml", ignore="weight").edge_attr is None
