"""A run folder is a transaction: what is refused changes nothing, and what is joined stays joined."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import warnings
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from mpnn import Graph
from mpnn.datasets import NodeDataset
from mpnn.datasets.karate import load_karate
from mpnn.train import RunError, embed, embed_preset, load, load_model, preset, train
from mpnn.train.command import cli
from mpnn.train.fitting.identity import changed_parts
from mpnn.train.runs import folder
from mpnn.train.runs.fingerprint import fingerprint
from tests.train.breaks import assert_same_content

SHORT = preset("gcn", dataset="karate", epochs=4, hidden=4)


def contents(home: Path) -> dict[str, bytes]:
    return {str(path.relative_to(home)): path.read_bytes() for path in home.rglob("*") if path.is_file()}


def edit(home: Path, **changes: Any) -> None:
    config = json.loads((home / "config.json").read_text())
    (home / "config.json").write_text(json.dumps(config | changes))


# Refusals -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("runs", [1, 2])
def test_a_resume_that_is_refused_has_changed_nothing(tmp_path: Path, runs: int) -> None:
    home, settings = tmp_path / "run", replace(SHORT, runs=runs)
    train(settings, home, draw=False)
    before = contents(home)
    with pytest.raises(RunError, match=r"epochs is 2, but the run in .* has done 4 already"):
        train(replace(settings, epochs=2), resume=home, draw=False)
    assert contents(home) == before
    train(replace(settings, epochs=6), resume=home, draw=False)
    assert json.loads((home / "config.json").read_text())["epochs"] == 6


def test_a_resume_on_other_data_is_refused_changes_nothing_and_goes_on_anyway(tmp_path: Path) -> None:
    table, home = tmp_path / "net.csv", tmp_path / "run"
    table.write_text("a,b\n" + "".join(f"{k},{(k + way) % 30}\n" for k in range(30) for way in (1, 7)))
    settings = preset("gae", "edge", dataset=str(table), epochs=2)
    train(settings, home, draw=False)
    before = contents(home)
    table.write_text(table.read_text() + "0,15\n")
    with pytest.raises(RunError, match=r"on other data, which has changed since in its .*edges"):
        train(replace(settings, epochs=3), resume=home, draw=False)
    assert contents(home) == before
    with pytest.warns(UserWarning, match="on other data, .*: it is used anyway"):
        train(replace(settings, epochs=3), resume=home, draw=False, anyway=True)


def test_a_folder_in_which_the_first_file_was_not_finished_can_be_used(tmp_path: Path) -> None:
    home = tmp_path / "run"
    home.mkdir()
    (home / ".config.json.999999999.draft").write_text("{")
    train(SHORT, home, draw=False)
    assert not list(home.glob(".*"))


def test_what_a_killed_run_left_is_removed_when_it_goes_on(tmp_path: Path) -> None:
    home = tmp_path / "run"
    train(replace(SHORT, runs=2), home, draw=False)
    for place in (home, home / "seed-1"):
        (place / ".last.pt.999999999.draft").write_text("")
    train(None, resume=home, draw=False)
    assert not list(home.rglob(".*"))


def test_a_folder_that_another_process_holds_is_not_touched(tmp_path: Path) -> None:
    home = tmp_path / "run"
    home.mkdir()
    with folder.held(home), pytest.raises(RunError, match="another run is writing into"):
        train(SHORT, home, draw=False)
    assert not list(home.iterdir())


def test_no_link_in_a_run_folder_is_followed(tmp_path: Path) -> None:
    home, other = tmp_path / "run", tmp_path / "other"
    train(replace(SHORT, runs=2), home, draw=False)
    other.mkdir()
    (other / "config.json").write_text("mine")
    for path in (home / "seed-1").iterdir():
        path.unlink()
    (home / "seed-1").rmdir()
    (home / "seed-1").symlink_to(other)
    with pytest.raises(RunError, match=r"seed-1 is a link to .*other, but should be a folder"):
        train(None, resume=home, draw=False)
    assert contents(other) == {"config.json": b"mine"}


# What is joined -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("command", ["evaluate", "predict", "explain", "why"])
def test_edited_settings_are_named_and_used_anyway(
    tmp_path: Path, command: str, capsys: pytest.CaptureFixture[str]
) -> None:
    home = tmp_path / "run"
    train(SHORT, home, draw=False)
    edit(home, act="elu")
    words = [command, str(home)]
    words += ["--output", str(tmp_path / "out.csv")] if command in ("predict", "why") else []
    words += ["--node", "3", "--epochs", "2"] if command == "why" else []
    assert cli.main(words) == 2
    assert (
        "best.pt is of another run: its act is 'relu', in config.json it is 'elu'" in capsys.readouterr().err
    )
    with warnings.catch_warnings():
        warnings.simplefilter("default")
        assert cli.main([*words, "--anyway"]) == 0
    assert "it is used anyway" in capsys.readouterr().err


def test_a_renamed_class_is_named(tmp_path: Path) -> None:
    home = tmp_path / "run"
    train(SHORT, home, draw=False)
    memory = json.loads((home / "model.json").read_text())
    memory["class_names"] = memory["class_names"][::-1]
    (home / "model.json").write_text(json.dumps(memory))
    for use in (load, load_model):
        with pytest.raises(RunError, match=r"its classes\[0\] is 'Mr. Hi', in model.json it is 'Officer'"):
            use(home)


def test_weights_that_are_nan_are_refused(tmp_path: Path) -> None:
    home = tmp_path / "run"
    train(SHORT, home, draw=False)
    for name in ("best.pt", "last.pt"):
        state = torch.load(home / name, weights_only=True)
        next(iter(state["model"].values())).fill_(float("nan"))
        torch.save(state, home / name)
    uses: list[Callable[[], Any]] = [
        lambda: load(home),
        lambda: load_model(home),
        lambda: train(replace(SHORT, epochs=5), resume=home, draw=False),
    ]
    for use in uses:
        with pytest.raises(RunError, match=r"holds NaN in its weight \S+: the training that wrote it had"):
            use()


def test_a_state_of_the_optimiser_of_another_shape_is_refused(tmp_path: Path) -> None:
    home = tmp_path / "run"
    train(SHORT, home, draw=False)
    last = torch.load(home / "last.pt", weights_only=True)
    last["optimizer"]["state"][0]["exp_avg"] = torch.zeros(1, 1)
    torch.save(last, home / "last.pt")
    with pytest.raises(RunError, match="its parameters do not fit this one"):
        train(replace(SHORT, epochs=5), resume=home, draw=False)


CHANGES: dict[str, tuple[Callable[[NodeDataset], NodeDataset], str]] = {
    "two columns swapped": (lambda data: replace(data, x=data.x[:, [1, 0, *range(2, 34)]]), "features"),
    "a column negated": (
        lambda data: replace(data, x=data.x * (1 - 2 * (torch.arange(34) == 5))),
        "features",
    ),
    "two rows swapped": (lambda data: replace(data, x=data.x[[1, 0, *range(2, 34)]]), "features"),
    "a class renamed": (lambda data: replace(data, class_names=("Mr. Hi", "z")), "names of classes"),
    "an answer": (lambda data: replace(data, y=data.y ^ (torch.arange(34) == 3)), "answers"),  # type: ignore[operator]
    "an edge turned": (lambda data: replace(data, graph=_turned(data.graph)), "edges"),
}


def _turned(graph: Graph) -> Graph:
    ends = graph.edge_index.clone()
    ends[:, 0] = ends[:, 0].flip(0)
    return Graph(ends, graph.num_nodes)


@pytest.mark.parametrize("change", CHANGES)
def test_the_summary_of_data_sees(change: str) -> None:
    act, words = CHANGES[change]
    data = replace(load_karate(), x=torch.rand(34, 34, generator=torch.Generator().manual_seed(0)))
    assert changed_parts(fingerprint(data), fingerprint(act(data))) == words


def test_the_summary_of_data_does_not_see_last_digits() -> None:
    data = replace(load_karate(), x=torch.rand(34, 34, generator=torch.Generator().manual_seed(0)))
    other = replace(data, x=data.x * (1 + 1e-7))
    assert fingerprint(data) != fingerprint(other)
    assert changed_parts(fingerprint(data), fingerprint(other)) == ""


# Vectors --------------------------------------------------------------------------------------------------


def test_vectors_that_diverge_end_with_a_sentence_and_keep_the_curve(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    home = tmp_path / "run"
    words = ["train", "embed", "--dataset", "karate", "--walks", "9", "--lr", "1e30", "--out", str(home)]
    assert cli.main(words) == 1
    assert "the vectors diverged in round 1" in capsys.readouterr().err
    assert (home / "metrics.csv").read_text().startswith("round,loss\n1,")
    assert not (home / "embedding.npz").exists()


def test_vectors_are_not_resumed_on_other_edges(tmp_path: Path) -> None:
    table, home = tmp_path / "net.csv", tmp_path / "run"
    table.write_text("a,b\n" + "".join(f"{k},{(k + 1) % 20}\n" for k in range(20)))
    settings = embed_preset(dataset=str(table), walks=2, dimensions=4)
    embed(settings, home, draw=False)
    table.write_text(table.read_text().replace("3,4", "3,9"))
    before = contents(home)
    with pytest.raises(RunError, match=r"last\.pt is of a run on other data, .* in its edges"):
        embed(None, resume=home, draw=False)
    assert contents(home) == before


def test_vectors_are_saved_while_they_are_made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mpnn.train.fitting.loop.SAVE_EVERY", 0.0)

    def dies(number: int, loss: float) -> None:
        if number == 3:
            raise MemoryError

    settings = embed_preset(walks=5, dimensions=4)
    with pytest.raises(MemoryError):
        embed(settings, tmp_path / "broken", draw=False, on_round=dies)
    assert len(torch.load(tmp_path / "broken" / "last.pt", weights_only=True)["history"]) == 2
    embed(settings, tmp_path / "whole", draw=False)
    embed(None, resume=tmp_path / "broken", draw=False)
    ours, theirs = contents(tmp_path / "broken"), contents(tmp_path / "whole")
    for made in (ours, theirs):  # equal content may be packed in another order
        del made["last.pt"]
    assert ours == theirs
    states = [torch.load(tmp_path / name / "last.pt", weights_only=True) for name in ("broken", "whole")]
    assert_same_content(states[0], states[1], "last.pt")


# Pictures -------------------------------------------------------------------------------------------------


def test_a_picture_that_fails_is_a_warning(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(*_: object, **__: object) -> None:
        raise ValueError("no font")

    monkeypatch.setattr("mpnn.train.pictures.of_a_run.training_curves", fails)
    with pytest.warns(UserWarning, match="curves.png cannot be drawn: no font"):
        train(SHORT, tmp_path / "run")
    assert (tmp_path / "run" / "confusion.png").exists()
    assert (tmp_path / "run" / "results.json").exists()


def test_the_windows_of_a_notebook_do_not_matter(tmp_path: Path) -> None:
    """In a process of its own, since matplotlib reads the variable when it is imported."""
    words = [*("train", "node", "--dataset", "karate", "--epochs", "2"), "--out", str(tmp_path / "run")]
    done = subprocess.run(
        [
            sys.executable,
            "-c",
            "import sys; from mpnn.train.command.cli import main; sys.exit(main())",
            *words,
        ],
        env={**os.environ, "MPLBACKEND": "module://no.such_backend"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0 and "mpnn: " not in done.stderr and "Traceback" not in done.stderr
    assert (tmp_path / "run" / "curves.png").exists()
