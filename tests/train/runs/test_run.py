"""Whole runs on the karate club: the folder, seeds, several runs, and going on after a break."""

from __future__ import annotations

import csv
import json
import statistics
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from mpnn.datasets.karate import load_karate
from mpnn.models import CONVS
from mpnn.train import Listener, NodeTask, Report, RunError, Settings, build_model, load_model, preset, train
from mpnn.train.runs import folder
from mpnn.train.runs.memory import MAY_CHANGE
from tests.train.breaks import PressesCtrlC, assert_goes_on, assert_same_run

SHORT = preset("gat", dataset="karate", epochs=25, patience=None, hidden=4)
FILES = {"README.md", "config.json", "results.json", "metrics.csv", "model.json", "best.pt", "last.pt"}
PICTURES = {f"{name}.png" for name in ("curves", "embedding", "confusion", "roc", "graph")}


def test_the_folder_holds_everything(tmp_path: Path) -> None:
    report = train(SHORT, tmp_path)
    assert {file.name for file in tmp_path.iterdir()} == FILES | PICTURES | {"attention.png"}
    assert json.loads((tmp_path / "config.json").read_text())["hidden"] == 4
    rows = list(csv.DictReader((tmp_path / "metrics.csv").read_text().splitlines()))
    assert [int(row["epoch"]) for row in rows] == list(range(1, 26))
    assert float(rows[3]["val_loss"]) == pytest.approx(report.results[0].history[3]["val_loss"], rel=1e-5)
    for name in PICTURES:
        assert (tmp_path / name).read_bytes().startswith(b"\x89PNG")
        assert (tmp_path / name).stat().st_size > 10_000


@pytest.mark.parametrize("epoch", [1, 9, 25])
def test_a_resumed_run_has_the_numbers_of_one_without_a_break(tmp_path: Path, epoch: int) -> None:
    assert_goes_on(SHORT, tmp_path, epoch)


