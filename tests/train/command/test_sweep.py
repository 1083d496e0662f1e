"""Several values of a flag make several runs: each as it would be alone, compared by the validation part."""

from __future__ import annotations

import json
import os
import signal
import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pandas as pd
import pytest

from mpnn.train import preset, train
from mpnn.train.choices import Several, Span
from mpnn.train.command import cli, sweep_command
from mpnn.train.kinds.faces import FACES
from mpnn.train.runs import sweep as sweeps
from mpnn.train.runs.run import Listener
from mpnn.train.runs.sweep import Outcome, Outcomes, Sweep, Trial
from mpnn.train.runs.tuning import usual_space
from mpnn.train.tasks.metrics import METRICS
from tests.train.conftest import Complaint

GRID = ["train", "node", "--dataset", "karate", "--epochs", "4", "--lr", "0.1,0.01", "--model", "gcn,gat"]


def read(home: Path) -> pd.DataFrame:
    return pd.read_csv(home / "sweep.csv").set_index("run")


def test_every_combination_is_the_run_that_it_would_be_alone(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    home = tmp_path / "grid"
    assert cli.main([*GRID, "--runs", "2", "--out", str(home)]) == 0
    frame = read(home)
    assert frame[["lr", "model"]].to_numpy().tolist() == [
        [lr, model] for lr in (0.1, 0.01) for model in ("gcn", "gat")
    ]
    for name, row in frame.iterrows():
        settings = preset(row.model, dataset="karate", lr=row.lr, epochs=4, runs=2)  # gat's own preset too
        alone = train(settings, tmp_path / str(name), draw=False)
        for seed in ("seed-0", "seed-1"):
            ours, theirs = (place / str(name) / seed / "metrics.csv" for place in (home, tmp_path))
            assert ours.read_bytes() == theirs.read_bytes()
        val = [result.best["val_accuracy"] for result in alone.results]
        assert row.val_mean == pytest.approx(sum(val) / 2)
        assert (row.test_mean, row.test_std) == pytest.approx(alone.test())
    assert (home / "sweep.png").exists()
    out = capsys.readouterr().out
    assert out.count("best\n") == 1 and "Best by validation" in out
    assert cli.main(["runs", str(home)]) == 0
    assert set(frame.index) <= set(capsys.readouterr().out.split())


@pytest.mark.parametrize("metric", ["accuracy", "mae"])
def test_the_best_is_that_of_the_validation_part_whatever_the_test_part_says(metric: str) -> None:
    sign = 1 if METRICS[metric].higher else -1
    pairs = [(0.5, 0.9, 1.0), (0.7, 0.1, 2.0), (0.7, 0.2, 1.0), (0.6, 0.8, 1.0)]
    found = [
        Outcome(Trial(str(k), {"lr": k}), METRICS[metric], (sign * val, 0), (sign * test, 0), 1, loss)
        for k, (val, test, loss) in enumerate(pairs)
    ]
    outcomes = Outcomes(("lr",), [*found, Outcome(Trial("4", {"lr": 4}, "it broke"))])
    assert outcomes.best is found[2]  # of equal metrics the lower validation loss
    assert outcomes.table().best.tolist() == [False, False, True, False, False]
    assert Outcomes(("lr",), outcomes.found[-1:]).best is None


def test_a_run_that_fails_does_not_end_the_others(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    flags = ["--heads", "2", "--no-pictures", "--out"]
    assert cli.main([*GRID, *flags, str(tmp_path / "a")]) == 0  # gcn has no heads
    frame = read(tmp_path / "a")
    assert frame[frame.model == "gcn"].error.str.startswith("heads is 2, but gcn has no heads").all()
    assert frame[frame.model == "gat"].error.isna().all()
    assert frame[frame.model == "gat"].best.sum() == 1
    assert "model gcn: failed: heads is 2" in capsys.readouterr().out

    def broken(*_: Any, **__: Any) -> None:
        raise ZeroDivisionError("nothing to divide by")

    monkeypatch.setattr(sweeps, "train", broken)
    assert cli.main([*GRID, "--out", str(tmp_path / "b")]) == 2
    assert "all 4 runs failed, the first because ZeroDivisionError" in capsys.readouterr().err


def test_an_interrupted_sweep_goes_on_where_it_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    begun: list[str] = []

    def press(display: Listener, row: dict[str, float]) -> None:
        if len(begun) == 2 and row["epoch"] == 2:
            os.kill(os.getpid(), signal.SIGINT)

    home, flags = tmp_path / "grid", ["--no-pictures", "--hidden", "8"]
    started = sweep_command._Display.started
    monkeypatch.setattr(
        sweep_command._Display, "started", lambda *args: (begun.append(""), started(*args))[1]
    )
    monkeypatch.setattr(sweep_command._Display, "epoch", press)
    assert cli.main([*GRID, *flags, "--out", str(home)]) == 130
    assert f"go on with: mpnn train node --resume {home}" in capsys.readouterr().err
    assert len(begun) == 2
    monkeypatch.setattr(sweep_command._Display, "epoch", lambda *_: None)
    assert cli.main(["train", "node", "--resume", str(home), "--no-pictures"]) == 0
    assert len(begun) == 5  # the second goes on, the first is only read
    assert cli.main([*GRID, *flags, "--out", str(tmp_path / "whole")]) == 0
    assert (home / "sweep.csv").read_bytes() == (tmp_path / "whole" / "sweep.csv").read_bytes()
    for one in ("lr-0.1-model-gat", "lr-0.01-model-gat"):
        ours, theirs = (place / one / "metrics.csv" for place in (home, tmp_path / "whole"))
        assert ours.read_bytes() == theirs.read_bytes()


@pytest.mark.parametrize(
    ("flags", "sentence"),
    [
        (["--lr", "0.1,0.1"], "argument --lr: 0.1 is named twice"),
        (["--lr", "0.1,much"], "argument --lr: invalid float value: '0.1,much'"),
        (["--optimizer", "adam,adan"], "argument --optimizer: invalid choice: 'adan'"),
        (["--lr", "0.1:0.01"], "argument --lr: a span goes from low to high, but is '0.1:0.01'"),
        (["--lr", "0.01:0.1"], "lr is 0.01:0.1, a span, which is searched by tune"),
        (["--tune", "0"], "tune is 0, but should be at least 1"),
        (["--runs", "1,2"], "argument --runs: invalid int value: '1,2'"),
    ],
    ids=str,
)
def test_values_that_cannot_be_tried_get_a_sentence(
    complaint: Complaint, flags: list[str], sentence: str
) -> None:
    assert sentence in complaint("train", "node", *flags)


def test_a_single_run_takes_no_several_values_when_it_goes_on(tmp_path: Path, complaint: Complaint) -> None:
    train(preset("gcn", dataset="karate", epochs=2), tmp_path, draw=False)
    assert "is one run, which goes on as it was" in complaint(
        "train", "node", "--resume", str(tmp_path), "--lr", "1,2"
    )


def test_the_file_of_a_sweep_is_read_as_it_was_written(tmp_path: Path, complaint: Complaint) -> None:
    axes: dict[str, Several | Span] = {"lr": Span(0.1, 0.2), "model": Several(("gcn", "gat"))}
    sweep = Sweep({"task": "node", "epochs": 3}, axes, 7, (Trial("trial-001", {"lr": 0.15}, "it broke"),))
    (tmp_path / "sweep.json").write_text(sweep.to_json())
    assert Sweep.read(tmp_path) == sweep
    assert "is of task 'node'" in complaint("train", "graph", "--resume", str(tmp_path))
    assert "lr is 3.0, but the runs in" in complaint("train", "node", "--resume", str(tmp_path), "--lr", "3")
    assert "has begun 1 runs already" not in complaint(
        "train", "node", "--resume", str(tmp_path), "--lr", "3"
    )
    (tmp_path / "sweep.json").write_text("{}")
    assert "sweep.json cannot be read" in complaint("train", "node", "--resume", str(tmp_path))


# Searching, with a stand-in for Optuna, which the tests do not need -----------------------------------------


class Study:
    """Proposes the lowest value of every span and the last of several; notes what it is told."""

    def __init__(self) -> None:
        self.told: list[tuple[dict[str, Any], Any]] = []

    def ask(self, space: dict[str, Any]) -> SimpleNamespace:
        return SimpleNamespace(params={name: kind(len(self.told)) for name, kind in space.items()})

    def tell(self, trial: SimpleNamespace, value: float | None = None, state: str = "complete") -> None:
        self.told.append((trial.params, state if value is None else value))

    def add_trial(self, trial: SimpleNamespace) -> None:
        self.tell(trial, trial.value, trial.state)


@pytest.fixture
def study(monkeypatch: pytest.MonkeyPatch) -> list[Study]:
    made: list[Study] = []

    def number(low: float, high: float, log: bool) -> Any:
        assert log == (low > 0 and high >= 10 * low)
        return lambda k: low + (high - low) * k / 10

    def create_study(direction: str, sampler: int) -> Study:
        assert direction == "maximize"
        made.append(Study())
        return made[-1]

    module = ModuleType("optuna")
    vars(module).update(
        logging=SimpleNamespace(set_verbosity=lambda level: None, WARNING=30),
        distributions=SimpleNamespace(
            CategoricalDistribution=lambda values: lambda k: values[k % len(values)],
            FloatDistribution=number,
            IntDistribution=number,
        ),
        trial=SimpleNamespace(
            TrialState=SimpleNamespace(COMPLETE="complete", FAIL="fail"),
            create_trial=lambda params, distributions, state, value=None: SimpleNamespace(
                params=params, state=state, value=value
            ),
        ),
        samplers=SimpleNamespace(TPESampler=lambda seed: seed),
        create_study=create_study,
    )
    monkeypatch.setitem(sys.modules, "optuna", module)
    return made


def test_a_search_learns_from_every_run_and_goes_on(tmp_path: Path, study: list[Study]) -> None:
    flags = ["--lr", "0.01:0.2", "--model", "gcn,nn", "--no-pictures", "--epochs", "3"]
    assert cli.main(["train", "node", "--tune", "3", *flags, "--out", str(tmp_path)]) == 0
    (first,) = study
    frame = read(tmp_path)
    assert frame.index.tolist() == ["trial-001", "trial-002", "trial-003"]
    assert [params["lr"] for params, _ in first.told] == frame.lr.tolist()
    said = [value for _, value in first.told]
    assert said[1] == "fail" and "reads edge features" in frame.error["trial-002"]  # nn, on karate
    assert [said[0], said[2]] == frame.val_mean[["trial-001", "trial-003"]].tolist()

    assert cli.main(["train", "node", "--resume", str(tmp_path), "--tune", "4", "--no-pictures"]) == 0
    assert study[1].told[:3] == first.told and len(study[1].told) == 4
    assert read(tmp_path).iloc[:3].drop(columns="best").equals(frame.drop(columns="best"))
    assert json.loads((tmp_path / "sweep.json").read_text())["tune"] == 4
    assert cli.main(["train", "node", "--resume", str(tmp_path), "--tune", "2"]) == 2


def test_without_optuna_a_sentence_says_how_to_get_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, complaint: Complaint
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setitem(sys.modules, "optuna", None)
    assert "Optuna searches and is not installed: pip install optuna" in complaint(
        "train", "node", "--tune", "5"
    )
    assert not (tmp_path / "runs").exists()


def test_what_is_searched_by_default_is_what_the_task_lets_choose() -> None:
    assert set(usual_space(FACES["image"], {})) == {"lr", "weight_decay"}
    assert set(usual_space(FACES["image"], {"model": "vae"})) >= {"lr", "hidden", "layers"}
    assert "dropout" not in usual_space(FACES["image"], {"model": "vae"})
    assert "lr" not in usual_space(FACES["node"], {"lr": 0.1})
