"""Pictures show what they are given; how they look was judged by eye."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from matplotlib.colors import to_hex
from PIL import Image

from mpnn.train import Result, RunError, embedding_picture, pictures, save_picture, training_curves

ROW = {"train_loss": 1.0, "val_loss": 2.0, "train_accuracy": 0.5, "val_accuracy": 0.25, "test_accuracy": 0.1}


def result(epochs: int) -> Result:
    return Result([ROW | {"epoch": epoch} for epoch in range(1, epochs + 1)], best_epoch=2)


def test_curves_are_those_of_the_history() -> None:
    losses, accuracies = training_curves([result(5)], title="gcn").axes
    drawn = {line.get_label(): line.get_xydata().tolist() for line in losses.lines}
    assert drawn["training"] == [[epoch, 1.0] for epoch in range(1, 6)]
    assert drawn["validation"] == [[epoch, 2.0] for epoch in range(1, 6)]
    assert [line.get_ydata()[0] for line in accuracies.lines[:2]] == [50.0, 25.0]


def test_each_of_several_runs_has_its_curves_as_long_as_it_is() -> None:
    losses, _ = training_curves([result(5), result(3), result(9)]).axes
    lengths = sorted(len(line.get_xdata()) for line in losses.lines if len(line.get_xdata()) != 2)
    assert lengths == [3, 3, 5, 5, 9, 9]


@pytest.mark.parametrize("channels", [1, 2, 8])
@pytest.mark.parametrize("count", [3, 40])
def test_every_node_is_drawn_once_in_the_colour_of_its_class(count: int, channels: int) -> None:
    torch.manual_seed(0)
    nodes = torch.arange(count)
    classes, labelled = nodes % 3, nodes < 1
    predicted = classes.roll(1).where(nodes % 4 == 0, classes)
    figure = embedding_picture(
        torch.rand(count, channels), classes, ["a", "b", "c"], predicted=predicted, labelled=labelled
    )
    (axes,) = figure.axes
    right, wrong, known = axes.collections
    assert len(known.get_offsets()) == 1
    assert len(wrong.get_offsets()) == int(((predicted != classes) & ~labelled).sum())
    assert sum(len(group.get_offsets()) for group in axes.collections) == count
    assert np.isfinite(right.get_offsets()).all()
    assert {to_hex(colour).upper() for colour in right.get_facecolors()} <= set(pictures.COLOURS[:3])


def test_large_graphs_are_sampled(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pictures, "MOST_POINTS", 20)
    figure = embedding_picture(torch.rand(50, 4), torch.zeros(50, dtype=torch.int64), ["a"])
    assert sum(len(group.get_offsets()) for group in figure.axes[0].collections) == 20


def test_a_saved_picture_has_the_resolution_of_print(tmp_path: Path) -> None:
    save_picture(training_curves([result(5)]), tmp_path / "curves.png")
    with Image.open(tmp_path / "curves.png") as image:
        assert image.width == 2040
    with pytest.raises(RunError, match="cannot be written: No such file or directory"):
        save_picture(training_curves([result(5)]), tmp_path / "nowhere" / "curves.png")
