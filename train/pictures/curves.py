"""Pictures for the run folder and for papers; each function returns a matplotlib figure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from torch import Tensor

from mpnn.train.fitting.loop import Result
from mpnn.train.pictures.style import (
    COLOURS,
    class_keys,
    count_along,
    figure_beside,
    new_figure,
    point_key,
    scatter,
    set_title,
    styled,
)
from mpnn.train.tasks.metrics import METRICS, Metric

if TYPE_CHECKING:
    from matplotlib.figure import Figure

MOST_POINTS = 5000  # t-SNE of more takes minutes and prints as a blot


def training_curves(
    results: Sequence[Result],
    title: str = "",
    metric: Metric = METRICS["accuracy"],
    loss_title: str = "cross-entropy",
    dropout: float = 0.0,
) -> Figure:
    """Loss and a metric by epoch; of several runs each is a thin line, and the first is drawn over them.

    Args:
        results: of every run.
        title: text above the picture.
        metric: the one that is drawn.
        loss_title: what the loss is.
        dropout: of the training; then the picture says that only one of the losses is with it.
    """
    scale = 100 if metric.percent else 1
    with styled():
        figure = new_figure(6.8, 2.7)
        losses, scores = figure.subplots(1, 2)
        for number in reversed(range(len(results))):
            rows = results[number].history
            epochs = [row["epoch"] for row in rows]
            look: dict[str, Any] = {} if number == 0 else {"alpha": 0.15, "linewidth": 0.8}
            look |= (
                {"marker": "o", "markersize": 3} if len(rows) == 1 else {}
            )  # a line of one point is not seen
            for part, colour in (("train", COLOURS[0]), ("val", COLOURS[3])):
                name = {"train": "training", "val": "validation"}[part] if number == 0 else None
                losses.plot(epochs, [row[f"{part}_loss"] for row in rows], color=colour, label=name, **look)
                values = [scale * row[f"{part}_{metric.name}"] for row in rows]
                scores.plot(epochs, values, color=colour, label=name, **look)
        marked = "best epoch" if len(results) == 1 else "best epoch of the first run (bold)"
        for axes in (losses, scores):
            axes.axvline(results[0].best_epoch, color="0.5", linestyle=":", linewidth=1, label=marked)
            axes.set_xlabel("epoch")
            axes.margins(x=0.01)
            count_along(axes)
        losses.set_ylabel(f"loss ({loss_title})")
        if dropout:
            note = f"training: with dropout {dropout:g}, validation: without"
            losses.set_title(note, fontsize=7, color="0.35")
        scores.set_ylabel(f"{metric.title} [%]" if metric.percent else metric.title)
        handles, names = losses.get_legend_handles_labels()
        figure.legend(handles, names, loc="outside lower center", ncols=len(names))
        set_title(figure, title)
    return figure


def loss_curve(history: Sequence[dict[str, float]], title: str = "") -> Figure:
    """Loss by round of walks."""
    with styled():
        figure = new_figure(4.2, 2.7)
        axes = figure.subplots()
        axes.plot([row["round"] for row in history], [row["loss"] for row in history], color=COLOURS[0])
        axes.set_xlabel("round of walks")
        axes.set_ylabel("loss (skip-gram)")
        axes.margins(x=0.01)
        count_along(axes)
        set_title(figure, title)
    return figure


def embedding_picture(
    embedding: Tensor,
    classes: Tensor,
    class_names: Sequence[str],
    *,
    predicted: Tensor | None = None,
    labelled: Tensor | None = None,
    title: str = "",
    seed: int = 0,
) -> Figure:
    """Draw embeddings of nodes or graphs in the plane by t-SNE (van der Maaten & Hinton, 2008).

    Args:
        embedding: `[count, channels]`; of more than 5000 a random sample is drawn.
        classes: `[count]` true classes, shown by colour.
        class_names: the classes' names.
        predicted: `[count]` predicted classes; those that are wrong become crosses.
        labelled: bool `[count]`; those that were trained on become stars.
        title: text above the picture.
        seed: of t-SNE and of the sample.
    """
    from sklearn.manifold import TSNE  # slow to import: only where it is needed

    count = embedding.size(0)
    chosen = np.random.default_rng(seed).permutation(count)[:MOST_POINTS]
    points = embedding.detach().cpu().numpy()[chosen]
    truth = classes.cpu().numpy()[chosen]
    known = np.zeros(len(chosen), bool) if labelled is None else labelled.cpu().numpy()[chosen]
    wrong = np.zeros(len(chosen), bool) if predicted is None else predicted.cpu().numpy()[chosen] != truth
    wrong &= ~known

    place = TSNE(
        init="random" if points.shape[1] < 2 else "pca",
        perplexity=min(30.0, max(1.0, (len(chosen) - 1) / 3)),
        random_state=seed,
    ).fit_transform(points)
    size = float(np.clip(4000 / len(chosen), 6, 45))
    looks: tuple[tuple[np.ndarray, dict[str, Any]], ...] = (
        (~wrong & ~known, {"s": size, "linewidths": 0, "alpha": 0.8}),
        (wrong, {"marker": "x", "s": 1.4 * size, "linewidths": 0.9}),
        (known, {"marker": "*", "s": 3 * size + 10, "linewidths": 0.6, "edgecolors": "black"}),
    )
    with styled():
        keys = class_keys(class_names)
        keys += [point_key("*", "0.6", "labelled in training")] if known.any() else []
        keys += [point_key("x", "0.3", "predicted wrongly")] if wrong.any() else []
        figure, axes = figure_beside(3.7, 3.6, keys, title)
        for which, look in looks:
            scatter(axes, place[which], truth[which], **look)
    return figure
