"""Tables in Parquet, and pandas tables with their types and their index."""

from __future__ import annotations

from pathlib import Path

import networkx as nx
import numpy as np
import pandas as pd
import pytest
import torch

import mpnn
from mpnn.datasets import Columns, DataError, NodeDataset, load_own, load_tables
from mpnn.train.command import cli
from tests.compare import assert_close
from tests.train.conftest import Complaint, complaint

__all__ = ["complaint"]  # a fixture
pytest.importorskip("pyarrow")  # which the extra `dev` brings
FLAGS = ["--dataset", "net.parquet", "--nodes", "nodes.parquet", "--label", "team"]


@pytest.fixture
def people(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> pd.DataFrame:
    """A table with a column of every type, whose names are its index; some cells are missing."""
    monkeypatch.chdir(tmp_path)
    draw, count = np.random.default_rng(0), 60
    frame = pd.DataFrame(
        {
            "when": pd.date_range("2024-01-01", periods=count),
            "town": pd.Categorical(draw.choice(["Bonn", "Ulm"], count)),
            "tall": draw.integers(2, size=count).astype(bool),
            "age": pd.array(draw.integers(9, 90, size=count), dtype="Int64"),
            "height": draw.normal(1.7, 0.1, count),
            "team": np.where(np.arange(count) < count // 2, "red", "blue"),
        },
        index=pd.Index([f"n{k}" for k in range(count)], name="name"),
    )
    frame.loc["n3", "age"] = pd.NA
    frame.loc["n4", "team"] = None
    frame.loc["n5", "town"] = None
    graph = nx.planted_partition_graph(2, count // 2, 0.2, 0.02, seed=0)
    edges = pd.DataFrame([(f"n{i}", f"n{j}") for i, j in graph.edges], columns=["u", "v"])
    edges.to_parquet("net.parquet")
    frame.to_parquet("nodes.parquet")
    frame.reset_index().to_csv("nodes.csv", index=False)
    edges.to_csv("net.csv", index=False)
    return frame


def test_parquet_csv_and_pandas_say_the_same(people: pd.DataFrame) -> None:
    own = {
        kind: load_own(Path(f"net.{kind}"), Columns(nodes=f"nodes.{kind}", label="team"))
        for kind in ("parquet", "csv")
    }
    frames = load_tables(pd.read_parquet("net.parquet"), people, Columns(label="team"))
    csv = own["csv"]
    assert isinstance(csv, NodeDataset) and csv.y is not None
    for data in (own["parquet"], frames):
        assert isinstance(data, NodeDataset) and data.y is not None
        assert data.node_names == csv.node_names == tuple(people.index)
        assert_close(data.x, csv.x, atol=1e-4)
        assert data.class_names == csv.class_names and torch.equal(data.y, csv.y)
        assert torch.equal(data.graph.edge_index, csv.graph.edge_index)


def test_an_index_of_names_without_a_name_is_the_names_of_nodes(people: pd.DataFrame) -> None:
    frame = people.rename_axis(None)
    data = load_tables(pd.read_parquet("net.parquet"), frame, Columns(label="team"))
    assert data.node_names == tuple(people.index) and data.node_column == "index"
    numbered = people.reset_index().sample(frac=1, random_state=0)  # whose index is rows of another table
    data = load_tables(pd.read_parquet("net.parquet"), numbered, Columns(label="team"))
    assert (
        data.node_names == tuple(numbered.name)
        and data.num_features
        == load_tables(pd.read_parquet("net.parquet"), people, Columns(label="team")).num_features
    )


def test_a_run_reads_and_writes_parquet(people: pd.DataFrame) -> None:
    assert cli.main(["train", "node", *FLAGS, "--epochs", "3", "--no-pictures", "--out", "run"]) == 0
    people.loc[["n8", "n9"]].rename({"n8": "a", "n9": "b"}).drop(columns="team").to_parquet("new.parquet")
    pd.DataFrame({"u": ["a"], "v": ["n9"]}).to_parquet("new_edges.parquet")
    new = ["--nodes", "new.parquet", "--dataset", "new_edges.parquet", "--output", "out.parquet"]
    assert cli.main(["predict", "run", *new]) == 0
    said = pd.read_parquet("out.parquet")
    expected = mpnn.load("run").predict("new.parquet", "new_edges.parquet")
    pd.testing.assert_frame_equal(said, expected, check_dtype=False, rtol=1e-5)
    assert said.node.tolist() == ["a", "b"]


def test_a_damaged_file_is_one_sentence(people: pd.DataFrame, complaint: Complaint) -> None:
    Path("nodes.parquet").write_bytes(Path("nodes.parquet").read_bytes()[:-9])
    assert "nodes.parquet cannot be read: " in complaint("train", "node", *FLAGS)
    people.iloc[:0].to_parquet("nodes.parquet")
    assert "nodes.parquet should hold a row of data at least" in complaint("train", "node", *FLAGS)


def test_without_pyarrow_one_sentence_says_what_to_install(
    people: pd.DataFrame, complaint: Complaint, monkeypatch: pytest.MonkeyPatch
) -> None:
    train = ["train", "node", *FLAGS, "--epochs", "1", "--no-pictures", "--out", "run"]
    assert cli.main(train) == 0

    def lacks(*_: object, **__: object) -> None:
        raise ImportError("Missing optional dependency 'pyarrow'.")  # as pandas says without it

    monkeypatch.setattr(pd, "read_parquet", lacks)
    monkeypatch.setattr(pd.DataFrame, "to_parquet", lacks)
    with pytest.raises(DataError, match=r"net.parquet is Parquet, which pyarrow reads: install pyarrow, or"):
        load_own(Path("net.parquet"))
    said = complaint("predict", "run", "--nodes", "nodes.csv", "--output", "out.parquet")
    assert "output is 'out.parquet', which pyarrow writes: install it, or take .csv" in said
