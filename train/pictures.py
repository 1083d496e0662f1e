"""Pictures for the run folder and for papers; each function returns a matplotlib figure."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib import rc_context
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from sklearn.manifold import TSNE
from torch import Tensor

from mpnn.train import checkpoint
from mpnn.train.loop import Result
from mpnn.train.metrics import METRICS, Metric

# Okabe and Ito's colours, which colour-blind readers can tell apart, then darker ones for further classes.
COLOURS = ("#0072B2", "#E69F00", "#009E73", "#D55E00", "#56B4E9", "#CC79A7", "#8C8C00", "#000000")
STYLE: dict[str, Any] = {
    "font.size": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.linewidth": 0.8,
    "legend.frameon": False,
    "legend.fontsize": 8,
    "lines.linewidth": 1.4,
}
MOST_POINTS = 5000  # t-SNE of more takes minutes and prints as a blot


def save_picture(figure: Figure, path: Path) -> None:
    """Write a figure as PNG at the resolution of print."""
    content = io.BytesIO()
    figure.savefig(content, dpi=300, format="png")
    checkpoint.write(path, content.getvalue())


def training_curves(
    results: Sequence[Result],
    title: str = "",
    metric: Metric = METRICS["accuracy"],
    loss_title: str = "cross-entropy",
) -> Figure:
    """Loss and a metric by epoch; of several runs each is a thin line, and the first is drawn over them."""
    scale = 100 if metric.percent else 1
    with rc_context(STYLE):
        figure = Figure(figsize=(6.8, 2.7), layout="constrained")
        losses, scores = figure.subplots(1, 2)
        for number in reversed(range(len(results))):
            rows = results[number].history
            epochs = [row["epoch"] for row in rows]
            look: dict[str, Any] = {} if number == 0 else {"alpha": 0.15, "linewidth": 0.8}
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
        losses.set_ylabel(f"loss ({loss_title})")
        losses.set_ylim(bottom=0)
        scores.set_ylabel(f"{metric.title} [%]" if metric.percent else metric.title)
        if metric.percent:
            scores.set_ylim(0, 102)
        handles, names = losses.get_legend_handles_labels()
        figure.legend(handles, names, loc="outside lower center", ncols=len(names))
        if title:
            figure.suptitle(title, fontsize=9)
    return figure


def loss_curve(history: Sequence[dict[str, float]], title: str = "") -> Figure:
    """Loss by round of walks."""
    with rc_context(STYLE):
        figure = Figure(figsize=(4.2, 2.7), layout="constrained")
        axes = figure.subplots()
        axes.plot([row["round"] for row in history], [row["loss"] for row in history], color=COLOURS[0])
        axes.set_xlabel("round of walks")
        axes.set_ylabel("loss (skip-gram)")
        axes.margins(x=0.01)
        if title:
            figure.suptitle(title, fontsize=9)
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
    looks: tuple[tuple[Any, dict[str, Any]], ...] = (
        (~wrong & ~known, {"marker": "o", "s": size, "linewidths": 0, "alpha": 0.8}),
        (wrong, {"marker": "x", "s": 1.4 * size, "linewidths": 0.9}),
        (known, {"marker": "*", "s": 3 * size + 10, "linewidths": 0.6, "edgecolors": "black"}),
    )
    with rc_context(STYLE):
        figure = Figure(figsize=(5.2, 3.6), layout="constrained")
        axes = figure.subplots()
        colours = np.array([COLOURS[label % len(COLOURS)] for label in truth])
        for which, look in looks:
            axes.scatter(place[which, 0], place[which, 1], c=colours[which], **look)
        axes.set_axis_off()
        handles = [point_key("o", COLOURS[k % len(COLOURS)], name) for k, name in enumerate(class_names)]
        handles += [point_key("*", "0.6", "labelled in training")] if known.any() else []
        handles += [point_key("x", "0.3", "predicted wrongly")] if wrong.any() else []
        axes.legend(handles=handles, loc="center left", bbox_to_anchor=(1, 0.5), handletextpad=0.2)
        if title:
            axes.set_title(title, fontsize=9)
    return figure


def point_key(marker: str, colour: str, label: str) -> Line2D:
    """An entry of a legend: a point of that shape and colour."""
    key = Line2D([], [], linestyle="", marker=marker, color=colour, label=label, markersize=6)
    if marker == "*":
        key.set(markersize=9, markeredgecolor="black", markeredgewidth=0.6)
    return key
