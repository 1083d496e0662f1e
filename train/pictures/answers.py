"""Pictures of right and wrong answers: confusion matrix, ROC curve, and the graph itself."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import networkx as nx
import numpy as np
from torch import Tensor

from mpnn import Graph
from mpnn.train.pictures.style import (
    COLOURS,
    class_keys,
    colour_of,
    figure_beside,
    new_figure,
    plain,
    point_key,
    scatter,
    set_title,
    styled,
)

if TYPE_CHECKING:
    from matplotlib.figure import Figure

MOST_WRITTEN = 12  # classes: more numbers than 12 x 12 cannot be read


def confusion_picture(
    truth: Tensor, predicted: Tensor, class_names: Sequence[str], *, title: str = ""
) -> Figure:
    """Draw how often each class (row) was taken for which (column).

    The counts of a row add up to the number beside its name; colours are shares of the row, and the diagonal
    has its share in percent too.

    Args:
        truth: `[count]` true classes.
        predicted: `[count]` predicted classes.
        class_names: the classes' names.
        title: text above the picture.
    """
    from sklearn.metrics import confusion_matrix  # slow to import: only where it is needed

    labels = range(len(class_names))
    counts = confusion_matrix(truth.cpu().numpy(), predicted.cpu().numpy(), labels=labels)
    share = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    written = len(class_names) <= MOST_WRITTEN
    size = 1.9 + (0.46 if written else 0.15) * len(class_names)
    letters, turned = (9, 45) if written else (6, 90)
    names = [plain(name) for name in class_names]
    with styled():
        figure = new_figure(size + 0.9, size)
        axes = figure.subplots()
        picture = axes.imshow(100 * share, cmap="Blues", vmin=0, vmax=100)
        axes.set_xticks(labels, names, fontsize=letters, rotation=turned, ha="right", rotation_mode="anchor")
        axes.set_yticks(
            labels,
            [f"{name} ({count})" for name, count in zip(names, counts.sum(1), strict=True)],
            fontsize=letters,
        )
        axes.set_xlabel("predicted")
        axes.set_ylabel("true (how many)")
        axes.spines[:].set_visible(False)
        axes.tick_params(length=0)
        if written:
            for row, column in np.argwhere(counts):
                colour = "white" if share[row, column] > 0.55 else "black"
                text = str(counts[row, column])
                text += f"\n{100 * share[row, column]:.0f} %" if row == column else ""
                axes.text(column, row, text, ha="center", va="center", color=colour, fontsize=8)
        bar = figure.colorbar(picture, ax=axes, shrink=0.8, label="% of the true class")
        bar.outline.set_visible(False)
        set_title(figure, title)
    return figure


def roc_picture(truth: Tensor, score: Tensor, *, title: str = "") -> Figure:
    """Draw the rate of true against that of false positives for every threshold, and the area below.

    Args:
        truth: `[count]`, what is positive.
        score: `[count]`, higher for what is more likely to be.
        title: text above the picture.
    """
    from sklearn.metrics import roc_auc_score, roc_curve  # slow to import: only where it is needed

    positive, value = truth.cpu().numpy().astype(bool), score.detach().cpu().numpy()
    false_rate, true_rate, _ = roc_curve(positive, value)
    with styled():
        figure = new_figure(3.3, 3.2)
        axes = figure.subplots()
        area = f"AUC {100 * roc_auc_score(positive, value):.1f} %"
        axes.fill_between(100 * false_rate, 100 * true_rate, color=COLOURS[0], alpha=0.12, linewidth=0)
        axes.plot(100 * false_rate, 100 * true_rate, color=COLOURS[0], label=area, clip_on=False)
        axes.plot([0, 100], [0, 100], color="0.6", linestyle=":", linewidth=1, label="by chance")
        axes.set(xlim=(0, 100), ylim=(0, 100), aspect="equal")
        axes.set_xlabel("false positives [%]")
        axes.set_ylabel("true positives [%]")
        axes.legend(loc="lower right")
        set_title(figure, title)
    return figure


def graph_picture(
    graph: Graph,
    classes: Tensor,
    class_names: Sequence[str],
    *,
    predicted: Tensor | None = None,
    labelled: Tensor | None = None,
    title: str = "",
    seed: int = 0,
) -> Figure:
    """Draw a small graph by springs (Fruchterman and Reingold, 1991).

    Args:
        graph: the edges.
        classes: `[num_nodes]` true classes, shown by the colour of a node.
        class_names: the classes' names.
        predicted: `[num_nodes]` predicted classes, shown by the ring around a node where they are wrong.
        labelled: bool `[num_nodes]`; those that were trained on become stars.
        title: text above the picture.
        seed: of the layout.
    """
    from matplotlib.collections import LineCollection  # slow to import: only where it is needed

    network = nx.Graph(graph.edge_index.t().tolist())
    network.add_nodes_from(range(graph.num_nodes))
    layout = nx.spring_layout(network, seed=seed, iterations=100, k=1.6 / max(1, graph.num_nodes) ** 0.5)
    place = np.array([layout[node] for node in range(graph.num_nodes)]).reshape(-1, 2)
    truth = classes.cpu().numpy()
    found = truth if predicted is None else predicted.cpu().numpy()
    known = np.zeros(len(truth), bool) if labelled is None else labelled.cpu().numpy()
    wrong = (found != truth) & ~known
    size = float(np.clip(6000 / max(1, len(truth)), 8, 110))
    ring = np.array([colour_of(label) for label in found])
    with styled():
        keys = class_keys(class_names)
        keys += [point_key("*", "0.6", "labelled in training")] if known.any() else []
        if wrong.any():
            rings = point_key("o", "white", "ring: predicted, wrongly")
            rings.set(markeredgecolor="0.3", markeredgewidth=1.6)
            keys.append(rings)
        figure, axes = figure_beside(3.7, 3.9, keys, title)
        lines = place[np.array(list(network.edges()), dtype=int).reshape(-1, 2)]
        axes.add_collection(LineCollection(list(lines), colors="0.75", linewidths=0.6, zorder=0))
        right = ~wrong & ~known
        for which, look in (
            (right, {"s": size, "edgecolors": "white", "linewidths": 0.4}),
            (wrong, {"s": 1.3 * size, "edgecolors": ring[wrong], "linewidths": 0.16 * size**0.5 + 0.8}),
            (known, {"s": 2.6 * size, "edgecolors": "black", "linewidths": 0.6, "marker": "*"}),
        ):
            scatter(axes, place[which], truth[which], **look)
        axes.margins(0.05)
    return figure


def images_picture(
    x: Tensor,
    truth: Tensor,
    predicted: Tensor,
    class_names: Sequence[str],
    *,
    most: int = 24,
    title: str = "",
) -> Figure:
    """Draw the first images that were taken for another class: the right one, an arrow, the one predicted.

    Args:
        x: `[count, channels, height, width]`; of other than three channels, which are red, green and blue,
            their mean is drawn in grey.
        truth, predicted: classes, `[count]`.
        class_names: the classes' names.
        most: how many at most.
        title: text above the picture.
    """
    wrong = (truth != predicted).nonzero().flatten()[:most].tolist()
    columns = min(8, max(1, len(wrong)))
    rows = max(1, -(-len(wrong) // columns))
    with styled():
        figure = new_figure(0.85 * max(columns, 4), 1.05 * rows + 0.35)
        grid = figure.subplots(rows, columns, squeeze=False).flatten()
        for axes in grid:
            axes.set_axis_off()
        for axes, which in zip(grid, wrong, strict=False):
            image = x[which].detach().cpu()
            image = image - image.min()
            image = image / image.max().clamp(min=1e-12)
            shown = image.permute(1, 2, 0) if len(image) == 3 else image.mean(dim=0)
            axes.imshow(shown.numpy(), cmap="gray_r")
            axes.set_title(
                f"{plain(class_names[int(truth[which])])} → {plain(class_names[int(predicted[which])])}",
                fontsize=8,
            )
        set_title(figure, title if wrong or not title else f"{title}: none")
    return figure
