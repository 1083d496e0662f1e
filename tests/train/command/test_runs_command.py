"""`mpnn runs` lists every run with what its own files say."""

from __future__ import annotations

import json
import statistics
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from mpnn.train import list_runs, preset, train
from mpnn.train.command import cli
from tests.train.conftest import Complaint


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    home = tmp_path_factory.mktemp("all")
    settings: dict[str, dict[str, Any]] = {
        "a": {"model": "gcn", "epochs": 3},
        "deep/b": {"model": "sage", "epochs": 4, "runs": 2},
        "c": {"model": "graph", "dataset": "grid", "epochs": 3},
    }
    for name, options in settings.items():
        train(preset(**{"dataset": "karate"} | options), home / name, draw=False)
    (home / "d").mkdir()
    (home / "d" / "config.json").write_text((home / "a" / "config.json").read_text())
    return home


def test_the_table_holds_what_the_files_of_the_runs_hold(home: Path) -> None:
    frame = list_runs(home).set_index("run")
    assert frame.index.tolist() == ["a", "c", "d", "deep/b"]
    for name in ("a", "c", "deep/b"):
        results = json.loads((home / name / "results.json").read_text())
        metric = "test_mae" if name == "c" else "test_accuracy"
        values = [one["best"][metric] for one in results["runs"]]
        assert frame.metric[name] == metric and frame["runs"][name] == len(values)
        assert frame["mean"][name] == pytest.approx(statistics.fmean(values))
    assert frame.epochs.tolist() == [3, 3, 3, 4]
    assert pd.isna(frame["mean"]["d"])


def test_runs_are_sorted_chosen_and_written(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["runs", str(home)]) == 0
    out = capsys.readouterr().out
    assert "not finished" in out and "deep/b" in out and "test_mae" in out
    where = [
        "--where",
        "dataset=karate",
        "--sort",
        "mean",
        "--show",
        "epochs",
        "--csv",
        str(home / "all.csv"),
    ]
    assert cli.main(["runs", str(home), *where]) == 0
    out = capsys.readouterr().out
    assert "grid" not in out and "epochs" in out
    written = pd.read_csv(home / "all.csv")
    assert {*written.run} == {"a", "d", "deep/b"}
    means = written["mean"].dropna().tolist()
    assert means == sorted(means, reverse=True) and written.run.iloc[-1] == "d"
    assert cli.main(["runs", str(home), "--where", "epochs=4"]) == 0
    assert "gcn" not in capsys.readouterr().out


def test_what_no_run_has_is_said(home: Path, tmp_path: Path, complaint: Complaint) -> None:
    said = complaint("runs", str(home), "--sort", "modle")
    assert "sort names 'modle', which is no setting of these runs: did you mean 'model'" in said
    assert "where is 'gcn', but should be a name and a value" in complaint(
        "runs", str(home), "--where", "gcn"
    )
    assert "holds no run" in complaint("runs", str(tmp_path))
    assert "does not exist" in complaint("runs", str(tmp_path / "none"))
