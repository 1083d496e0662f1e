"""Graph classification and regression, end to end, and GIN against a plain one of PyG's parts."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
import torch_geometric.nn as pyg
from torch import Tensor, nn

from mpnn.datasets import Entry, GraphDataset
from mpnn.datasets.registry import DATASETS
from mpnn.models import CONVS, GINClassifier, GraphClassifier
from mpnn.train import GraphTask, Recipe, RunError, Split, fit, load_model, preset, train
from mpnn.train.command import cli
from tests.compare import assert_close
from tests.present import present
from tests.train.breaks import assert_goes_on
from tests.train.conftest import Complaint
from tests.train.toys import rings_and_stars

THIRDS = Split(torch.arange(40), torch.arange(40, 50), torch.arange(50, 60))
SHORT = preset("gin", task="graph", dataset="toy", epochs=5, hidden=8, layers=2, batch_size=16)


@pytest.fixture(autouse=True)
def toy(monkeypatch: pytest.MonkeyPatch) -> GraphDataset:
    data = rings_and_stars()
    monkeypatch.setitem(DATASETS, "toy", Entry(lambda: data, "rings and stars", False, ("graph",)))
    return data


class TheirGIN(nn.Module):
    """Equations 4.1 and 4.2 of the paper, out of PyG's layers."""

    def __init__(self, channels: int, hidden: int, out: int, layers: int) -> None:
        super().__init__()
        widths = [channels] + [hidden] * layers
        self.convs = nn.ModuleList(
            pyg.GINConv(
                nn.Sequential(
                    nn.Linear(i, hidden), nn.BatchNorm1d(hidden), nn.ReLU(), nn.Linear(hidden, hidden)
                )
            )
            for i in widths[:-1]
        )
        self.norms = nn.ModuleList(nn.BatchNorm1d(hidden) for _ in range(layers))
        self.lin = nn.Linear(layers * hidden, out)
        self.lin_input = nn.Linear(channels, out, bias=False)

    def forward(self, x: Tensor, edge_index: Tensor, batch: Tensor) -> Tensor:
        states, h = [], x
        for conv, norm in zip(self.convs, self.norms, strict=True):
            h = norm(conv(h, edge_index)).relu()
            states.append(h)
        pooled = pyg.global_add_pool(torch.cat(states, dim=1), batch)
        return self.lin(pooled) + self.lin_input(pyg.global_add_pool(x, batch))


def test_gin_is_that_of_the_paper(toy: GraphDataset) -> None:
    torch.manual_seed(0)
    theirs, ours = (
        TheirGIN(3, 8, 2, layers=3).double(),
        GINClassifier(3, 8, 2, num_layers=3, dropout=0.5).double(),
    )
    ours.load_state_dict(theirs.state_dict())
    batch = GraphTask(toy, THIRDS, batch_size=60)._all[0].graph
    x = torch.randn(batch.num_nodes, 3, dtype=torch.float64)
    expected = theirs.eval()(x, batch.edge_index, batch.graph_index)
    assert_close(ours.eval()(x, batch), expected)


def test_dropout_of_gin_is_in_front_of_the_output_only(toy: GraphDataset) -> None:
    model = GINClassifier(1, 4, 2, dropout=0.999999)
    graph = toy.graphs[0]
    assert_close(model(toy.x[0], graph)[0], present(model.lin.bias), atol=1e-6)
    assert model.embed_graphs(toy.x[0], graph).abs().sum() > 0


@pytest.mark.parametrize("readout", ["sum", "mean", "max", ["mean", "max"]])
def test_the_output_of_a_batch_is_that_of_each_graph_alone(toy: GraphDataset, readout: Any) -> None:
    model = GraphClassifier(1, 8, 3, conv="gcn", readout=readout, norm="layer").double().eval()
    task = GraphTask(replace(toy, edge_attr=None, x=tuple(x.double() for x in toy.x)), THIRDS, batch_size=7)
    alone = torch.cat([model(x.double(), graph) for x, graph in zip(toy.x, toy.graphs, strict=True)])
    assert_close(task.outputs(model), alone)


def test_an_epoch_sees_every_training_graph_once(toy: GraphDataset) -> None:
    task = GraphTask(toy, THIRDS, batch_size=16)
    sizes = [batch.graph.num_graphs for batch in task.batches()]
    assert sizes == [14, 13, 13]
    seen = torch.cat([batch.x.flatten() for batch in task.batches()])
    assert len(seen) == sum(toy.graphs[k].num_nodes for k in THIRDS.train.tolist())
    first, second = (next(iter(task.batches())).y for _ in range(2))
    assert not torch.equal(first, second)


