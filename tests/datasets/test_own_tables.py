"""Tables as people have them: without a header, with other separators, ids anywhere, gaps."""

from __future__ import annotations

import gzip
from pathlib import Path

import networkx as nx
import pandas as pd
import pytest
import torch

from mpnn.datasets import Columns, DataError, NodeDataset, load, load_own, load_tables
from mpnn.train import load_model, preset, train
from mpnn.train.command import cli
from tests.train.conftest import Complaint, complaint

__all__ = ["complaint"]


def read(path: Path, **columns: str | bool | None) -> NodeDataset:
    data = load_own(path, Columns(**columns))  # type: ignore[arg-type]
    assert isinstance(data, NodeDataset)
    return data


def links(data: NodeDataset) -> set[frozenset[str]]:
    names = data.node_names
    return {frozenset((names[i], names[j])) for i, j in data.graph.edge_index.T.tolist()}


def test_a_table_of_numbers_without_a_header_keeps_its_first_edge(tmp_path: Path) -> None:
    drawn = nx.gnm_random_graph(20, 40, seed=0)
    nx.write_edgelist(drawn, tmp_path / "net.csv", delimiter=",", data=False)
    with pytest.warns(UserWarning, match=r"net.csv has no header: .* called source, target"):
        data = read(tmp_path / "net.csv")
    assert links(data) == {frozenset(map(str, edge)) for edge in drawn.edges}


@pytest.mark.parametrize("first", ["ann,bob,0.5", "from,to,2019"])
def test_a_number_behind_two_names_may_be_a_cell_or_a_header(tmp_path: Path, first: str) -> None:
    (tmp_path / "net.csv").write_text(f"{first}\ncid,dan,1.5\ncid,eve,2.5\n")
    name, _, number = first.split(",")
    with pytest.raises(
        DataError, match=f"line 1: '{number}' is a number: if the line is an edge, .* by source '{name}'"
    ):
        read(tmp_path / "net.csv")
    data = read(tmp_path / "net.csv", source=name)
    assert links(data) == {frozenset(("cid", "dan")), frozenset(("cid", "eve"))} and data.edge_dim == 1


def test_a_first_line_that_may_be_an_edge_or_a_header_is_asked_about(tmp_path: Path) -> None:
    (tmp_path / "net.csv").write_text("ann,bob\nbob,cid\ncid,dan\n")
    with pytest.raises(
        DataError, match=r"net.csv line 1: 'bob' is a node of other lines too: .* say so by source"
    ):
        read(tmp_path / "net.csv")
    assert links(read(tmp_path / "net.csv", source="ann")) == {
        frozenset(["bob", "cid"]),
        frozenset(("cid", "dan")),
    }


def test_a_table_of_nodes_without_a_header_is_refused(tmp_path: Path) -> None:
    (tmp_path / "net.csv").write_text("source,target\nann,bob\nbob,cid\n")
    (tmp_path / "nodes.csv").write_text("ann,3\nbob,4\ncid,5\n")
    with pytest.raises(DataError, match=r"line 1: it should name the columns, but begins with 'ann'"):
        read(tmp_path / "net.csv", nodes=str(tmp_path / "nodes.csv"))


@pytest.mark.parametrize(
    ("name", "separator", "decimal", "packed"),
    [
        ("net.csv", ";", ",", False),
        ("net.csv", "\t", ".", False),
        ("net.tsv", "\t", ".", True),
        ("net.csv", ",", ".", True),
    ],
)
def test_every_separator_is_read_as_pandas_writes_it(
    tmp_path: Path, name: str, separator: str, decimal: str, packed: bool
) -> None:
    frame = pd.DataFrame(
        {
            "source": ["ann", 'b "bo" b'],
            "target": ["cid, the 2nd", "dan; d"],
            "length": [1.5, -2.25],
            "n": [1, 2],
        }
    )
    text = frame.to_csv(index=False, sep=separator, decimal=decimal)
    path = tmp_path / (name + ".gz" if packed else name)
    path.write_bytes(gzip.compress(text.encode()) if packed else text.encode())
    data = read(path)
    assert links(data) == {frozenset(pair) for pair in zip(frame.source, frame.target, strict=True)}
    assert data.edge_attr is not None
    assert {*map(tuple, data.edge_attr.tolist())} == {(1.5, 1.0), (-2.25, 2.0)}


def test_a_quote_that_does_not_end_is_named(tmp_path: Path) -> None:
    (tmp_path / "net.csv").write_text('source,target\nann,"bob\ncid,dan\n')
    with pytest.raises(DataError, match=r"net.csv line 3: unexpected end of data"):
        read(tmp_path / "net.csv")


