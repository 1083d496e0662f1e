"""One's own graph from every kind of file: written by other libraries, and with every mistake."""

from __future__ import annotations

import gzip
from pathlib import Path

import networkx as nx
import pytest
import scipy.io
import scipy.sparse
import torch

from mpnn.datasets import Columns, DataError, GraphDataset, NodeDataset, load, load_own
from tests.compare import assert_close

EDGES = "from,to,weight,kind\nann,bob,0.5,friend\nbob,cid,1,foe\ncid,dan,2,friend\n"
NODES = "name,age,height,team\ndan,4,1.5,red\nann,1,1.1,red\nbob,2,1.2,blue\ncid,3,1.3,\n"


@pytest.fixture
def tables(tmp_path: Path) -> Path:
    (tmp_path / "net.csv").write_text(EDGES)
    (tmp_path / "nodes.csv").write_text(NODES)
    return tmp_path


def read(path: Path, **columns: str | bool | None) -> NodeDataset:
    data = load_own(path, Columns(**columns))  # type: ignore[arg-type]
    assert isinstance(data, NodeDataset)
    return data


def links(data: NodeDataset) -> set[tuple[str, str]]:
    names = data.node_names
    return {(names[i], names[j]) for i, j in data.graph.edge_index.T.tolist()}


def test_tables_of_edges_and_nodes_become_one_graph(tables: Path) -> None:
    data = read(tables / "net.csv", nodes=str(tables / "nodes.csv"), label="team", edge_label="kind")
    assert data.node_names == ("dan", "ann", "bob", "cid")
    one_way = {("ann", "bob"), ("bob", "cid"), ("cid", "dan")}
    assert links(data) == one_way | {(j, i) for i, j in one_way}
    assert_close(data.x, torch.tensor([[4, 1.5], [1, 1.1], [2, 1.2], [3, 1.3]]))
    assert data.class_names == ("blue", "red") and data.y is not None and data.y.tolist() == [1, 1, 0, -1]
    assert data.known is not None and data.known.tolist() == [True, True, True, False]
    assert data.edge_y is not None and data.edge_attr is not None
    assert data.edge_class_names == ("foe", "friend")
    for (i, j), kind, (weight,) in zip(
        data.graph.edge_index.T.tolist(), data.edge_y.tolist(), data.edge_attr.tolist(), strict=True
    ):
        pair = {data.node_names[i], data.node_names[j]}
        assert (kind, weight) == {"ann": (1, 0.5), "cid": (1, 2.0)}.get(
            min(pair) if "dan" not in pair else "cid", (0, 1.0)
        )


def test_columns_may_be_named_and_edges_may_go_one_way(tables: Path) -> None:
    (tables / "net.tsv").write_text("id\tv\tu\n7\t2\t10\n8\t1\t2\n")
    data = read(tables / "net.tsv", source="u", target="v", directed=True)
    assert data.node_names == ("1", "2", "10")  # in the order of numbers
    assert links(data) == {("10", "2"), ("2", "1")}
    assert data.edge_attr is None  # a column of ids is no feature
    assert data.y is None and data.x.size(1) == 2  # degrees 0 and 1


def test_a_file_that_lists_both_directions_gives_each_edge_once(tmp_path: Path) -> None:
    (tmp_path / "net.txt").write_text("# a comment\n0 1\n1 0\n1\t5\n1 5\n")
    data = read(tmp_path / "net.txt")
    assert sorted(links(data)) == [("0", "1"), ("1", "0"), ("1", "5"), ("5", "1")]
    packed = tmp_path / "packed.txt.gz"
    packed.write_bytes(gzip.compress((tmp_path / "net.txt").read_bytes()))
    assert links(read(packed)) == links(data)


def test_labels_with_a_decimal_point_are_numbers(tables: Path) -> None:
    nodes = str(tables / "nodes.csv")
    data = read(tables / "net.csv", nodes=nodes, label="height", edge_label="weight", ignore="kind, team")
    assert data.y is not None and data.edge_y is not None
    assert data.y.flatten().tolist() == pytest.approx([1.5, 1.1, 1.2, 1.3])
    assert data.edge_y.shape == (6, 1) and data.x.flatten().tolist() == [4, 1, 2, 3]


