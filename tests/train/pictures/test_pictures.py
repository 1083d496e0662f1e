"""Pictures show what they are given; how they look was judged by eye."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from matplotlib.collections import LineCollection
from matplotlib.lines import Line2D
from PIL import Image

from mpnn.datasets.karate import load_karate
from mpnn.train import (
    METRICS,
    Result,
    RunError,
    confusion_picture,
    embedding_picture,
    graph_picture,
    roc_picture,
    save_picture,
    squashing_picture,
    training_curves,
)
from mpnn.train.pictures import curves as pictures
from mpnn.train.pictures.style import COLOURS
from tests.present import present
from tests.train.drawn import count, edges, faces, heights, points

ROW = {"train_loss": 1.0, "val_loss": 2.0, "train_accuracy": 0.5, "val_accuracy": 0.25, "test_accuracy": 0.1}


def result(epochs: int) -> Result:
    return Result([ROW | {"epoch": epoch} for epoch in range(1, epochs + 1)], best_epoch=2)


def test_curves_are_those_of_the_history() -> None:
    losses, accuracies = training_curves([result(5)], title="gcn").axes
    drawn = {line.get_label(): points(line) for line in losses.lines}
    assert drawn["training"] == [[epoch, 1.0] for epoch in range(1, 6)]
    assert drawn["validation"] == [[epoch, 2.0] for epoch in range(1, 6)]
    assert [heights(line)[0] for line in accuracies.lines[:2]] == [50.0, 25.0]


def test_each_of_several_runs_has_its_curves_as_long_as_it_is() -> None:
    losses, _ = training_curves([result(5), result(3), result(9)]).axes
    lengths = sorted(len(points(line)) for line in losses.lines if len(points(line)) != 2)
    assert lengths == [3, 3, 5, 5, 9, 9]


@pytest.mark.parametrize("channels", [1, 2, 8])
@pytest.mark.parametrize("num_nodes", [3, 40])
def test_every_node_is_drawn_once_in_the_colour_of_its_class(num_nodes: int, channels: int) -> None:
    torch.manual_seed(0)
    nodes = torch.arange(num_nodes)
    classes, labelled = nodes % 3, nodes < 1
    predicted = classes.roll(1).where(nodes % 4 == 0, classes)
    figure = embedding_picture(
        torch.rand(num_nodes, channels), classes, ["a", "b", "c"], predicted=predicted, labelled=labelled
    )
    (axes,) = figure.axes
    right, wrong, known = axes.collections
    assert count(known) == 1
    assert count(wrong) == int(((predicted != classes) & ~labelled).sum())
    assert sum(map(count, axes.collections)) == num_nodes
    assert np.isfinite(right.get_offsets()).all()
    assert set(faces(right)) <= set(COLOURS[:3])


def test_large_graphs_are_sampled(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pictures, "MOST_POINTS", 20)
    figure = embedding_picture(torch.rand(50, 4), torch.zeros(50, dtype=torch.int64), ["a"])
    assert sum(map(count, figure.axes[0].collections)) == 20


def test_a_saved_picture_has_the_resolution_of_print(tmp_path: Path) -> None:
    save_picture(training_curves([result(5)]), tmp_path / "curves.png")
    with Image.open(tmp_path / "curves.png") as image:
        assert image.width == 2040
    with pytest.raises(RunError, match="cannot be written: No such file or directory"):
        save_picture(training_curves([result(5)]), tmp_path / "nowhere" / "curves.png")


def test_a_confusion_matrix_shows_the_share_of_each_true_class() -> None:
    truth, predicted = torch.tensor([0, 0, 0, 0, 1, 2]), torch.tensor([0, 0, 0, 1, 1, 0])
    axes, _ = confusion_picture(truth, predicted, ["a", "b", "c"]).axes
    (image,) = axes.images
    expected = [[75, 25, 0], [0, 100, 0], [100, 0, 0]]
    assert present(image.get_array()).tolist() == expected
    assert [text.get_text() for text in axes.texts] == ["3\n75 %", "1", "1\n100 %", "1"]
    assert [label.get_text() for label in axes.get_yticklabels()] == ["a (4)", "b (1)", "c (1)"]


def test_axes_begin_where_the_curves_do() -> None:
    rows = [ROW | {"epoch": k, "train_loss": 0.9, "val_loss": 0.8, "train_accuracy": 0.97} for k in (1, 2)]
    rows[0]["val_accuracy"] = rows[1]["val_accuracy"] = 0.9
    losses, accuracies = training_curves([Result(rows, 1)]).axes
    assert 0.7 < losses.get_ylim()[0] < 0.8 and 0.9 < losses.get_ylim()[1] < 1
    assert 89 < accuracies.get_ylim()[0] < 90 and 97 < accuracies.get_ylim()[1] < 98


def test_a_note_says_which_loss_is_with_dropout() -> None:
    losses, _ = training_curves([result(5)], dropout=0.5).axes
    assert losses.get_title() == "training: with dropout 0.5, validation: without"
    assert training_curves([result(5)]).axes[0].get_title() == ""


def test_a_roc_curve_ends_in_both_corners_and_names_its_area() -> None:
    truth, score = torch.tensor([0, 0, 1, 1]), torch.tensor([0.1, 0.4, 0.35, 0.8])
    (axes,) = roc_picture(truth, score).axes
    curve = points(axes.lines[0])
    assert curve[0] == [0, 0] and curve[-1] == [100, 100]
    assert axes.lines[0].get_label() == "AUC 75.0 %"


def test_every_node_and_edge_of_a_graph_is_drawn_once() -> None:
    data = load_karate()
    classes = present(data.y)
    predicted = classes.clone()
    predicted[5] = 1 - predicted[5]
    figure = graph_picture(
        data.graph, classes, data.class_names, predicted=predicted, labelled=data.train_mask, title="karate"
    )
    lines, right, wrong, known = figure.axes[0].collections
    assert isinstance(lines, LineCollection) and len(lines.get_segments()) == 78
    assert [count(group) for group in (right, wrong, known)] == [31, 1, 2]
    assert faces(wrong) == [COLOURS[classes[5]]]
    assert edges(wrong) == [COLOURS[predicted[5]]]


def test_curves_of_numbers_are_not_in_percent() -> None:
    rows: list[dict[str, float]] = [
        {"epoch": 1, "train_loss": 1, "val_loss": 2, "train_mae": 3, "val_mae": 4}
    ]
    _, scores = training_curves([Result(rows, 1)], metric=METRICS["mae"], loss_title="MSE").axes
    assert scores.get_ylabel() == "MAE" and heights(scores.lines[0]) == [3]


def test_forty_classes_are_told_apart_by_colour_and_shape() -> None:
    names = [f"a class with a rather long name, {k}" for k in range(40)]
    figure = embedding_picture(torch.rand(80, 4), torch.arange(80) % 40, names, title="forty")
    keys = [key for key in present(figure.axes[0].get_legend()).legend_handles if isinstance(key, Line2D)]
    assert len({(key.get_color(), key.get_marker()) for key in keys}) == 40
    assert [drawn for drawn in map(count, figure.axes[0].collections) if drawn] == [16] * 5


def test_names_are_no_formulas_and_none_is_left_out_of_the_legend(tmp_path: Path) -> None:
    names = ["$\\frac$", "_hidden", "two\nlines", "x" * 50]
    truth = torch.arange(12) % 4
    figure = graph_picture(
        load_karate().graph.subgraph(torch.arange(12))[0], truth, names, title="in $ and $"
    )
    assert len(present(figure.axes[0].get_legend()).get_texts()) == 4
    for kind in ("png", "pdf", "svg"):
        save_picture(figure, tmp_path / f"graph.{kind}")
        save_picture(confusion_picture(truth, truth, names), tmp_path / f"confusion.{kind}")
    assert (tmp_path / "graph.pdf").read_bytes().startswith(b"%PDF")
    assert b"<svg" in (tmp_path / "graph.svg").read_bytes()
    with pytest.raises(RunError, match=r"should end in \.png, \.pdf, \.svg"):
        save_picture(figure, tmp_path / "graph.bmp")


def test_nodes_without_influence_are_drawn_as_out_of_reach() -> None:
    unknown = torch.full((3,), float("nan"))
    figure = squashing_picture([(0, 0.0, 4), (1, 0.0, 3)], unknown)
    assert [text.get_text() for text in figure.axes[0].texts] == ["out of reach"]
    assert len(figure.axes) == 1