def test_a_run_that_is_killed_goes_on_from_its_last_checkpoint(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Dies(Listener):
        def epoch(self, row: dict[str, float]) -> None:
            if row["epoch"] == 12:
                raise MemoryError

    train(SHORT, tmp_path / "whole", draw=False)
    monkeypatch.setattr("mpnn.train.fitting.loop.SAVE_EVERY", 0.0)
    with pytest.raises(MemoryError):
        train(SHORT, tmp_path / "broken", draw=False, listener=Dies())
    assert len(torch.load(tmp_path / "broken" / "last.pt", weights_only=True)["history"]) == 11
    train(resume=tmp_path / "broken", draw=False)
    assert_same_run(tmp_path / "broken", tmp_path / "whole")


def test_a_run_that_is_killed_before_its_first_checkpoint_starts_again(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        train(SHORT, tmp_path / "broken", draw=False, listener=PressesCtrlC(3, times=2))
    assert {file.name for file in (tmp_path / "broken").iterdir()} == {"config.json", "model.json"}
    train(SHORT, tmp_path / "whole", draw=False)
    train(resume=tmp_path / "broken", draw=False)
    assert_same_run(tmp_path / "broken", tmp_path / "whole")


def test_several_runs_are_those_of_their_seeds(tmp_path: Path) -> None:
    report = train(replace(SHORT, runs=3, seed=5), tmp_path / "all")
    assert {file.name for file in (tmp_path / "all").iterdir()} == {
        *("README.md", "config.json", "results.json", "attention.png", *PICTURES),
        *("seed-5", "seed-6", "seed-7"),
    }
    train(replace(SHORT, seed=6), tmp_path / "one", draw=False)
    for name in ("config.json", "metrics.csv"):
        assert (tmp_path / "all" / "seed-6" / name).read_bytes() == (tmp_path / "one" / name).read_bytes()
    values = [result.best["test_accuracy"] for result in report.results]
    saved = json.loads((tmp_path / "all" / "results.json").read_text())
    expected = {"mean": statistics.fmean(values), "std": statistics.stdev(values)}
    assert saved["test_accuracy"] == pytest.approx(expected)
    assert [one["seed"] for one in saved["runs"]] == [5, 6, 7]
    assert f"{100 * expected['mean']:.1f} ± {100 * expected['std']:.1f} % (3 runs)" in str(report)


def test_several_runs_resume_in_the_midst(tmp_path: Path) -> None:
    settings = replace(SHORT, runs=3)
    train(settings, tmp_path / "whole", draw=False)
    with pytest.raises(KeyboardInterrupt):
        train(settings, tmp_path / "broken", draw=False, listener=PressesCtrlC(4, number=2))
    assert not (tmp_path / "broken" / "seed-2").exists()
    train(resume=tmp_path / "broken", draw=False)
    for seed in ("seed-0", "seed-1", "seed-2"):
        for name in ("config.json", "metrics.csv"):
            ours, theirs = ((tmp_path / run / seed / name).read_bytes() for run in ("broken", "whole"))
            assert ours == theirs
    ours, theirs = ((tmp_path / run / "results.json").read_bytes() for run in ("broken", "whole"))
    assert ours == theirs


def test_a_run_can_be_made_longer(tmp_path: Path) -> None:
    train(SHORT, tmp_path / "long", draw=False)
    train(replace(SHORT, epochs=10), tmp_path / "short", draw=False)
    train(replace(SHORT, epochs=25), resume=tmp_path / "short", draw=False)
    assert_same_run(tmp_path / "short", tmp_path / "long")
    with pytest.raises(RunError, match=r"epochs is 5, but the run in .*short has done 25"):
        train(replace(SHORT, epochs=5), resume=tmp_path / "short", draw=False)


def test_the_seed_decides_every_number_and_leaves_the_callers_alone(tmp_path: Path) -> None:
    def accuracies(report: Report) -> list[float]:
        return [row["val_loss"] for row in report.results[0].history]

    torch.manual_seed(3)
    first = accuracies(train(SHORT, tmp_path / "a", draw=False))
    drawn = torch.rand(5)
    torch.manual_seed(3)
    assert torch.equal(torch.rand(5), drawn)
    assert accuracies(train(SHORT, tmp_path / "b", draw=False)) == first
    assert accuracies(train(replace(SHORT, seed=1), tmp_path / "c", draw=False)) != first


NEED_EDGES = {
    "gine": "model gine cannot be used here: GINEConv needs edge_attr",
    "nn": "model is 'nn', which reads edge features, but karate has none",
    "rgcn": "model is 'rgcn', which reads edge types, but karate has no edge types",
}


@pytest.mark.parametrize("model", CONVS)
def test_every_model_trains_or_says_what_it_needs(tmp_path: Path, model: str) -> None:
    settings = preset(model, dataset="karate", epochs=3)
    if model in NEED_EDGES:
        with pytest.raises(RunError, match=NEED_EDGES[model]):
            train(settings, tmp_path, draw=False)
    else:
        assert len(train(settings, tmp_path, draw=False).results[0].history) == 3


SHAPES = [{"layers": 1}, {"layers": 3, "residual": True}, {"jk": "cat", "norm": "batch"}]


@pytest.mark.parametrize("shape", SHAPES)
def test_stacks_of_any_shape_train_and_are_drawn(tmp_path: Path, shape: dict[str, Any]) -> None:
    train(preset("gcn", dataset="karate", epochs=2, **shape), tmp_path)
    assert {file.name for file in tmp_path.iterdir()} >= PICTURES


@pytest.mark.parametrize("jk", [None, "cat"])
def test_dropout_is_on_the_input_of_every_layer(jk: str | None) -> None:
    data = load_karate()
    for layers in (1, 3):
        settings = preset("gcn", dropout=0.999999, layers=layers, jk=jk)
        model = build_model(settings, NodeTask(data)).train()
        torch.manual_seed(0)
        silent = model(torch.zeros_like(data.x), data.graph)
        dropped = model(data.x, data.graph)
        assert torch.equal(dropped, silent) == (layers > 1 or jk is not None)


def test_the_best_model_can_be_loaded(tmp_path: Path) -> None:
    report = train(SHORT, tmp_path, draw=False)
    model, task, settings = load_model(tmp_path)
    data = task.data
    right = (model(data.x, data.graph).argmax(dim=1) == data.y)[data.test_mask].double().mean()
    assert float(right) == report.results[0].best["test_accuracy"]
    assert settings == SHORT


def test_the_settings_of_a_run_reproduce_it(tmp_path: Path) -> None:
    train(SHORT, tmp_path / "first", draw=False)
    again = Settings.from_dict(json.loads((tmp_path / "first" / "config.json").read_text()))
    train(again, tmp_path / "second", draw=False)
    assert_same_run(tmp_path / "second", tmp_path / "first")


def test_folders_are_numbered_where_none_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("node-karate-gat", "node-karate-gat-2"):
        assert train(replace(SHORT, epochs=1), draw=False).folder == Path("runs", name)


BAD = [
    ({"model": "gnc"}, "model is 'gnc', but should be one of gnn, gcn"),
    (
        {"model": "gcn", "heads": 4, "out_heads": None},
        "heads is 4, but gcn has no heads: gat, gatv2",
    ),
    ({"act": "rely"}, "model gat cannot be used here: .*rely"),
    ({"norm": "batsch"}, "model gat cannot be used here: .*batsch"),
    ({"jk": "dog"}, "model gat cannot be used here: .*dog"),
    ({"device": "cuda:99"}, "device is 'cuda:99', which this machine or this PyTorch does not have"),
    ({"device": "toaster"}, "device is 'toaster'"),
]


@pytest.mark.parametrize(("changes", "sentence"), BAD)
def test_what_cannot_be_trained_is_refused_before_a_folder_is_made(
    tmp_path: Path, changes: dict[str, Any], sentence: str
) -> None:
    with pytest.raises(RunError, match=sentence):
        train(replace(SHORT, **changes), tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_a_folder_that_is_not_empty_is_refused(tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").write_text("")
    with pytest.raises(RunError, match="is not empty: resume the run in it, or name another folder"):
        train(SHORT, tmp_path)


def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    for out in (tmp_path / "file", tmp_path / "file" / "run"):
        with pytest.raises(RunError, match=f"run folder {out} cannot be made: "):
            train(SHORT, out)


def test_a_folder_that_cannot_be_written_loses_no_earlier_checkpoint(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    train(replace(SHORT, epochs=10), tmp_path, draw=False)
    before = {file.name: file.read_bytes() for file in tmp_path.iterdir()}

    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(RunError, match="cannot be written: No space left on device"):
        train(replace(SHORT, epochs=20), resume=tmp_path, draw=False)
    assert {file.name: file.read_bytes() for file in tmp_path.iterdir()} == before


def test_only_some_settings_may_change_on_resuming(tmp_path: Path) -> None:
    train(SHORT, tmp_path, draw=False)
    with pytest.raises(RunError, match=f"lr is 0.5, but the run in .* has 0.005: .* {', '.join(MAY_CHANGE)}"):
        train(replace(SHORT, lr=0.5), resume=tmp_path)
    with pytest.raises(RunError, match="but a resumed run stays in its folder"):
        train(SHORT, tmp_path / "other", resume=tmp_path)


def test_a_folder_without_a_run_cannot_be_resumed(tmp_path: Path) -> None:
    with pytest.raises(RunError, match=r"holds no run: .*config\.json does not exist"):
        train(resume=tmp_path)
    (tmp_path / "config.json").write_text("{")
    with pytest.raises(RunError, match=r"config\.json is damaged: Expecting"):
        train(resume=tmp_path)
    (tmp_path / "config.json").write_text('{"colour": 3}')
    with pytest.raises(RunError, match=r"config\.json cannot be used: settings hold 'colour'"):
        train(resume=tmp_path)


@pytest.mark.parametrize(
    ("other", "sentence"),
    [
        (preset("gcn", dataset="karate", epochs=2), "is of another run: its .* is .*, here it is"),
        (replace(SHORT, epochs=2, hidden=8), "is of another run: its hidden is 8, here it is 4"),
    ],
)
def test_the_checkpoint_of_another_model_is_refused(tmp_path: Path, other: Settings, sentence: str) -> None:
    train(SHORT, tmp_path / "ours", draw=False)
    train(other, tmp_path / "theirs", draw=False)
    (tmp_path / "theirs" / "last.pt").replace(tmp_path / "ours" / "last.pt")
    with pytest.raises(RunError, match=sentence):
        train(resume=tmp_path / "ours")
    (tmp_path / "theirs" / "best.pt").replace(tmp_path / "ours" / "best.pt")
    with pytest.raises(RunError, match=r"best\.pt is of another run: its"):
        load_model(tmp_path / "ours")


def test_parameters_that_do_not_fit_are_refused(tmp_path: Path) -> None:
    train(SHORT, tmp_path, draw=False)
    last = torch.load(tmp_path / "last.pt", weights_only=True)
    last["model"].popitem()
    torch.save(last, tmp_path / "last.pt")
    with pytest.raises(RunError, match=r"last\.pt is of another model: its parameters do not fit"):
        train(resume=tmp_path)


def test_a_run_is_not_resumed_on_data_that_has_changed(tmp_path: Path) -> None:
    table = tmp_path / "net.csv"
    table.write_text("a,b\n" + "".join(f"{k},{(k + way) % 30}\n" for k in range(30) for way in (1, 7)))
    settings = preset("gae", "edge", dataset=str(table), epochs=2)
    train(settings, tmp_path / "run", draw=False)
    table.write_text(table.read_text() + "0,15\n")
    with pytest.raises(RunError, match=r"last\.pt is of a run on other data, which has changed since"):
        train(replace(settings, epochs=3), resume=tmp_path / "run", draw=False)


def test_two_runs_do_not_write_into_one_folder(tmp_path: Path) -> None:
    settings = preset("gcn", dataset="karate", epochs=2)
    train(settings, tmp_path / "run", draw=False)
    with folder.held(tmp_path / "run"), pytest.raises(RunError, match="another run is writing into"):
        train(replace(settings, epochs=3), resume=tmp_path / "run", draw=False)
    train(replace(settings, epochs=3), resume=tmp_path / "run", draw=False)


@pytest.mark.parametrize("part", ["settings", "model", "optimizer", "stopper", "random", "history", "best"])
def test_a_checkpoint_with_a_part_of_another_kind_is_refused(tmp_path: Path, part: str) -> None:
    settings = preset("gcn", dataset="karate", epochs=2)
    train(settings, tmp_path / "run", draw=False)
    last = torch.load(tmp_path / "run" / "last.pt", weights_only=True)
    others: list[object] = [[1], {}]
    for wrong in others:
        torch.save({**last, part: wrong}, tmp_path / "run" / "last.pt")
        with pytest.raises(RunError, match=r"last\.pt is"):
            train(replace(settings, epochs=3), resume=tmp_path / "run", draw=False)
