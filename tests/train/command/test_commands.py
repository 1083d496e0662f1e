"""Lists, information, settings files, and the use of a run, as a person types them."""

from __future__ import annotations

import csv
import json
import re
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from mpnn.datasets import DATASETS, Entry, NodeDataset, load
from mpnn.models import CONVS
from mpnn.train import NodeTask, load_model, preset, train
from mpnn.train.command import cli, info
from tests.train.conftest import Complaint
from tests.train.toys import rings_and_stars, two_blocks


@pytest.fixture(autouse=True)
def toys(monkeypatch: pytest.MonkeyPatch) -> None:
    blocks, graphs = two_blocks(), rings_and_stars()
    monkeypatch.setitem(DATASETS, "blocks", Entry(lambda: blocks, "two blocks", False, ("edge",)))
    monkeypatch.setitem(DATASETS, "toy", Entry(lambda: graphs, "rings and stars", False, ("graph",)))


def test_every_data_set_and_every_model_is_listed(capsys: pytest.CaptureFixture[str]) -> None:
    for command, names in (("datasets", DATASETS), ("models", {**CONVS, "gae": 0, "vgae": 0})):
        assert cli.main([command]) == 0
        first = {line.split()[0] for line in capsys.readouterr().out.splitlines() if line.strip()}
        assert set(names) <= first


def test_info_names_versions_and_tests_every_backend(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["info"]) == 0
    out = capsys.readouterr().out
    assert torch.__version__.split("+")[0] in out
    for backend in info.backends():
        assert f"backend {backend}" in out
    assert "ok, differs from eager by" in out


def test_info_tells_of_a_backend_that_computes_wrong_or_not_at_all(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def wrong(layer: str, backend: str) -> list[Tensor]:
        if backend == "auto":
            raise ValueError("no such thing")
        return [torch.zeros(1) if backend == "eager" else torch.ones(1)]

    monkeypatch.setattr(info, "_step", wrong)
    assert cli.main(["info"]) == 1
    out = capsys.readouterr().out
    assert "wrong: differs from eager by 1" in out and "failed: ValueError: no such thing" in out


def test_a_run_of_another_kind_is_called_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, complaint: Complaint
) -> None:
    monkeypatch.chdir(tmp_path)
    walks = ["--walks", "1", "--length", "4", "--dimensions", "4", "--splits", "1", "--no-pictures"]
    assert cli.main(["train", "embed", *walks, "--out", "vectors"]) == 0
    assert cli.main(["train", "node", "--epochs", "1", "--no-pictures", "--out", "model"]) == 0
    no_model = "mpnn: vectors is a run of mpnn train embed, which makes vectors of nodes and no model\n"
    for flags in (
        ["evaluate"],
        ["predict", "--output", "out.csv"],
        ["explain"],
        ["train", "node", "--resume"],
    ):
        assert complaint(*flags, "vectors") == no_model
    assert complaint("train", "embed", "--resume", "model") == (
        "mpnn: model is a run of mpnn train node, not of embed\n"
    )
    assert complaint("train", "node", "--config", ".") == (
        "mpnn: config . cannot be used: . is a folder, but should be a file\n"
    )