def test_names_of_nodes_stay_text(tmp_path: Path) -> None:
    (tmp_path / "net.csv").write_text("source,target\n007,NA\n7,007\nNA,1e3\n")
    (tmp_path / "nodes.csv").write_text("id,age\n007,1\n7,2\nNA,4\n1e3,8\n")
    data = read(tmp_path / "net.csv", nodes=str(tmp_path / "nodes.csv"))
    assert data.node_names == ("007", "7", "NA", "1e3")
    assert links(data) == {frozenset(("007", "NA")), frozenset(("7", "007")), frozenset(("NA", "1e3"))}


def test_the_column_of_names_is_the_one_that_holds_the_ends_of_edges(tmp_path: Path) -> None:
    (tmp_path / "net.csv").write_text("source,target\nn1,n2\nn2,n3\n")
    pd.DataFrame({"days": [5, 6, 7], "user": ["n3", "n1", "n2"]}).to_csv(tmp_path / "nodes.csv")
    data = read(tmp_path / "net.csv", nodes=str(tmp_path / "nodes.csv"))
    assert data.node_names == ("n3", "n1", "n2") and data.x.flatten().tolist() == [5, 6, 7]


def test_pandas_tables_are_read_as_their_files_are(tmp_path: Path) -> None:
    edges = pd.DataFrame({"u": [3, 1], "v": [1, 2], "length": [0.5, 1.5]})
    nodes = pd.DataFrame(
        {"id": [1, 2, 3], "age": [5.0, None, 7.0], "ok": [True, False, True], "team": list("aba")}
    )
    edges.to_csv(tmp_path / "net.csv", index=False)
    nodes.to_csv(tmp_path / "nodes.csv", index=False)
    ours = load_tables(edges, nodes, Columns(label="team"))
    theirs = read(tmp_path / "net.csv", nodes=str(tmp_path / "nodes.csv"), label="team")
    assert ours.node_names == theirs.node_names and links(ours) == links(theirs)
    assert ours.class_names == theirs.class_names
    for name in ("x", "y", "edge_attr"):
        assert torch.equal(getattr(ours, name), getattr(theirs, name))
    with pytest.raises(DataError) as error:
        load_tables(edges, nodes, Columns(label="Team", edge_weight="Length"))
    assert "edges has no column 'Length'" in str(error.value) and "nodes has no column 'Team'" in str(
        error.value
    )
    with pytest.raises(DataError, match="edges should hold a row of data at least"):
        load_tables(edges[:0])


def test_a_pandas_table_has_a_header_whatever_it_says() -> None:
    edges = pd.DataFrame([["a", "b"], ["b", "c"]])  # columns 0 and 1
    nodes = pd.DataFrame([["a", 5], ["b", 6], ["c", 7]])
    data = load_tables(edges, nodes)
    assert links(data) == {frozenset("ab"), frozenset("bc")} and data.x.flatten().tolist() == [5, 6, 7]


def test_what_is_not_known_is_no_class_and_no_number(tmp_path: Path) -> None:
    (tmp_path / "net.csv").write_text("source,target\na1,a2\na2,a3\n")
    (tmp_path / "nodes.csv").write_text("id,team,size,red,blue\na1,,,1,0\na2,ant,1.5,,1\na3,bee,n/a,0,1\n")
    nodes = str(tmp_path / "nodes.csv")
    classes = read(tmp_path / "net.csv", nodes=nodes, label="team")
    assert (
        classes.class_names == ("ant", "bee") and classes.y is not None and classes.y.tolist() == [-1, 0, 1]
    )
    numbers = read(tmp_path / "net.csv", nodes=nodes, label="size")
    assert numbers.y is not None and numbers.y.isnan().flatten().tolist() == [True, False, True]
    assert numbers.known is not None and numbers.known.tolist() == [False, True, False]
    labels = read(tmp_path / "net.csv", nodes=nodes, label="red,blue")
    assert labels.y is not None and labels.y.tolist() == [[True, False], [False, False], [False, True]]
    assert labels.known is not None and labels.known.tolist() == [True, False, True]


def test_all_problems_of_both_tables_are_told_at_once(tmp_path: Path) -> None:
    (tmp_path / "net.csv").write_text("from,to,weight\na1,a2,1\na2,a3,2\n")
    (tmp_path / "nodes.csv").write_text("id,Team,age\na1,x,1\na2,y,2\na3,x,3\n")
    with pytest.raises(DataError) as error:
        read(
            tmp_path / "net.csv",
            nodes=str(tmp_path / "nodes.csv"),
            label="team",
            edge_weight="wieght",
            part="prat",
        )
    said = str(error.value)
    assert "there are 3 problems" in said
    assert "has no column 'team', but id, Team, age: did you mean 'Team'?" in said
    assert "has no column 'wieght', but from, to, weight: did you mean 'weight'?" in said
    assert "has no column 'prat', but id, Team, age" in said


