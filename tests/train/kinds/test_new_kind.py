"""A new kind of task is a record and a line in a list: here both, and nothing else is touched."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from sklearn.metrics import mean_absolute_error, r2_score
from torch import Tensor, nn

from mpnn import Graph
from mpnn.datasets import NodeDataset, load
from mpnn.models import GNN
from mpnn.train import KINDS, Kind, Picture, RunError, Settings, Split, SupervisedTask, objective, preset
from mpnn.train.command.cli import main
from mpnn.train.kinds.parts import draw_parts
from mpnn.train.options import Options
from mpnn.train.pictures.of_a_run import CURVES, Shown
from mpnn.train.pictures.style import new_figure
from mpnn.train.tasks.kept import Kept
from mpnn.train.tasks.shape import Shape

if TYPE_CHECKING:
    from matplotlib.figure import Figure


class Autoencode(SupervisedTask):
    """Tell each node's features from those of its neighbours."""

    item = "node"

    def __init__(self, data: NodeDataset, split: Split) -> None:
        names = [f"feature {k}" for k in range(data.num_features)]
        super().__init__(data, objective(data.x, names), data.x, split, data.num_features, None)

    def batches(self) -> Iterable[None]:
        return (None,)

    def loss(self, model: nn.Module, batch: None) -> Tensor:
        train = self.split.train
        return self.objective.loss(self.outputs(model)[train], self.y[train])

    def outputs(self, model: nn.Module) -> Tensor:
        output: Tensor = model(self.data.x, self.data.graph)
        return output

    def attempt(self, model: nn.Module) -> None:
        self.outputs(model)

    def example(self) -> tuple[Tensor, Graph, dict[str, Tensor]]:
        return self.data.x, self.data.graph, {}


def draw_errors(run: Shown) -> Figure:
    figure = new_figure(3, 2)
    figure.subplots().hist((run.outputs - run.task.y).abs().flatten().tolist())
    return figure


def make(options: Options, data: NodeDataset, kept: Kept | None = None) -> Autoencode:
    return Autoencode(data, draw_parts(options, (0.2, 0.2), data.num_nodes, None, "nodes"))


def build(options: Options, shape: Shape) -> nn.Module:
    return GNN(shape.num_features, options.hidden, shape.out_channels, options.layers, conv=options.model)


AUTOENCODE = Kind(
    name="autoencode",
    about="tell the features of nodes from those of their neighbours",
    data=NodeDataset,
    dataset="sbm",
    model="sage",
    models=lambda: {"sage": "means of neighbours", "gin": "sums of neighbours"},
    make=make,
    build=build,
    options=("split",),
    published=lambda model, asked: {"hidden": 32, "dropout": 0.0, "weight_decay": 0.0},
    like=("node",),
    pictures=(CURVES, Picture("errors", "how far features are off", draw_errors)),
)


@pytest.fixture(autouse=True)
def registered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(KINDS, AUTOENCODE.name, AUTOENCODE)


def test_the_command_trains_judges_draws_and_predicts(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    home = tmp_path / "run"
    assert main(["train", "autoencode", "--epochs", "120", "--out", str(home)]) == 0
    out = capsys.readouterr().out
    assert "sage on sbm: test MAE" in out
    assert "errors.png" in out and "how far features are off" in out
    of_every_run = {
        "README.md",
        "config.json",
        "results.json",
        "metrics.csv",
        "model.json",
        "best.pt",
        "last.pt",
    }
    assert {file.name for file in home.iterdir()} == of_every_run | {"curves.png", "errors.png"}
    rows = list(csv.DictReader((home / "metrics.csv").read_text().splitlines()))
    assert float(rows[-1]["train_loss"]) < 0.5 * float(rows[0]["train_loss"])

    assert main(["evaluate", str(home)]) == 0 and "R²" in capsys.readouterr().out
    assert main(["predict", str(home), "--output", str(tmp_path / "out.csv")]) == 0
    answers = list(csv.DictReader((tmp_path / "out.csv").read_text().splitlines()))
    data = load("sbm")
    assert isinstance(data, NodeDataset) and len(answers) == data.num_nodes
    test = [k for k, row in enumerate(answers) if row["part"] == "test"]
    predicted = [[float(answers[k][f"predicted feature {c}"]) for c in range(3)] for k in test]
    results = json.loads((home / "results.json").read_text())
    for metric, score in (("mae", mean_absolute_error), ("r2", r2_score)):
        assert results[f"test_{metric}"]["mean"] == pytest.approx(score(data.x[test], predicted), abs=1e-4)


def test_a_run_goes_on_and_is_looked_at(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    home = ["--no-pictures", "--epochs"]
    assert main(["train", "autoencode", *home, "2", "--out", str(tmp_path)]) == 0
    assert main(["train", "autoencode", *home, "4", "--resume", str(tmp_path)]) == 0
    assert len((tmp_path / "metrics.csv").read_text().splitlines()) == 5
    assert main(["explain", "gin", "--task", "autoencode", "--dataset", "karate"]) == 0
    assert "gin (new) on karate" in capsys.readouterr().out


def test_lists_and_help_name_it(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["datasets"]) == 0
    (karate,) = (line for line in capsys.readouterr().out.splitlines() if line.startswith("karate"))
    assert "node, edge, autoencode" in karate
    assert main(["models"]) == 0
    assert "means of neighbours" in capsys.readouterr().out
    with pytest.raises(SystemExit):
        main(["train", "autoencode", "--help"])
    out = capsys.readouterr().out
    assert "models (default: sage)" in out and "crowds" in out and "mutag" not in out


def test_settings_are_as_published_and_only_its_own() -> None:
    assert preset("sage", task="autoencode").hidden == 32
    with pytest.raises(RunError, match="heads is 2, but autoencode tasks have none: node, edge, graph, text"):
        Settings(task="autoencode", heads=2)
    with pytest.raises(RunError, match=r"task is 'autoencod', but should be one of node, .*, autoencode"):
        preset("sage", task="autoencod")


def test_other_data_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["train", "autoencode", "--dataset", "trees", "--out", str(tmp_path / "run")]) == 2
    assert "task is 'autoencode', but trees is 200 graphs: train graph on it" in capsys.readouterr().err
