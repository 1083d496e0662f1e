"""Models on your own files, from the command line, without code."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest
import torch

from mpnn.datasets.synthetic import load_sbm
from mpnn.train.command import cli
from tests.train.conftest import Complaint


@pytest.fixture
def files(tmp_path: Path) -> Path:
    """The block model as tables; every tenth node's label is not known."""
    data = load_sbm(blocks=2, size=40, within=0.2)
    assert data.y is not None and data.edge_y is not None
    rows = [
        f"n{k},{'' if k % 10 == 0 else 'ab'[y]},{x[0]:.4f}"
        for k, (y, x) in enumerate(zip(data.y, data.x, strict=True))
    ]
    (tmp_path / "nodes.csv").write_text("\n".join(["id,block,noise", *rows]))
    edges = zip(*data.graph.edge_index.tolist(), data.edge_y.tolist(), strict=True)
    (tmp_path / "net.csv").write_text("\n".join(["u,v,same", *(f"n{i},n{j},{y}" for i, j, y in edges)]))
    return tmp_path


def test_nodes_of_a_table_are_classified_and_predicted(
    files: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(files)
    flags = ["--dataset", "net.csv", "--nodes", "nodes.csv", "--label", "block", "--edge-label", "same"]
    assert cli.main(["train", "node", *flags, "--epochs", "30"]) == 0
    assert "net: 80 nodes" in capsys.readouterr().out
    assert cli.main(["evaluate", "runs/node-net-gcn"]) == 0
    assert cli.main(["predict", "runs/node-net-gcn", "--output", "out.csv"]) == 0
    rows = list(csv.DictReader((files / "out.csv").read_text().splitlines()))
    assert [row["node"] for row in rows] == [f"n{k}" for k in range(80)]
    # Whose label is not known is predicted all the same, and was in no part.
    for column in ("part", "true"):
        assert [k for k, row in enumerate(rows) if row[column] == ""] == list(range(0, 80, 10))
    assert all(row["predicted"] in "ab" for row in rows)
    assert cli.main(["train", "edge", *flags, "--model", "gcn", "--epochs", "3", "--no-pictures"]) == 0
    links = ["--dataset", "net.csv", "--predict", "links", "--epochs", "3", "--no-pictures"]
    assert cli.main(["train", "edge", *links, "--edge-label", "same"]) == 0


@pytest.mark.parametrize(
    ("flags", "sentence"),
    [
        (["--dataset", "net.csv"], "net has no classes, labels or numbers of nodes to learn"),
        (["--dataset", "none.csv"], "none.csv does not exist"),
        (["--dataset", "net.csv", "--label", "block"], "label is 'block', but there is no table of nodes"),
        (["--label", "club"], "columns are named, but karate is no file"),
    ],
)
def test_a_mistake_gets_one_sentence(
    files: Path, monkeypatch: pytest.MonkeyPatch, complaint: Complaint, flags: list[str], sentence: str
) -> None:
    monkeypatch.chdir(files)
    assert sentence in complaint("train", "node", *flags)


@pytest.mark.parametrize(("task", "dataset", "model"), [("node", "grid", "graph"), ("graph", "trees", "gin")])
def test_numbers_are_learned_from_the_command_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], task: str, dataset: str, model: str
) -> None:
    flags = ["--dataset", dataset, "--model", model, "--epochs", "5", "--out", str(tmp_path)]
    assert cli.main(["train", task, *flags]) == 0
    assert f"{model} on {dataset}: test MAE " in capsys.readouterr().out
    assert (tmp_path / "curves.png").exists() and torch.load(tmp_path / "best.pt", weights_only=True)


def test_a_run_of_an_older_version_with_flat_columns_is_read_and_goes_on(
    files: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(files)
    flags = ["--dataset", "net.csv", "--nodes", "nodes.csv", "--label", "block", "--ignore", "same"]
    short = ["--no-pictures", "--epochs"]
    assert cli.main(["train", "node", *flags, *short, "2", "--out", "run"]) == 0
    settings = json.loads((files / "run" / "config.json").read_text())
    columns = settings.pop("columns")
    assert columns["label"] == "block" and columns["ignore"] == "same"
    (files / "run" / "config.json").write_text(json.dumps(settings | columns))
    assert cli.main(["evaluate", "run"]) == 0
    assert cli.main(["train", "node", "--resume", "run", *short, "4"]) == 0
    assert len((files / "run" / "metrics.csv").read_text().splitlines()) == 5
    assert cli.main(["train", "node", "--resume", "run", "--label", "noise"]) == 2


def test_a_text_has_no_columns(files: Path, complaint: Complaint) -> None:
    (files / "play.txt").write_text("to be or not to be\n" * 100)
    text = ["train", "text", "--dataset", str(files / "play.txt")]
    assert "play.txt is read as a text, which has none" in complaint(*text, "--label", "block")
