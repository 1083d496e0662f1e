"""Image classification, end to end."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from mpnn.datasets import Entry, ImageDataset
from mpnn.datasets.registry import DATASETS
from mpnn.train import RunError, load_model, preset, train
from mpnn.train.command import cli
from mpnn.train.tasks.split import validation_split
from tests.train.breaks import assert_goes_on
from tests.train.conftest import Complaint

SHORT = preset("lenet", task="image", dataset="bars", epochs=3, batch_size=16)


def bars(published: bool = True) -> ImageDataset:
    """Images of 6 × 6 pixels: a bar that lies, or one that stands."""
    generator = torch.Generator().manual_seed(2)
    y = torch.arange(90) % 2
    x = 0.3 * torch.randn(90, 1, 6, 6, generator=generator)
    for k, label in enumerate(y.tolist()):
        (x[k, 0, k % 6] if label == 0 else x[k, 0, :, k % 6]).add_(1.0)
    return ImageDataset("bars", x, y, ("lies", "stands"), torch.arange(90) >= 70 if published else None)


@pytest.fixture(autouse=True)
def toy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(DATASETS, "bars", Entry(bars, "bars", False, ("image",)))


def test_bars_are_told_apart_and_everything_is_written(tmp_path: Path) -> None:
    report = train(replace(SHORT, epochs=40, lr=0.01, optimizer="adam", momentum=0.0), tmp_path / "run")
    assert report.test()[0] >= 0.8
    names = {path.name for path in report.folder.iterdir()}
    assert {"config.json", "best.pt", "curves.png", "confusion.png", "embedding.png", "mistakes.png"} <= names


def test_the_published_test_images_stay_unseen(tmp_path: Path) -> None:
    train(SHORT, tmp_path / "run", draw=False)
    _, task, _ = load_model(tmp_path / "run")
    assert task.split.test.tolist() == list(range(70, 90))
    seen = torch.cat([task.split.train, task.split.val])
    assert sorted(seen.tolist()) == list(range(70)) and len(task.split.val) == 7


def test_validation_images_have_all_classes_and_depend_on_the_seed() -> None:
    data = bars()
    assert data.test_mask is not None
    first, second = (validation_split(data.test_mask, data.y, seed=s, val_share=0.2) for s in (0, 1))
    assert data.y[first.val].bincount().tolist() == [7, 7]
    assert not torch.equal(first.val, second.val)


def test_an_interrupted_run_goes_on_as_if_nothing_had_happened(tmp_path: Path) -> None:
    assert_goes_on(SHORT, tmp_path, 2)


def test_predictions_are_written(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    train(SHORT, tmp_path / "run", draw=False)
    assert cli.main(["evaluate", str(tmp_path / "run")]) == 0
    assert "images" in capsys.readouterr().out
    assert cli.main(["predict", str(tmp_path / "run"), "--output", str(tmp_path / "out.csv")]) == 0
    lines = (tmp_path / "out.csv").read_text().splitlines()
    assert lines[0] == "image,part,true,predicted,p(lies),p(stands)" and len(lines) == 91


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--layers", "3"], "layers is 3, but of lenet it is always 5"),
        (["--dropout", "0.5"], "dropout is 0.5, but of lenet it is always 0.0"),
        (["--heads", "2"], "heads is 2, but image tasks have none: node, edge, graph, text tasks have"),
        (["--features", "rows"], "features is 'rows', but image tasks have none"),
        (["--residual"], "residual is True, but image tasks have none"),
        (["--test-share", "0.3"], "test_share is 0.3, but bars has published what to test on"),
        (["--split", "per-class"], "split is 'per-class', but that is for nodes"),
        (["--model", "gcn"], "model is 'gcn', but should be one of lenet"),
        (["--dataset", "karate"], "task is 'image', but karate is one graph: train node or edge on it"),
        (["--dataset", "mnist", "--data", "nowhere"], "nowhere', but should be a folder"),
    ],
)
def test_what_does_not_fit_is_a_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, complaint: Complaint, flags: list[str], message: str
) -> None:
    monkeypatch.chdir(tmp_path)
    flags = flags if "--dataset" in flags else ["--dataset", "bars", *flags]
    assert message in complaint("train", "image", *flags)


def test_images_are_of_no_use_to_a_graph_task() -> None:
    with pytest.raises(RunError, match="task is 'node', but bars is images: train image or memory on it"):
        train(preset("gcn", dataset="bars"))