def test_the_scores_are_those_of_each_part(toy: GraphDataset) -> None:
    model = GraphClassifier(1, 8, 2, conv="gin").eval()
    task = GraphTask(replace(toy, edge_attr=None), THIRDS)
    output = task.outputs(model).detach()
    scores = task.evaluate(model)
    for part, where in THIRDS._asdict().items():
        right = (output.argmax(dim=1) == toy.y)[where].double().mean()
        assert scores[f"{part}_accuracy"] == pytest.approx(float(right))
    expected = F.cross_entropy(output[THIRDS.val], toy.y[THIRDS.val])
    assert scores["val_loss"] == pytest.approx(float(expected))


def test_gin_tells_rings_from_stars(tmp_path: Path) -> None:
    report = train(replace(SHORT, epochs=30), tmp_path)
    assert report.test() == (1.0, 0.0)
    assert str(report) == "gin on toy: test accuracy 100.0 %"
    assert {file.name for file in tmp_path.iterdir()} >= {"curves.png", "embedding.png", "best.pt"}
    model, task, _ = load_model(tmp_path)
    assert task.evaluate(model).items() <= report.results[0].best.items()


def test_numbers_of_graphs_are_learned(toy: GraphDataset) -> None:
    sizes = torch.tensor([[float(graph.num_nodes)] for graph in toy.graphs])
    data = replace(toy, y=sizes, class_names=("size",), edge_attr=None)
    model = GraphClassifier(1, 8, 1, conv="graph", readout="sum")
    result = fit(model, GraphTask(data, THIRDS, batch_size=10), Recipe(epochs=60, lr=0.02, monitor="mae"))
    assert result.best["test_mae"] < 0.5 < result.history[0]["test_mae"]
    assert {"val_mae", "val_rmse", "val_r2"} <= result.best.keys()


def test_a_resumed_run_has_the_numbers_of_one_without_a_break(tmp_path: Path) -> None:
    assert_goes_on(SHORT, tmp_path)


def test_cross_validation_tests_on_every_graph_once(tmp_path: Path) -> None:
    settings = replace(SHORT, folds=3, epochs=2)
    report = train(settings, tmp_path, draw=False)
    assert "(3 folds)" in str(report)
    tested = [load_model(tmp_path / f"fold-{fold}")[1].split.test for fold in range(3)]
    assert torch.equal(torch.cat(tested).sort().values, torch.arange(60))
    saved = json.loads((tmp_path / "results.json").read_text())
    assert [run["fold"] for run in saved["runs"]] == [0, 1, 2]
    assert saved["test_accuracy"]["mean"] == pytest.approx(report.test()[0])
    # One fold alone is the same run.
    train(replace(settings, fold=1), tmp_path / "one", draw=False)
    for name in ("config.json", "metrics.csv"):
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "fold-1" / name).read_bytes()


@pytest.mark.parametrize("model", [name for name in CONVS if name != "rgcn"])
def test_every_model_classifies_graphs(tmp_path: Path, model: str) -> None:
    settings = preset(model, task="graph", dataset="toy", epochs=1, hidden=4, layers=2)
    assert len(train(settings, tmp_path, draw=False).results[0].history) == 1


