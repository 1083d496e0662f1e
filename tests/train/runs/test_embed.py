"""Vectors of nodes by random walks: the run, its folder, the command, and how vectors are judged."""

from __future__ import annotations

import json
import os
import re
import signal
from pathlib import Path

import numpy as np
import pytest
import torch
from rich.progress import Progress
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import f1_score
from sklearn.multiclass import OneVsRestClassifier

from mpnn.datasets import DATASETS
from mpnn.train import embed, embed_preset
from mpnn.train.analysis.linear_probe import linear_probe
from mpnn.train.command import cli
from mpnn.train.errors import RunError
from tests.datasets.loading import one_graph
from tests.train.conftest import Complaint
from tests.train.toys import two_blocks

KARATE = ["train", "embed", "--dataset", "karate", "--walks", "8", "--dimensions", "8"]
WRITTEN = {
    "config.json",
    "curves.png",
    "embedding.npz",
    "embedding.png",
    "last.pt",
    "metrics.csv",
    "results.json",
}


def test_deepwalk_finds_the_two_clubs(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    flags = ["train", "embed", "--dimensions", "16", "--splits", "5", "--out", str(tmp_path / "run")]
    assert cli.main(flags) == 0
    out, err = capsys.readouterr()
    assert err == ""
    found = re.search(r"deepwalk on karate: test accuracy (\d+\.\d) ± \d+\.\d % \(50 % of the labels", out)
    assert found is not None and float(found[1]) > 85
    assert {file.name for file in (tmp_path / "run").iterdir()} == WRITTEN
    assert all(name in out for name in WRITTEN)
    content = np.load(tmp_path / "run" / "embedding.npz")
    assert content["embedding"].shape == (34, 16) and content["node"].tolist()[-1] == "33"
    results = json.loads((tmp_path / "run" / "results.json").read_text())
    assert len(results["splits"]["accuracy"]) == 5
    assert results["accuracy"]["mean"] == pytest.approx(np.mean(results["splits"]["accuracy"]))


def test_a_config_reproduces_a_run(tmp_path: Path) -> None:
    node2vec = ["--model", "node2vec", "--p", "0.25", "--q", "4", "--no-pictures"]
    assert cli.main([*KARATE, *node2vec, "--out", str(tmp_path / "one")]) == 0
    again = ["train", "embed", "--config", str(tmp_path / "one" / "config.json"), "--no-pictures"]
    assert cli.main([*again, "--out", str(tmp_path / "two")]) == 0
    one, two = (np.load(tmp_path / name / "embedding.npz")["embedding"] for name in ("one", "two"))
    assert np.array_equal(one, two)
    assert json.loads((tmp_path / "two" / "config.json").read_text())["length"] == 80


def test_ctrl_c_saves_and_the_run_goes_on_to_the_same_vectors(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def press(bar: Progress, *_: object, completed: int = 0, **__: object) -> None:
        if completed == 3:
            os.kill(os.getpid(), signal.SIGINT)

    broken = str(tmp_path / "broken")
    monkeypatch.setattr(Progress, "update", press)
    assert cli.main([*KARATE, "--no-pictures", "--out", broken]) == 130
    assert f"go on with: mpnn train embed --resume {broken}" in capsys.readouterr().err
    monkeypatch.undo()
    assert cli.main(["train", "embed", "--resume", broken, "--no-pictures"]) == 0
    assert cli.main([*KARATE, "--no-pictures", "--out", str(tmp_path / "whole")]) == 0
    for name in ("metrics.csv", "embedding.npz"):
        ours, theirs = (tmp_path / run / name for run in ("broken", "whole"))
        if name == "metrics.csv":
            assert ours.read_text() == theirs.read_text()
        else:
            assert np.array_equal(np.load(ours)["embedding"], np.load(theirs)["embedding"])


@pytest.mark.parametrize(
    ("flags", "sentence"),
    [
        (["--model", "deepwalker"], "model is 'deepwalker', but should be one of deepwalk, node2vec"),
        (["--p", "2"], "p is 2.0, but deepwalk has none: node2vec has"),
        (["--model", "node2vec", "--q", "-1"], "q is -1.0, but should be above 0 and finite"),
        (["--dimensions", "0"], "dimensions must be at least 1, got 0"),
        (["--walks", "0"], "walks must be at least 1, got 0"),
        (["--share", "1"], "share is 1.0, but should be above 0 and below 1"),
        (["--splits", "0"], "splits is 0, but should be at least 1"),
        (["--dataset", "cycles"], "cycles is 200 graphs, but vectors are made of one graph's nodes"),
        (["--resume", "/no/run"], "/no/run holds no run"),
    ],
    ids=" ".join,
)
def test_a_mistake_gets_one_sentence_and_exit_code_2(
    complaint: Complaint, flags: list[str], sentence: str
) -> None:
    assert sentence in complaint("train", "embed", *flags)


def test_a_resumed_run_keeps_its_settings(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    home = str(tmp_path / "run")
    assert cli.main([*KARATE, "--no-pictures", "--out", home]) == 0
    assert cli.main(["train", "embed", "--resume", home, "--share", "0.8", "--no-pictures"]) == 0
    capsys.readouterr()
    assert cli.main(["train", "embed", "--resume", home, "--window", "3"]) == 2
    assert "a resumed run may change only data, device, share, splits" in capsys.readouterr().err


def test_the_linear_probe_is_one_vs_rest_regression_with_as_many_labels_as_there_are() -> None:
    generator = torch.Generator().manual_seed(0)
    y = torch.rand(120, 4, generator=generator) < torch.tensor([0.6, 0.4, 0.3, 0.2])
    x = torch.randn(120, 6, generator=generator) + torch.nn.functional.pad(2 * y.float(), (0, 2))
    ours = linear_probe(x, y, splits=1, seed=7)
    order = np.random.default_rng(7).permutation(120)
    known, other = order[:60], order[60:]
    model = OneVsRestClassifier(LogisticRegression(tol=1e-8, max_iter=5000)).fit(x[known], y[known].numpy())
    predicted = np.zeros((60, 4), bool)
    for row, (chance, count) in enumerate(zip(model.predict_proba(x[other]), y[other].sum(1), strict=True)):
        predicted[row, np.argsort(-chance)[: int(count)]] = True
    for mean in ("micro", "macro"):
        assert ours[f"f1_{mean}"] == [pytest.approx(f1_score(y[other], predicted, average=mean), abs=1e-12)]


def test_a_label_that_nobody_known_has_is_never_predicted_first() -> None:
    y = torch.zeros(20, 2, dtype=torch.bool)
    y[:, 0] = True
    assert linear_probe(torch.randn(20, 3), y, splits=2)["f1_micro"] == [1.0, 1.0]


def test_what_cannot_be_judged_gets_one_sentence() -> None:
    with pytest.raises(RunError, match="y holds numbers"):
        linear_probe(torch.ones(4, 2), torch.ones(4, 1))
    with pytest.raises(RunError, match="holds one class only"):
        linear_probe(torch.ones(4, 2), torch.zeros(4, dtype=torch.long))
    with pytest.raises(RunError, match="leaves none to train or to test on"):
        linear_probe(torch.ones(1, 2), torch.zeros(1, dtype=torch.long))


def test_a_graph_without_classes_gets_vectors_all_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mpnn.train.runs.embed_run.load", lambda *_: two_blocks())
    report = embed(embed_preset(dataset="blocks", walks=2, dimensions=4), tmp_path / "run")
    assert report.vectors.shape == (60, 4) and report.scores == {}
    assert "60 vectors, loss" in str(report)
    assert not (tmp_path / "run" / "embedding.png").exists()


def test_blogcatalog_is_learned_from_a_few_walks(tmp_path: Path) -> None:
    if not os.environ.get("MPNN_DATA"):
        pytest.skip("MPNN_DATA is not set: BlogCatalog's file is read from there")
    assert "blogcatalog" in DATASETS and one_graph("blogcatalog").num_nodes == 10312
    settings = embed_preset(dataset="blogcatalog", walks=4, dimensions=32, splits=1)
    report = embed(settings, tmp_path / "run", draw=False)
    assert report.test("f1_micro")[0] > 0.2  # the most common labels alone make 0.17