def test_bad_cells_of_both_tables_are_told_at_once(tmp_path: Path) -> None:
    many = range(20)
    rows = "".join(f"a{k},a{k + 1},{k if k else 'long'}\n" for k in many)
    (tmp_path / "net.csv").write_text("source,target,length\n" + rows)
    cells = "".join(f"a{k},{'inf' if k == 3 else k},{'?' if k == 4 else k + 0.5}\n" for k in range(21))
    (tmp_path / "nodes.csv").write_text("id,age,size\n" + cells)
    with pytest.raises(DataError) as error:
        read(tmp_path / "net.csv", nodes=str(tmp_path / "nodes.csv"))
    assert "nodes.csv: age is 'inf' in line 5, but 20 of 21 cells are finite numbers" in str(error.value)
    assert "net.csv: length is 'long' in line 2, but 19 of 20 cells are finite numbers" in str(error.value)


@pytest.mark.parametrize("loss", ["mse", "huber"])
def test_whole_numbers_are_learned_as_numbers_where_the_loss_says_so(tmp_path: Path, loss: str) -> None:
    drawn = nx.gnm_random_graph(40, 80, seed=0)
    (tmp_path / "net.csv").write_text("u,v\n" + "".join(f"n{i},n{j}\n" for i, j in drawn.edges))
    cells = "".join(f"n{k},{k % 7},{'' if k == 3 else 3 * (k % 7)}\n" for k in range(40))
    (tmp_path / "nodes.csv").write_text("id,size,price\n" + cells)
    own = {"dataset": str(tmp_path / "net.csv"), "nodes": str(tmp_path / "nodes.csv"), "label": "price"}
    report = train(preset("sage", **own, loss=loss, epochs=3), tmp_path / loss, draw=False)
    assert [metric.name for metric in report.metrics] == ["mae", "rmse", "r2"]


def test_words_are_no_numbers(tmp_path: Path, complaint: Complaint) -> None:
    (tmp_path / "net.csv").write_text("u,v\na,b\nb,c\n")
    (tmp_path / "nodes.csv").write_text("id,team\na,1\nb,red\nc,2\n")
    own = ["--dataset", str(tmp_path / "net.csv"), "--nodes", str(tmp_path / "nodes.csv")]
    said = complaint("train", "node", *own, "--label", "team", "--loss", "mse")
    assert "loss is 'mse', which is for numbers, but 'red' is a class" in said


def test_names_of_data_sets_and_models_know_no_case(tmp_path: Path) -> None:
    assert load("Karate").name == "karate"
    settings = preset("GAT", dataset="Coauthor-CS")
    assert (settings.model, settings.dataset, settings.split) == ("gat", "coauthor-cs", "per-class")
    with pytest.raises(DataError, match="did you mean 'karate'"):
        load("karat")


def test_nodes_without_a_column_that_says_something_have_degrees(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    drawn = nx.gnm_random_graph(30, 60, seed=0)
    (tmp_path / "net.csv").write_text("u,v\n" + "".join(f"n{i},n{j}\n" for i, j in drawn.edges))
    cells = "".join(f"n{k},title {k},{'ab'[k % 2]}\n" for k in range(30))
    (tmp_path / "nodes.csv").write_text("name,title,team\n" + cells)
    own = ["--dataset", str(tmp_path / "net.csv"), "--nodes", str(tmp_path / "nodes.csv")]
    own += ["--label", "team", "--epochs", "2", "--no-pictures"]
    assert cli.main(["train", "node", *own, "--out", str(tmp_path / "run")]) == 0
    out = capsys.readouterr().out
    assert "left out: text" in out and "The features of nodes are their degrees, one-hot." in out
    _, task, _ = load_model(tmp_path / "run")
    degrees = [drawn.degree[int(name[1:])] for name in task.data.node_names]
    assert task.data.x.argmax(dim=1).tolist() == degrees


def test_real_tables_are_read_as_pandas_reads_them(real_data: Path) -> None:
    home = real_data / "more" / "tables" / "social_samples"
    for stem in ("quaker", "marvel-unimodal"):
        edges, nodes = home / f"{stem}-edges.csv", home / f"{stem}-nodes.csv"
        frame, people = pd.read_csv(edges), pd.read_csv(nodes)
        data = read(edges, nodes=str(nodes))
        ends = frame[["Source", "Target"]]
        assert data.num_nodes == len(people)
        assert links(data) == {
            frozenset(str(end).strip() for end in pair) for pair in ends.to_numpy().tolist()
        }
        assert bool(torch.isfinite(data.x).all())