@pytest.mark.parametrize("kind", ["graphml", "gml"])
def test_files_of_networkx_are_read_back(tmp_path: Path, kind: str) -> None:
    club = nx.karate_club_graph()
    for node in club:
        club.nodes[node]["age"] = node / 2
    getattr(nx, f"write_{kind}")(club, tmp_path / f"club.{kind}")
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


BAD: list[tuple[str, str, dict[str, str], str]] = [
    ("net.csv", "a,b\n1,2\n3\n", {}, r"net.csv line 3: it holds 1 cells, but the header holds 2"),
    (
        "net.csv",
        "a,b,c\n" + "".join(f"{k},{k + 1},{k}\n" for k in range(9)) + "9,10,x\n",
        {},
        r"net.csv: c is 'x' in line 11, but 9 of 10 cells are finite numbers: change it, leave it empty, or",
    ),
    ("net.csv", "a,b\n1,2\n", {"source": "c"}, r"net.csv has no column 'c', but a, b"),
    ("net.csv", "a,b\n1,2\n", {"ignore": "c"}, r"ignore names column 'c', which no table has"),
    ("net.csv", "a,b\n", {}, r"net.csv should hold a header and a line of data"),
    ("net.csv", "a,a\n1,2\n", {}, r"net.csv line 1: two columns have the same name"),
    ("net.csv", "a\n1\n", {}, r"net.csv line 1: the header should name two columns"),
    ("net.csv", "a,b,c\n1,2,x\n2,3,\n", {"edge_label": "c"}, r"net.csv line 3: the edge has no c"),
    ("net.csv", "a,b\n1,2\n", {"label": "c"}, r"label is 'c', but there is no table of nodes: give nodes"),
    ("net.csv", "a,b\nann,eve\n", {"nodes": "nodes.csv"}, r"net.csv line 2: node 'eve' is not in the table"),
    ("net.csv", "a,b\nann,bob\n", {"nodes": "none.csv"}, r"none.csv does not exist"),
    ("net.txt", "1 2\n3 x\n", {}, r"net.txt line 2: 'x' should be an integer"),
    ("net.txt", "1 2\n", {"source": "a"}, r"source is 'a', but net.txt has no such columns"),
    (
        "net.txt",
        "1 2 3\n",
        {},
        r"net.txt line 1: it holds 3 numbers, but should hold two, the ends",
    ),
    ("net.graphml", "<graphml", {}, r"net.graphml cannot be read"),
    ("net.gml", "graph [", {}, r"net.gml cannot be read"),
    ("net.mtx", "1 2", {}, r"net.mtx is damaged or of another format"),
    ("net.npz", "1 2", {}, r"net.npz is damaged or of another format"),
    ("net.csv", "a,b\r1,2\r3\r", {}, r"net.csv line 3: it holds 1 cells"),
    (
        "net.csv",
        "a,b,c\n1,2,3\n3,4,nan\n",
        {"edge_weight": "c"},
        r"line 3: c is 'nan', but should be",
    ),
    (
        "net.csv",
        "a,b,c\n1,2,3\n2,3,1\n2,1,4\n",
        {},
        r"net.csv line 4: the edge 2 - 1 is there already, in line 2",
    ),
    ("net.csv", "a,b\nx,\ud800\n", {}, r"net.csv line 2: it should be text in UTF-8"),
    ("net.csv.gz", "a,b\n", {}, r"net.csv.gz cannot be read: Not a gzipped file"),
    ("net.txt", "1 2\n3 99999999999999999999\n", {}, r"net.txt line 2: '9+' should be an integer of at most"),
    ("net.txt", "# nothing\n", {}, r"net.txt is empty"),
    (
        "net.gml",
        'graph [ node [ id 1 ] node [ id 2 ] edge [ source 1 target 2 kind "x" ] ]',
        {},
        r"net.gml .*",
    ),
    (
        "net.mtx",
        "%%MatrixMarket matrix coordinate real general\n2 2 1\n1 2 nan\n",
        {},
        r"net.mtx: the entry at row 0, column 1 should be finite",
    ),
    (
        "net.mtx",
        "%%MatrixMarket matrix coordinate real general\n2 2 1\n1 99999999999999999999 1\n",
        {},
        r"net.mtx is damaged or of another format",
    ),
    ("net.pt", "", {}, r"net.pt is damaged or of another format: EOFError"),
    ("net.xlsx", "", {}, r"net.xlsx is of no known kind: its name should end in .csv, .tsv"),
]


