"""Pictures that are remembered and recalled."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image

import mpnn
from mpnn.models import HopfieldNetwork
from mpnn.train import RunError, Settings, load_model, preset, train
from mpnn.train.command import cli
from mpnn.train.learners.memory import Memory, spins
from mpnn.train.pictures.recall import recall_by_load
from mpnn.train.tasks.memory_task import MemoryTask
from tests.compare import assert_close
from tests.train.conftest import Complaint


def settings(model: str = "hopfield", **more: Any) -> Settings:
    return preset(model, task="memory", dataset="digits", **more)


@pytest.mark.parametrize("rule", ["hebb", "pseudo-inverse"])
def test_a_run_remembers_as_the_network_does(rule: str, tmp_path: Path) -> None:
    train(settings(rule=rule, patterns=5), tmp_path, draw=False)
    model, task, _ = load_model(tmp_path)
    assert isinstance(model, Memory) and isinstance(task, MemoryTask)
    assert isinstance(model.network, HopfieldNetwork)
    patterns = spins(task.data.x[task.split.train])
    network = HopfieldNetwork(64).fit(patterns, "hebb" if rule == "hebb" else "pseudo-inverse")
    assert_close(model.network.weight, network.weight, atol=1e-5)  # of patterns in another order
    assert torch.equal(model.recalled(task.spoiled("test")), network.predict(task.spoiled("test").T).state.T)


@pytest.mark.parametrize(("model", "patterns"), [("hopfield", 8), ("modern-hopfield", 60)])
def test_spoiled_pictures_are_recalled(model: str, patterns: int, tmp_path: Path) -> None:
    report = train(settings(model, patterns=patterns, noise=0.05), tmp_path)
    assert report.results[0].best["train_overlap"] == 1 and report.test()[0] > 0.97
    _, task, _ = load_model(tmp_path)
    assert isinstance(task, MemoryTask)
    spoiled = (task.spoiled("val") != task.spoiled("train")).float().mean()
    assert spoiled == pytest.approx(0.05, abs=0.03)
    for name in ("recall", "load"):
        assert (tmp_path / f"{name}.png").stat().st_size > 1000


def test_more_are_remembered_by_attention_than_by_hebbs_rule() -> None:
    """Random patterns: Hebb's rule holds 0.138 of 64 pixels, about nine, and attention all that are tried."""
    states = torch.where(torch.rand(64, 64, generator=torch.Generator().manual_seed(1)) < 0.5, -1.0, 1.0)
    hebb = dict(recall_by_load(Memory((8, 8), "hebb", 1), states, 0.05, 0))
    attention = dict(recall_by_load(Memory((8, 8), "attention", 1), states, 0.05, 0))
    assert hebb.keys() == attention.keys() and max(hebb) == 64
    assert hebb[1] == attention[1] == 1 and hebb[64] < 0.5 and attention[64] > 0.99


def test_pictures_of_your_own_are_recalled_from_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    draw = np.random.default_rng(0)
    for name in ("a", "b"):
        (tmp_path / "own" / name).mkdir(parents=True)
        for k in range(3):
            pixels = draw.integers(0, 2, (9, 7), dtype=np.uint8) * 255
            Image.fromarray(pixels).save(tmp_path / "own" / name / f"{k}.png")
    words = ["train", "memory", "--dataset", "own", "--patterns", "6", "--out", "run", "--no-pictures"]
    assert cli.main(words) == 0
    assert cli.main(["predict", "run", "--images", "own/a", "--output", "said.csv"]) == 0
    said = pd.read_csv("said.csv")
    first = np.asarray(Image.open("own/a/0.png")).flatten()
    assert said.columns[-1] == "pixel 8,6" and np.array_equal(said.iloc[0, 1:] > 0, first > 0)
    assert mpnn.load("run").predict("own/b").shape == (3, 64)


@pytest.mark.parametrize(
    ("flags", "why"),
    [
        (["--patterns", "5000"], "patterns is 5000, but digits has 1797 images"),
        (["--noise", "1"], "noise is 1.0, but should be below 1"),
        (["--rule", "none"], "invalid choice: 'none'"),
        (["--lr", "0.1"], "lr is 0.1, but of hopfield it is always 0.01"),
        (
            ["--model", "modern-hopfield", "--rule", "hebb"],
            "rule is 'hebb', but of modern-hopfield it is always",
        ),
        (["--heads", "2"], "heads"),
    ],
)
def test_what_cannot_be_is_one_sentence(flags: list[str], why: str, complaint: Complaint) -> None:
    assert why in complaint("train", "memory", *flags)


def test_another_model_recalls_nothing(tmp_path: Path) -> None:
    train(settings(), tmp_path, draw=False)
    _, task, _ = load_model(tmp_path)
    with pytest.raises(RunError, match="Linear is no Memory"):
        task.evaluate(torch.nn.Linear(2, 2))
