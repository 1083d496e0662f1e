"""Runs whose networks answer together."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

import mpnn
from mpnn.datasets import Entry, load
from mpnn.datasets.registry import DATASETS
from mpnn.models import Ensemble
from mpnn.train import RunError, Settings, load_model, preset, train
from tests.compare import assert_close
from tests.train.breaks import assert_goes_on
from tests.train.toys import rings_and_stars

KARATE: dict[str, Any] = {"dataset": "karate", "epochs": 8, "dropout": 0.0, "monitor": "last"}


@pytest.mark.parametrize("decayed", ["all", "first"])
def test_each_network_learns_as_it_would_alone(decayed: str, tmp_path: Path) -> None:
    """Without dropout the whole graph is learned from without a random number."""
    settings = Settings(**KARATE, seed=3, weight_decay=0.1, decayed=decayed)
    train(settings, tmp_path / "one", draw=False)
    train(replace(settings, ensemble=3), tmp_path / "three", draw=False)
    one, _, _ = load_model(tmp_path / "one")
    three, task, _ = load_model(tmp_path / "three")
    assert isinstance(three, Ensemble) and len(three.members) == 3
    for ours, theirs in zip(three.members[0].parameters(), one.parameters(), strict=True):
        assert torch.equal(ours, theirs)
    others = [next(iter(member.parameters())) for member in three.members]
    assert not torch.equal(others[0], others[1])
    said = torch.stack([task.outputs(member).softmax(1) for member in three.members])
    assert_close(task.outputs(three).exp(), said.mean(0), atol=1e-6)


def test_a_run_goes_on_where_it_was_and_predicts_with_all(tmp_path: Path) -> None:
    assert_goes_on(Settings(**KARATE, ensemble=2), tmp_path, 4)
    said = [mpnn.load(tmp_path / name).predict(load("karate")) for name in ("whole", "broken")]
    assert said[0].equals(said[1])
    model, task, _ = load_model(tmp_path / "whole")
    column = said[0].filter(like="p(").iloc[:, 0]
    assert_close(torch.tensor(column.to_numpy()), task.outputs(model).exp()[:, 0].double(), atol=1e-4)


def test_images_have_ensembles_and_are_changed_as_they_are_learned_from(tmp_path: Path) -> None:
    asked = preset("lenet", task="image", dataset="digits", epochs=1, augment="shift,rotate", ensemble=2)
    report = train(asked, tmp_path / "run", draw=False)
    model, _, _ = load_model(tmp_path / "run")
    assert isinstance(model, Ensemble)
    plain = train(replace(asked, augment=None), tmp_path / "plain", draw=False)
    assert plain.results[0].history != report.results[0].history


def test_a_published_model_has_an_ensemble(tmp_path: Path) -> None:
    report = train(preset("gcn", dataset="karate", epochs=30, ensemble=2), tmp_path, draw=False)
    assert report.settings.decayed == "first" and report.test()[0] > 0.5


def test_graphs_have_ensembles(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data = rings_and_stars()
    monkeypatch.setitem(DATASETS, "toy", Entry(lambda: data, "rings and stars", False, ("graph",)))
    asked = preset("gin", task="graph", dataset="toy", epochs=3, hidden=8, layers=2, ensemble=3)
    train(asked, tmp_path / "run", draw=False)
    model, task, _ = load_model(tmp_path / "run")
    assert isinstance(model, Ensemble)
    each = torch.stack([task.outputs(member) for member in model.members])
    assert_close(task.outputs(model).exp(), each.softmax(-1).mean(0), atol=1e-6)


def test_numbers_are_averaged_in_their_own_unit(tmp_path: Path) -> None:
    asked = preset("graph", dataset="grid", epochs=2, ensemble=2)
    train(asked, tmp_path / "run", draw=False)
    model, task, _ = load_model(tmp_path / "run")
    assert isinstance(model, Ensemble) and task.shape.scale
    each = torch.stack([task.outputs(member) for member in model.members])
    assert_close(task.outputs(model), each.mean(0), atol=1e-5)
    assert not torch.equal(each[0], each[1])


@pytest.mark.parametrize(
    ("more", "why"),
    [
        ({"ensemble": 1}, "ensemble is 1, but should be at least 2"),
        ({"ensemble": 2, "batch_size": 8}, "with batch_size each network would draw other"),
        ({"ensemble": 2, "task": "edge", "model": "gae"}, "ensemble is 2, but edge tasks have none"),
        ({"augment": "flip"}, "augment is 'flip', but node tasks have none: image tasks have"),
    ],
)
def test_what_cannot_be_done_is_refused(more: dict[str, object], why: str, tmp_path: Path) -> None:
    with pytest.raises(RunError, match=why):
        train(Settings(**{**KARATE, **more}), tmp_path / "run")
