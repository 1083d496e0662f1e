"""`--device` is all that a command needs to be elsewhere, and what it saves is read anywhere."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils._pytree import tree_map

from mpnn.datasets.karate import load_karate
from mpnn.train import load_model, preset, train
from mpnn.train.analysis.communities import COMMUNITIES, communities, modularity
from mpnn.train.command import cli
from mpnn.train.fitting import loop
from mpnn.train.tasks import text_task
from tests.compare import assert_close
from tests.core.waiting import no_waiting
from tests.elsewhere import DEVICE, Far, by_plan, elsewhere

TEXT = "the quick brown fox jumps over the lazy dog\n" * 30
SMALL = {"hidden": 8, "layers": 2, "context": 8, "steps": 2, "batch_size": 3}
RUNS: dict[str, dict[str, Any]] = {
    "node": {"model": "gat", "dataset": "karate"},
    "deep": {"model": "gcn", "dataset": "karate", "norm": "batch", "layers": 3, "folds": 2},
    "several graphs": {"model": "sage", "dataset": "crowds"},
    "edge": {"model": "vgae", "task": "edge", "dataset": "karate"},
    "labelled edges": {"model": "sage", "task": "edge", "dataset": "sbm", "hidden": 8},
    "graph": {"model": "gin", "task": "graph", "dataset": "cycles"},
    "graph with loops": {"model": "gat", "task": "graph", "dataset": "cycles", "norm": None},
    "image": {"model": "lenet", "task": "image", "dataset": "digits"},
    "text": {"model": "transformer", "task": "text", "heads": 2, **SMALL},
    "remembered text": {"model": "lstm", "task": "text", **SMALL},
}


@pytest.fixture
def _files(monkeypatch: pytest.MonkeyPatch) -> None:
    """PyTorch writes tensors of any device of its own, and reads them to another."""
    save, load = torch.save, torch.load

    def here(value: Any) -> Any:
        return value.cpu() if isinstance(value, Far) else value

    def load_to(file: Any, map_location: Any = "cpu", **options: Any) -> Any:
        read = load(file, map_location="cpu", **options)
        return tree_map(lambda v: v.to(map_location) if isinstance(v, torch.Tensor) else v, read)

    monkeypatch.setattr(torch, "save", lambda state, file: save(tree_map(here, state), file))
    monkeypatch.setattr(torch, "load", load_to)


@pytest.fixture
def _never_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    """No step does, but those of the first epoch, which look at the graph."""
    steps: Callable[..., list[Tensor]] = loop._steps

    def watched(state: Any, *rest: Any) -> list[Tensor]:
        if not state.epoch:
            return steps(state, *rest)
        with no_waiting(on_cpu=False):
            return steps(state, *rest)

    monkeypatch.setattr(loop, "_steps", watched)


def settings_of(name: str, folder: Path, **changes: Any) -> Any:
    options = dict(RUNS[name])
    if options.get("task") == "text":
        (folder / "fox.txt").write_text(TEXT)
        options["dataset"] = str(folder / "fox.txt")
    return preset(options.pop("model"), **options | changes)


@pytest.mark.usefixtures("_files")
@pytest.mark.parametrize("name", ["node", "deep", "edge", "graph"])
def test_a_run_stays_on_its_device(name: str, tmp_path: Path) -> None:
    settings = settings_of(name, tmp_path, epochs=2, device=str(DEVICE))
    with elsewhere(), by_plan():
        report = train(settings, tmp_path, draw=False)
        assert len(report.results[0].history) == 2
        longer = train(replace(settings, epochs=3), resume=tmp_path, draw=False)
        assert len(longer.results[0].history) == 3
        place = next(tmp_path.glob("**/best.pt")).parent
        model, _, _ = load_model(place, str(DEVICE))
        assert {p.device for p in model.parameters()} == {DEVICE}
        there = {key: value.cpu() for key, value in model.state_dict().items()}
    back, _, _ = load_model(place, "cpu")
    for key, value in back.state_dict().items():
        assert_close(value, there[key], name=key)


@pytest.mark.usefixtures("_files", "_never_waits")
@pytest.mark.parametrize("name", RUNS)
def test_a_step_of_training_never_waits_and_comes_to_the_same(name: str, tmp_path: Path) -> None:
    found = []
    for device in ("cpu", str(DEVICE)):
        settings = settings_of(name, tmp_path, epochs=2, device=device, dropout=0.0)
        with elsewhere():
            report = train(settings, tmp_path / torch.device(device).type, draw=False)
        found.append([row["train_loss"] for row in report.results[0].history])
    # Not what is measured in evaluation: a bias before batch normalisation goes where rounding sends it.
    assert found[0] == pytest.approx(found[1], rel=1e-3)


COMMANDS: dict[str, list[str]] = {
    "node": ["--dataset", "karate", "--model", "gat", "--epochs", "1"],
    "edge": ["--dataset", "karate", "--epochs", "1"],
    "graph": ["--dataset", "cycles", "--epochs", "1", "--no-pictures"],
    "image": ["--dataset", "digits", "--epochs", "1", "--no-pictures"],
    "text": [
        "--hidden",
        "8",
        "--heads",
        "2",
        "--context",
        "8",
        "--layers",
        "1",
        "--steps",
        "2",
        "--epochs",
        "1",
    ],
    "embed": ["--walks", "2", "--dimensions", "4", "--length", "6"],
}


@pytest.mark.usefixtures("_files")
@pytest.mark.parametrize("task", COMMANDS)
def test_every_command_takes_a_device(task: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(text_task, "WRITTEN", 9)
    text, home, table = tmp_path / "fox.txt", str(tmp_path / "run"), str(tmp_path / "run.csv")
    text.write_text(TEXT)
    commands = [["train", task, *COMMANDS[task], "--out", home]]
    if task == "text":
        commands[0] += ["--dataset", str(text)]
    if task != "embed":
        commands += [["evaluate", home], ["predict", home, "--output", table]]
    if task == "node":
        commands += [["explain", home], ["diagnose", home]]
    with elsewhere():
        for command in commands:
            assert cli.main([*command, "--device", str(DEVICE)]) == 0


def test_communities_are_of_a_graph_anywhere() -> None:
    data = load_karate()
    with elsewhere() as device:
        graph = data.graph.to(device)
        for method in COMMUNITIES.keys() - {"deepwalk"}:  # whose walks are tested, and slow there
            found = communities(graph, method, 2 if COMMUNITIES[method][0] else None)
            assert modularity(graph, found) > 0
