"""What else is told the numbers of every epoch: stand-ins for libraries that the tests do not need."""

from __future__ import annotations

import csv
import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

from mpnn.train import preset, train
from mpnn.train.command import cli
from tests.train.conftest import Complaint

KARATE = ["train", "node", "--dataset", "karate", "--epochs", "3"]
Told = dict[str, dict[tuple[str, int], float]]


class Writer:
    """TensorBoard's `SummaryWriter`."""

    told: Told

    def __init__(self, folder: str) -> None:
        self.run, self.open = Path(folder).parent.name, True

    def add_text(self, name: str, text: str) -> None:
        assert name == "settings" and '"dataset": "karate"' in text

    def add_scalar(self, name: str, value: float, step: int) -> None:
        metric, part = name.split("/")
        self.told.setdefault(self.run, {})[f"{part}_{metric}", step] = value

    def close(self) -> None:
        assert self.open
        self.open = False


def tensorboard(told: Told) -> dict[str, Any]:
    return {"SummaryWriter": type("Writer", (Writer,), {"told": told})}


def wandb(told: Told) -> dict[str, Any]:
    def init(project: str, name: str, dir: str, config: Any, id: str | None = None, resume: str = "") -> Any:
        assert (project, config["dataset"], Path(dir).name) == ("mpnn", "karate", name)
        run = told.setdefault(id or name, {})  # a known id goes on with its run
        assert bool(id) == (resume == "allow")

        def log(numbers: dict[str, float], step: int) -> None:
            run.update({(metric, step): value for metric, value in numbers.items()})

        return SimpleNamespace(id=id or name, log=log, finish=lambda: None)

    return {"init": init}


def mlflow(told: Told) -> dict[str, Any]:
    active: list[str] = []

    def start_run(run_id: str | None, run_name: str | None) -> Any:
        assert not active, "MLflow has one run at a time"
        active.append(run_id or str(run_name))
        return SimpleNamespace(info=SimpleNamespace(run_id=active[0]))

    def log_metrics(numbers: dict[str, float], step: int) -> None:
        told.setdefault(active[0], {}).update({(name, step): value for name, value in numbers.items()})

    def log_params(settings: dict[str, Any]) -> None:
        assert settings["dataset"] == "karate"

    return {
        "start_run": start_run,
        "log_metrics": log_metrics,
        "log_params": log_params,
        "end_run": active.clear,
    }


@pytest.mark.parametrize(
    ("library", "module"),
    [(tensorboard, "torch.utils.tensorboard"), (wandb, "wandb"), (mlflow, "mlflow")],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_the_log_holds_the_numbers_of_every_epoch_of_every_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, library: Any, module: str
) -> None:
    told: Told = {}
    stand_in = ModuleType(module)
    vars(stand_in).update(library(told))
    monkeypatch.setitem(sys.modules, module, stand_in)
    flags = ["--log", library.__name__, "--runs", "2", "--no-pictures", "--out", str(tmp_path)]
    assert cli.main([*KARATE, *flags]) == 0
    assert cli.main(["train", "node", "--resume", str(tmp_path), "--epochs", "5"]) == 0  # it logs on
    assert told.keys() == {"seed-0", "seed-1"}
    for run, numbers in told.items():
        rows = list(csv.DictReader((tmp_path / run / "metrics.csv").read_text().splitlines()))
        theirs = {
            (name, int(row["epoch"])): float(value)
            for row in rows
            for name, value in row.items()
            if name != "epoch"
        }
        assert numbers.keys() == theirs.keys() and len(rows) == 5
        assert numbers == pytest.approx(theirs, rel=1e-5)  # the file has six digits


@pytest.mark.parametrize(
    ("log", "module"), [("tensorboard", "torch.utils.tensorboard"), ("wandb", "wandb"), ("mlflow", "mlflow")]
)
def test_a_log_that_is_not_installed_is_named_before_anything_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, complaint: Complaint, log: str, module: str
) -> None:
    monkeypatch.setitem(sys.modules, module, None)
    home = tmp_path / "run"
    said = complaint(*KARATE, "--log", log, "--out", str(home))
    assert f"log is {log!r}, which is not installed: pip install {log}" in said
    assert not home.exists()


@pytest.mark.parametrize("task", ["node", "embed"])
def test_a_resumed_run_keeps_every_flag(tmp_path: Path, task: str, monkeypatch: pytest.MonkeyPatch) -> None:
    short = ["--epochs", "2"] if task == "node" else ["--walks", "2", "--dimensions", "4"]
    for name, flags, ending in (("none", ["--no-pictures"], None), ("svg", ["--pictures", "svg"], "svg")):
        home = tmp_path / name
        assert cli.main(["train", task, "--dataset", "karate", *short, *flags, "--out", str(home)]) == 0
        for picture in home.glob("*.svg"):
            picture.unlink()
        assert cli.main(["train", task, "--resume", str(home)]) == 0
        drawn = {file.suffix for file in home.iterdir()} & {".png", ".svg"}
        assert drawn == (set() if ending is None else {f".{ending}"})
        assert cli.main(["train", task, "--resume", str(home), "--pictures", "png"]) == 0  # but may change it
        assert (home / "curves.png").exists()


def test_the_argument_draw_comes_before_the_setting(tmp_path: Path) -> None:
    settings = preset("gcn", dataset="karate", epochs=2, pictures="svg")
    train(settings, tmp_path / "a", draw=False)
    train(settings, tmp_path / "b", draw=True)
    train(settings, tmp_path / "c")
    found = [{file.suffix for file in (tmp_path / name).iterdir()} & {".svg", ".png"} for name in "abc"]
    assert found == [set(), {".png"}, {".svg"}]