MISTAKES: list[tuple[list[str], str]] = [
    (["--dataset", "karate"], "task is 'graph', but karate is one graph: train node or edge on it"),
    (["--split", "public"], "split is 'public', but these graphs have none: take random"),
    (["--split", "per-class"], "split is 'per-class', but that is for nodes that have one class each"),
    (["--folds", "31"], "folds is 31, but there is a class of 30 graphs: take fewer folds"),
    (["--folds", "3", "--fold", "3"], "fold is 3, but there are 3 folds, 0..2"),
    (["--fold", "3"], "fold is 3, but folds is not given"),
    (
        ["--folds", "3", "--test-share", "0.3"],
        "test_share is 0.3, but with folds the fold is what is tested on",
    ),
    (["--val-share", "0.6", "--test-share", "0.4"], "together they should be below 1"),
    (["--val-share", "0.95"], "together they should be below 1"),
    (["--val-share", "0.899"], "there are 54 graphs, too few for a part of 54 and a rest"),
    (["--readout", "median-ish"], "model gin cannot be used here: "),
    (["--loss", "mse"], "loss is 'mse', which is for numbers, but 'star' is a class and no number"),
    (["--class-weights", "1,2,3"], "class_weights is '1,2,3', but should be 'balanced' or 2 numbers"),
    (["--monitor", "mae"], "monitor is 'mae', but this task is measured by accuracy: take one of them"),
    (["--out-heads", "2", "--model", "gat"], "out_heads is 2, but all layers are hidden ones in graph tasks"),
    (["--decayed", "first", "--momentum", "0.9"], "momentum is 0.9, but adam has none: sgd and rmsprop have"),
    (["--schedule", "cosine"], "decay is 0.5, but schedule cosine has none: step and plateau have"),
    (["--nesterov"], "nesterov is set, but needs optimizer sgd and a momentum above 0"),
    (["--clip", "0"], "clip is 0.0, but should be above 0"),
    (["--batch-size", "0"], "batch_size is 0, but should be at least 1"),
    (["--shared-epoch"], "shared_epoch is set, but folds is not given"),
    (
        ["--folds", "3", "--shared-epoch", "--patience", "5"],
        "patience is 5, but with shared_epoch all folds do all epochs",
    ),
    (
        ["--folds", "3", "--shared-epoch", "--val-share", "0.1"],
        "val_share is 0.1, but with shared_epoch the fold is validated on",
    ),
    (["--monitor", "last", "--patience", "5"], "patience is 5, but monitor is 'last': all epochs are done"),
    (["--largest-component"], "largest_component is True, but graph tasks have none: node, edge tasks have"),
    (["--attention-dropout", "0.1"], "attention_dropout is 0.1, but gin has no heads"),
]


@pytest.mark.parametrize(("flags", "sentence"), MISTAKES, ids=lambda value: " ".join(value))
def test_a_mistake_gets_one_sentence_and_exit_code_2(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, complaint: Complaint, flags: list[str], sentence: str
) -> None:
    monkeypatch.chdir(tmp_path)
    flags = flags if "--dataset" in flags else ["--dataset", "toy", *flags]
    assert sentence in complaint("train", "graph", *flags)
    assert list(tmp_path.iterdir()) == []


def test_many_graphs_are_no_data_for_nodes(tmp_path: Path) -> None:
    with pytest.raises(RunError, match="task is 'node', but toy is 60 graphs: train graph on it"):
        train(preset("gcn", dataset="toy"), tmp_path)
    with pytest.raises(RunError, match="readout is 'sum', but node tasks have none: graph tasks have"):
        preset("gcn", readout="sum")


def test_the_command_runs_a_cross_validation(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    flags = ["--dataset", "toy", "--folds", "2", "--epochs", "2", "--no-pictures", "--out", str(tmp_path)]
    assert cli.main(["train", "graph", *flags]) == 0
    out = capsys.readouterr().out
    assert "toy: 60 graphs of " in out and "gin on toy: test accuracy " in out and "(2 folds)" in out


def test_folds_that_share_an_epoch_have_the_best_mean_over_them(tmp_path: Path) -> None:
    settings = preset(
        "gin", task="graph", dataset="toy", epochs=6, hidden=4, layers=1, folds=3, runs=2, shared_epoch=True
    )
    report = train(settings, tmp_path, draw=False)
    assert settings.patience is None
    for seed in range(2):
        curves = []
        for fold in range(3):
            rows = (tmp_path / f"seed-{seed}-fold-{fold}" / "metrics.csv").read_text().splitlines()
            table = [
                dict(zip(rows[0].split(","), map(float, row.split(",")), strict=True)) for row in rows[1:]
            ]
            assert all(row["val_accuracy"] == row["test_accuracy"] for row in table)
            curves.append([row["test_accuracy"] for row in table])
        means = torch.tensor(curves, dtype=torch.float64).mean(dim=0)
        results = report.results[3 * seed : 3 * seed + 3]
        assert len({result.best_epoch for result in results}) == 1
        assert means[results[0].best_epoch - 1] == pytest.approx(float(means.max()), abs=1e-5)
    split = load_model(tmp_path / "seed-0-fold-1")[1].split
    assert torch.equal(split.val, split.test)
    assert torch.equal(torch.cat([split.train, split.test]).sort().values, torch.arange(60))


def test_the_last_epoch_can_be_the_one_that_counts(tmp_path: Path) -> None:
    result = train(replace(SHORT, monitor="last", patience=None), tmp_path, draw=False).results[0]
    assert result.best_epoch == len(result.history) == 5
    model, task, _ = load_model(tmp_path)
    assert task.evaluate(model).items() <= result.history[-1].items()