def test_evaluate_prints_the_numbers_of_the_best_epoch(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    report = train(preset("gcn", dataset="karate", epochs=20, runs=2), tmp_path, draw=False)
    assert cli.main(["evaluate", str(tmp_path)]) == 0
    out = capsys.readouterr().out
    assert "(seed-0)" in out and "(seed-1)" in out
    rows = [line.split() for line in out.splitlines() if line.startswith("test")]
    for row, result in zip(rows, report.results, strict=True):
        assert row[1:] == ["24", f"{100 * result.best['test_accuracy']:.1f}", "%"]


def read(path: Path) -> list[dict[str, str]]:
    return list(csv.DictReader(path.read_text().splitlines()))


def test_predictions_of_nodes_are_a_table(tmp_path: Path) -> None:
    train(preset("gcn", dataset="karate", epochs=20), tmp_path / "run", draw=False)
    assert cli.main(["predict", str(tmp_path / "run"), "--output", str(tmp_path / "out.csv")]) == 0
    rows = read(tmp_path / "out.csv")
    model, task, _ = load_model(tmp_path / "run")
    found = task.outputs(model).softmax(dim=1).detach()
    assert Counter(row["part"] for row in rows) == {"train": 2, "val": 8, "test": 24}
    for number, row in enumerate(rows):
        assert row["node"] == str(number)
        assert row["true"] == task.objective.names[int(task.y[number])]
        assert row["predicted"] == task.objective.names[int(found[number].argmax())]
        assert float(row["p(Officer)"]) == pytest.approx(float(found[number, 1]), rel=1e-5)


def test_predictions_of_graphs_and_pairs_are_tables(tmp_path: Path) -> None:
    gcn: dict[str, Any] = {"task": "edge", "dataset": "blocks", "epochs": 1}
    train(preset("gin", task="graph", dataset="toy", epochs=1), tmp_path / "graph", draw=False)
    train(preset("gcn", predict="links", **gcn), tmp_path / "links", draw=False)
    train(preset("gcn", **gcn), tmp_path / "edge", draw=False)
    for run, count, columns in (
        ("graph", 60, ["graph", "part", "true", "predicted", "p(star)", "p(ring)"]),
        ("links", two_blocks().graph.num_edges, ["source", "target", "part", "true link", "p(link)"]),
        ("edge", two_blocks().graph.num_edges // 2, ["source", "target", "part", "true", "predicted"]),
    ):
        assert cli.main(["predict", str(tmp_path / run), "--output", str(tmp_path / "out.csv")]) == 0
        rows = read(tmp_path / "out.csv")
        assert len(rows) == count and list(rows[0])[: len(columns)] == columns


def test_numbers_and_labels_have_columns_of_their_own() -> None:
    club = load("karate")
    assert isinstance(club, NodeDataset) and club.y is not None
    fields = {name: getattr(club, name) for name in club.__dataclass_fields__} | {"class_names": ("a", "b")}
    output = torch.randn(34, 2)
    both = torch.stack([club.y == 0, club.y == 1], dim=1)
    labels = NodeTask(NodeDataset(**fields | {"y": both}))
    assert list(labels.objective.columns(output, both)) == ["true a", "true b", "p(a)", "p(b)"]
    numbers = NodeTask(NodeDataset(**fields | {"y": output, "node_names": tuple("n" * 34)}))
    columns = numbers.objective.columns(output, output)
    assert list(columns) == ["true a", "true b", "predicted a", "predicted b"]
    assert columns["true b"] == columns["predicted b"]
    assert numbers.names() == {"node": ["n"] * 34}


def test_a_run_is_the_same_from_flags_from_toml_and_from_its_own_settings(tmp_path: Path) -> None:
    flags = ["--model", "gat", "--hidden", "4", "--lr", "0.02", "--epochs", "6", "--seed", "3"]
    train_node = ["train", "node", "--no-pictures", "--out"]
    assert cli.main([*train_node, str(tmp_path / "flags"), *flags]) == 0
    toml = tmp_path / "run.toml"
    toml.write_text('model = "gat"\nhidden = 4\nlr = 0.5\nepochs = 6\nseed = 3\n')
    assert cli.main([*train_node, str(tmp_path / "toml"), "--config", str(toml), "--lr", "0.02"]) == 0
    config = str(tmp_path / "flags" / "config.json")
    assert cli.main([*train_node, str(tmp_path / "again"), "--config", config]) == 0
    for run in ("toml", "again"):
        for file in ("config.json", "metrics.csv", "results.json"):
            assert (tmp_path / run / file).read_bytes() == (tmp_path / "flags" / file).read_bytes()


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        ("epochs = ", r"config .*run.toml cannot be read: Invalid value"),
        ("epoch = 3", r"config .*run.toml cannot be used: settings hold 'epoch'"),
        (
            "epochs = 2.5",
            r"config .*run.toml cannot be used: setting epochs is 2.5, but should be of type int",
        ),
        ('task = "graph"', r"config .*run.toml is of task 'graph', not 'node': mpnn train graph"),
        ("epochs = 0", r"epochs is 0, but should be at least 1"),
    ],
)
def test_a_settings_file_with_a_mistake_gets_one_sentence(
    tmp_path: Path, complaint: Complaint, content: str, sentence: str
) -> None:
    (tmp_path / "run.toml").write_text(content)
    err = complaint("train", "node", "--config", str(tmp_path / "run.toml"))
    assert re.search(sentence, err)


def test_other_mistakes_get_one_sentence(tmp_path: Path, complaint: Complaint) -> None:
    train(preset("gcn", dataset="karate", epochs=1, runs=2), tmp_path / "two", draw=False)
    home, one = str(tmp_path / "two"), str(tmp_path / "two" / "seed-0")
    assert "holds 2 runs: predict with one of them" in complaint("predict", home, "--output", "x.csv")
    assert "cannot be written: No such file" in complaint("predict", one, "--output", "/no/where.csv")
    assert "the following arguments are required: --output" in complaint("predict", one)
    assert "holds no run" in complaint("evaluate", str(tmp_path))
    assert "karate is embedded and reads no files" in complaint("evaluate", one, "--data", home)
    assert "no/such.toml does not exist" in complaint("train", "node", "--config", "no/such.toml")
    resumed = complaint("train", "node", "--resume", one, "--config", "x.toml")
    assert "but a resumed run has its own" in resumed
    (tmp_path / "two" / "seed-1" / "best.pt").unlink()
    assert "best.pt does not exist" in complaint("evaluate", str(tmp_path / "two" / "seed-1"))
    assert json.loads((tmp_path / "two" / "config.json").read_text())["runs"] == 2
