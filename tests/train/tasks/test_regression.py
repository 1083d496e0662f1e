"""Numbers of nodes, edges, graphs and images are learned in one way, and given back in their own unit."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import networkx as nx
import numpy as np
import pandas as pd
import pytest
import sklearn.metrics
import torch
import torch.nn.functional as F
from sklearn.dummy import DummyRegressor
from sklearn.preprocessing import StandardScaler

import mpnn
from mpnn.datasets import load
from mpnn.train import load_model, numbers_picture, objective, preset, train
from mpnn.train.command import cli
from mpnn.train.runs.unit import Unit
from tests.compare import assert_close
from tests.train.conftest import Complaint

NODE = ["train", "node", "--dataset", "net.csv", "--nodes", "nodes.csv"]
QUICK = ["--no-pictures", "--epochs", "3"]


@pytest.fixture
def town(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> pd.DataFrame:
    """Houses: prices around a million follow from their sizes; some are not known, `NA` or empty."""
    draw = np.random.default_rng(0)
    graph = nx.connected_watts_strogatz_graph(120, 4, 0.1, seed=0)
    frame = pd.DataFrame({"id": [f"h{k}" for k in range(120)], "size": draw.integers(40, 200, 120)})
    frame["price"] = (1e6 + 5000 * frame["size"] + draw.normal(0, 1e4, 120)).round().astype(int).astype(str)
    frame["rate"] = (frame["size"] / 100).round(2)
    frame["rooms"] = frame["size"] // 30
    frame.loc[3, "price"], frame.loc[7, "price"] = "NA", ""
    frame.to_csv(tmp_path / "nodes.csv", index=False)
    pd.DataFrame(list(graph.edges), columns=["u", "v"]).map("h{}".format).to_csv(
        tmp_path / "net.csv", index=False
    )
    monkeypatch.chdir(tmp_path)
    return frame


def test_whole_numbers_of_nodes_are_predicted_in_their_own_unit_when_asked(town: pd.DataFrame) -> None:
    """Better than the mean of the training part by far, which a network could not reach from 0 unscaled."""
    flags = ["--label", "price", "--ignore", "rate,rooms", "--task", "regression", "--model", "sage"]
    flags += ["--dropout", "0"]
    assert cli.main([*NODE, *flags, "--epochs", "200", "--out", "run"]) == 0
    assert cli.main(["predict", "run", "--output", "out.csv"]) == 0
    said = pd.read_csv("out.csv", keep_default_na=False)
    assert said.columns.tolist() == ["node", "part", "true price", "predicted price"]
    assert said.part[3] == said.part[7] == said["true price"][3] == ""
    test, train_part = (said[said.part == part].astype({"true price": float}) for part in ("test", "train"))
    results = json.loads(Path("run/results.json").read_text())
    mae = sklearn.metrics.mean_absolute_error(test["true price"], test["predicted price"])
    r2 = sklearn.metrics.r2_score(test["true price"], test["predicted price"])
    assert results["test_mae"]["mean"] == pytest.approx(mae, rel=1e-3)
    assert results["test_r2"]["mean"] == pytest.approx(r2, abs=1e-3) and r2 > 0.8
    constant = DummyRegressor().fit(train_part[["node"]], train_part["true price"])
    baseline = sklearn.metrics.mean_absolute_error(test["true price"], constant.predict(test[["node"]]))
    assert mae < 0.4 * baseline
    assert Path("run/numbers.png").exists() and not Path("run/confusion.png").exists()
    for name in ("net.csv", "nodes.csv"):
        Path(name).unlink()
    alone = mpnn.load("run").predict()
    assert alone["predicted price"].tolist() == pytest.approx(said["predicted price"].tolist(), rel=1e-5)


def test_the_loss_counts_in_standard_deviations_and_the_unit_is_part_of_the_weights(
    town: pd.DataFrame,
) -> None:
    report = train(
        preset("gcn", dataset="net.csv", nodes="nodes.csv", label="price,rate", epochs=2), "run", draw=False
    )
    model, task, _ = load_model("run")
    y = task.y[task.split.train].double().numpy()
    scaler = StandardScaler().fit(y)
    state = torch.load("run/best.pt", weights_only=True)["model"]
    assert state["unit.mean"].tolist() == pytest.approx(scaler.mean_.tolist(), rel=1e-6)
    assert state["unit.scale"].tolist() == pytest.approx(scaler.scale_.tolist(), rel=1e-6)
    with torch.no_grad():
        output = task.outputs(model)
    val = task.split.val
    ours, theirs = (scaler.transform(part[val].double().numpy()) for part in (output, task.y))
    expected = sklearn.metrics.mean_squared_error(ours, theirs)
    assert report.results[0].best["val_loss"] == pytest.approx(expected, rel=1e-3)


def test_a_unit_changes_no_gradient_of_standardised_numbers() -> None:
    """Network, unit and loss together are the plain loss of standardised numbers, gradients too."""
    draw = torch.Generator().manual_seed(0)
    y = 1000 + 50 * torch.randn(30, 2, dtype=torch.float64, generator=draw)
    raw = torch.randn(30, 2, dtype=torch.float64, generator=draw, requires_grad=True)
    for loss, function in (("mse", F.mse_loss), ("mae", F.l1_loss), ("huber", F.huber_loss)):
        aim = objective(y, ["a", "b"], loss, standard=True)
        unit = Unit(aim.mean, aim.scale).double()
        unit.mean, unit.scale = (torch.tensor(part, dtype=torch.float64) for part in (aim.mean, aim.scale))
        ours = aim.loss(unit(raw), y)
        theirs = function(raw, torch.from_numpy(StandardScaler().fit_transform(y.numpy())))
        assert_close(ours, theirs)
        gradient, expected = (torch.autograd.grad(one, raw)[0] for one in (ours, theirs))
        assert_close(gradient, expected)


@pytest.mark.parametrize(
    ("task", "model", "dataset"),
    [("edge", "sage", "sbm"), ("graph", "gin", "trees"), ("image", "lenet", "digits")],
)
def test_numbers_of_edges_graphs_and_images_are_learned_too(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], task: str, model: str, dataset: str
) -> None:
    flags = ["train", task, "--dataset", dataset, "--model", model, "--epochs", "2"]
    if dataset == "sbm":
        drawn = nx.gnm_random_graph(60, 200, seed=0)
        rows = "".join(f"{i},{j},{(i + j) % 11}\n" for i, j in drawn.edges)
        (tmp_path / "net.csv").write_text("u,v,weight\n" + rows)
        flags = ["train", task, "--dataset", str(tmp_path / "net.csv"), "--edge-label", "weight"]
        flags += ["--model", model, "--epochs", "2"]
    assert cli.main([*flags, "--task", "regression", "--out", str(tmp_path / "run")]) == 0
    assert " MAE " in capsys.readouterr().out
    assert (tmp_path / "run" / "numbers.png").exists()
    assert cli.main(["evaluate", str(tmp_path / "run")]) == 0
    assert cli.main(["predict", str(tmp_path / "run"), "--output", str(tmp_path / "out.csv")]) == 0
    (header, *rows_) = csv.reader((tmp_path / "out.csv").read_text().splitlines())
    assert [name.split()[0] for name in header[-2:]] == ["true", "predicted"]
    said = np.array([[float(cell) for cell in row[-2:]] for row in rows_])
    assert abs(said[:, 0].mean() - said[:, 1].mean()) < said[:, 0].std()  # in its own unit after two epochs


def test_what_the_answers_alone_decide_is_said_in_a_line(
    town: pd.DataFrame, capsys: pytest.CaptureFixture[str]
) -> None:
    lines = {
        "rate": "Numbers are learned, by regression: rate; --task classification would learn each value",
        "rooms": "Classes are learned: 6 whole numbers; --task regression would learn them as numbers.",
        "rate,size": "Numbers are learned, by regression: rate, size.",
    }
    for label, line in lines.items():
        assert cli.main([*NODE, "--label", label, *QUICK]) == 0
        assert line in capsys.readouterr().out
        for asked in (["--task", "regression"], ["--loss", "mse"]):
            assert cli.main([*NODE, "--label", label, *asked, *QUICK]) == 0
            out = capsys.readouterr().out
            assert "learned" not in out and "test MAE" in out
    assert cli.main([*NODE, "--label", "rooms", "--task", "classification", *QUICK]) == 0
    out = capsys.readouterr().out
    assert "learned" not in out and "test accuracy" in out


def test_numbers_with_decimal_points_are_classes_when_asked(town: pd.DataFrame) -> None:
    town["grade"] = (town["size"] // 50) / 2
    town.to_csv("nodes.csv", index=False)
    own: dict[str, Any] = {"dataset": "net.csv", "nodes": "nodes.csv", "label": "grade", "epochs": 2}
    train(preset("gcn", learn="classification", **own), "run", draw=False)
    _, task, _ = load_model("run")
    names = task.objective.names
    assert task.objective.learns == "classes"
    assert [float(names[k]) for k in task.y.tolist()] == town.grade.tolist()


def test_labels_of_several_columns_are_numbers_when_asked(town: pd.DataFrame) -> None:
    town["big"], town["dear"] = (town["size"] > 100).astype(int), (town["size"] > 150).astype(int)
    town.to_csv("nodes.csv", index=False)
    own: dict[str, Any] = {"dataset": "net.csv", "nodes": "nodes.csv", "label": "big,dear", "epochs": 2}
    report = train(preset("gcn", learn="regression", **own), "run", draw=False)
    assert [metric.name for metric in report.metrics] == ["mae", "rmse", "r2"]
    assert load_model("run")[1].y.tolist() == town[["big", "dear"]].to_numpy().tolist()


def test_whole_numbers_of_pandas_with_gaps_are_classes_and_real_ones_numbers() -> None:
    edges = pd.DataFrame({"u": [0, 1, 2], "v": [1, 2, 3]})
    gaps = pd.DataFrame({"id": range(4), "y": [1.0, None, 2.0, 1.0]})
    classes = mpnn.datasets.load_tables(edges, gaps, mpnn.datasets.Columns(label="y"))
    assert classes.y is not None and classes.y.tolist() == [0, -1, 1, 0]
    real = mpnn.datasets.load_tables(edges, gaps.fillna(3.0), mpnn.datasets.Columns(label="y"))
    assert real.y is not None and real.y.flatten().tolist() == [1, 3, 2, 1]


MISTAKES = [
    (["--label", "price", "--loss", "bce"], "loss is 'bce', but task is 'regression': take one of mse, mae"),
    (["--label", "id"], "task is 'regression', which is for numbers, but 'h0' is a class and no number"),
    (["--label", "price", "--class-weights", "balanced"], "class_weights is 'balanced', but numbers have no"),
    (["--label", "price", "--known-counts"], "known_counts is True, but numbers have no classes"),
    (
        ["--label", "price", "--monitor", "accuracy"],
        "monitor is 'accuracy', but this task is measured by mae",
    ),
    (
        ["--label", "price", "--split", "per-class"],
        "split is 'per-class', but that is for nodes that have one",
    ),
]


@pytest.mark.parametrize(("flags", "sentence"), MISTAKES)
def test_what_does_not_go_with_regression_is_one_sentence(
    town: pd.DataFrame, complaint: Complaint, flags: list[str], sentence: str
) -> None:
    assert sentence in complaint(*NODE, "--task", "regression", *flags)


def test_what_does_not_go_with_classification_is_one_sentence(
    town: pd.DataFrame, complaint: Complaint
) -> None:
    asked = [*NODE, "--task", "classification", "--label"]
    assert "price" in town and "loss is 'mse', but task is 'classification'" in complaint(
        *asked, "rooms", "--loss", "mse"
    )
    assert "rate, price are numbers of several columns" in complaint(*asked, "rate,price")
    said = complaint(*NODE, "--task", "classification", "--label", "rate", "--loss", "bce")
    assert "rate has" in said and "different numbers in 120 answers: leave it out" in said
    links = ["train", "edge", "--dataset", "net.csv", "--task", "regression"]
    assert "learn is 'regression', but links are learned by bce alone" in complaint(*links)


def test_early_stopping_looks_at_the_loss_where_regression_is_asked_for() -> None:
    assert preset("gat", dataset="net.csv").monitor == "both"
    assert preset("gat", dataset="net.csv", learn="regression").monitor == "loss"


def test_a_run_that_kept_no_unit_is_read_as_before(tmp_path: Path) -> None:
    """A model without one says what it always said."""
    train(preset("graph", dataset="grid", epochs=2), tmp_path / "run", draw=False)
    path = tmp_path / "run" / "model.json"
    values = json.loads(path.read_text())
    for name in ("mean", "scale"):
        del values["shape"][name]
    path.write_text(json.dumps(values))
    best = torch.load(tmp_path / "run" / "best.pt", weights_only=True)
    unit = {name: best["model"].pop(f"unit.{name}") for name in ("mean", "scale")}
    torch.save(best, tmp_path / "run" / "best.pt")
    raw = mpnn.load(tmp_path / "run").predict(load("grid")).iloc[:, 1]
    model, task, _ = load_model(tmp_path / "run")
    with torch.no_grad():
        assert_close(task.outputs(model).flatten().double(), torch.tensor(raw.to_numpy()), atol=1e-4)
    assert unit["scale"].shape == (1,)


def test_the_picture_has_a_panel_for_each_target_and_the_points_of_the_table() -> None:
    draw = torch.Generator().manual_seed(0)
    truth, said = torch.randn(50, 2, generator=draw), torch.randn(50, 2, generator=draw)
    panels = numbers_picture(truth, said, ["a", "b"]).axes
    assert [axes.get_ylabel() for axes in panels] == ["predicted a", "predicted b"]
    points = np.sort(np.asarray(panels[1].collections[0].get_offsets()), axis=0)
    assert np.allclose(points, np.sort(torch.stack([truth[:, 1], said[:, 1]], 1).numpy(), axis=0))


def test_kept_numbers_that_contradict_each_other_are_refused(tmp_path: Path) -> None:
    train(preset("graph", dataset="grid", epochs=1), tmp_path / "run", draw=False)
    path = tmp_path / "run" / "model.json"
    values = json.loads(path.read_text())
    path.write_text(json.dumps(values | {"shape": values["shape"] | {"scale": [1.0, 2.0]}}))
    with pytest.raises(mpnn.train.RunError, match="damaged: scale is"):
        mpnn.load(tmp_path / "run")


def test_numbers_are_learned_from_samples_as_on_the_whole_graph(town: pd.DataFrame) -> None:
    """With all neighbours and one batch, a run is that of the whole graph, its numbers in the same unit."""
    flags = [*NODE, "--label", "price", "--ignore", "rate,rooms", "--task", "regression", "--dropout", "0"]
    flags += ["--no-pictures", "--epochs", "20", "--model", "sage"]
    assert cli.main([*flags, "--out", "whole"]) == 0
    assert cli.main([*flags, "--batch-size", "1000", "--fanouts", "all", "--out", "sampled"]) == 0
    for run in ("whole", "sampled"):
        assert cli.main(["predict", run, "--output", f"{run}.csv"]) == 0
    whole, sampled = (pd.read_csv(f"{run}.csv")["predicted price"].to_numpy() for run in ("whole", "sampled"))
    np.testing.assert_allclose(sampled, whole, rtol=1e-3)
    assert whole.min() > 5e5


def test_a_sweep_of_numbers_finds_the_smallest_error(
    town: pd.DataFrame, capsys: pytest.CaptureFixture[str]
) -> None:
    flags = ["--label", "rate", "--ignore", "price,rooms", "--no-pictures", "--out", "sweep"]
    assert cli.main([*NODE, *flags, "--model", "sage", "--lr", "0.01,1e-06", "--epochs", "40"]) == 0
    said = capsys.readouterr().out
    assert said.count("Numbers are learned, by regression: rate") == 1
    table = pd.read_csv("sweep/sweep.csv")
    assert set(table["metric"]) == {"mae"}
    errors = table.set_index("lr")["val_mean"]
    assert errors[0.01] < errors[1e-6]
    assert "Best by validation: lr 0.01" in said


def test_classes_and_numbers_are_no_values_of_one_sweep(complaint: Complaint) -> None:
    assert "argument --task: invalid choice: 'classification,regression'" in complaint(
        *NODE, "--task", "classification,regression"
    )