@pytest.mark.parametrize(("file", "content", "columns", "sentence"), BAD)
def test_a_mistake_is_named(
    tables: Path, file: str, content: str, columns: dict[str, str], sentence: str
) -> None:
    (tables / file).write_text(content, encoding="utf-8", errors="surrogatepass", newline="")
    if "nodes" in columns:
        columns = columns | {"nodes": str(tables / columns["nodes"])}
    with pytest.raises(DataError, match=sentence):
        read(tables / file, **columns)


def test_other_mistakes_are_named(tables: Path) -> None:
    with pytest.raises(DataError, match="does not exist"):
        load(str(tables / "nothing.csv"))
    with pytest.raises(DataError, match=r"data is 'x', but .*net.csv is a path already"):
        load(str(tables / "net.csv"), "x")
    with pytest.raises(DataError, match="columns are named, but karate is no file"):
        load("karate", columns=Columns(label="club"))
    with pytest.raises(DataError, match=r"holds 0 files \*_A.txt"):
        load(str(tables))
    (tables / "nodes.csv").write_text("name,x\nann,1\nann,2\n")
    with pytest.raises(DataError, match=r"nodes.csv line 3: node 'ann' is there already, in line 2"):
        read(tables / "net.csv", nodes=str(tables / "nodes.csv"), edge_label="kind")


def test_marks_and_line_ends_of_other_systems_change_nothing(tables: Path) -> None:
    (tables / "other.csv").write_text("\ufeff" + EDGES, encoding="utf-8", newline="\r\n")
    ours, theirs = (
        read(tables / name, source="from", edge_label="kind") for name in ("net.csv", "other.csv")
    )
    assert theirs.node_names == ours.node_names and links(theirs) == links(ours)


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


def test_a_path_that_cannot_be_one_does_not_exist() -> None:
    with pytest.raises(DataError, match="does not exist"):
        load("a" * 300 + ".csv")


@pytest.mark.parametrize("index", ["", "Unnamed: 0"])
def test_the_index_that_pandas_writes_is_no_end_of_an_edge_and_no_feature(tmp_path: Path, index: str) -> None:
    path = tmp_path / "net.csv"
    path.write_text(f"{index},source,target,weight\n0,a,b,1.5\n1,b,c,2.5\n")
    for options in ({}, {"source": "source"}, {"target": "target", "source": "source"}):
        data = read(path, **options)
        assert links(data) == {("a", "b"), ("b", "a"), ("b", "c"), ("c", "b")}
        assert data.edge_dim == 1
    path.write_text(f"{index},from,to\n0,a,b\n1,b,c\n")
    assert links(read(path, directed=True)) == {("a", "b"), ("b", "c")}


def test_columns_called_source_and_target_are_the_ends_wherever_they_stand(tmp_path: Path) -> None:
    path = tmp_path / "net.csv"
    path.write_text("weight,target,source\n1.5,b,a\n2.5,c,b\n")
    data = read(path, directed=True)
    assert links(data) == {("a", "b"), ("b", "c")} and data.edge_dim == 1
    path.write_text("from,to,weight\na,b,1.5\nb,c,2.5\n")
    assert links(read(path, source="to", directed=True)) == {("b", "a"), ("c", "b")}
    with pytest.raises(DataError, match="source and target are both 'to', but should be two columns"):
        read(path, source="to", target="to")


def test_of_two_columns_the_first_may_have_no_name(tmp_path: Path) -> None:
    path = tmp_path / "net.csv"
    path.write_text(",to\na,b\nb,c\n")
    assert links(read(path, directed=True)) == {("a", "b"), ("b", "c")}
