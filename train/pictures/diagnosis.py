"""Pictures of over-smoothing and over-squashing."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from torch import Tensor

from mpnn.train.analysis.smoothing import Smoothness
from mpnn.train.pictures.style import COLOURS, count_along, new_figure, set_title, styled

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

LOWEST = 1e-16  # what is 0 is drawn here on a logarithmic axis


def smoothing_picture(rows: Sequence[Smoothness], *, title: str = "") -> Figure:
    """Draw how much nodes differ by depth: Dirichlet energy for each unit of ‖X‖², and MAD.

    Args:
        rows: of `over_smoothing`; the first is the input.
        title: text above the picture.
    """
    depth = range(len(rows))
    with styled():
        figure = new_figure(6.8, 2.6)
        energy, distance = figure.subplots(1, 2)
        look = {"marker": "o", "markersize": 3.5, "clip_on": False}
        energy.semilogy(depth, [max(row.energy, LOWEST) for row in rows], color=COLOURS[0], **look)
        energy.set_ylabel("Dirichlet energy / ‖h‖²")
        for name, colour, mark in (
            ("everywhere", COLOURS[0], "all pairs"),
            ("near", COLOURS[3], "linked pairs"),
        ):
            distance.plot(depth, [getattr(row, name) for row in rows], color=colour, label=mark, **look)
        distance.set_ylabel("mean average distance")
        distance.set_ylim(bottom=0)
        distance.legend(loc="best")
        for axes in (energy, distance):
            axes.set_xlabel("layer (0: input)")
            count_along(axes)
        set_title(figure, title)
    return figure


def squashing_picture(
    influence: Sequence[tuple[int, float, int]], curvature: Tensor | None = None, *, title: str = ""
) -> Figure:
    """Draw how the Jacobian between two nodes falls with their distance, and the curvature of edges.

    Args:
        influence: of `influence_by_distance`.
        curvature: of `balanced_forman_curvature`; without it there is one panel.
        title: text above the picture.
    """
    finite = None if curvature is None else curvature[curvature.isfinite()].cpu().numpy()
    if finite is not None and not len(finite):
        finite = None
    reached = [(distance, norm) for distance, norm, _ in influence if norm > 0]
    silent = [distance for distance, norm, _ in influence if norm == 0]
    with styled():
        figure = new_figure(6.8 if finite is not None else 3.4, 2.6)
        axes, *others = figure.subplots(1, 1 if finite is None else 2, squeeze=False)[0]
        distances, norms = [distance for distance, _ in reached], [norm for _, norm in reached]
        axes.semilogy(distances, norms, color=COLOURS[0], marker="o", markersize=3.5, clip_on=False)
        if silent:
            axes.axvspan(min(silent) - 0.5, max(silent) + 0.5, color="0.93", linewidth=0)
            middle = (min(silent) + max(silent)) / 2
            axes.text(middle, 0.5, "out of reach", rotation=90, ha="center", va="center", color="0.45",
                      transform=axes.get_xaxis_transform(), fontsize=8)  # fmt: skip
        axes.set_xlabel("distance between the nodes")
        axes.set_ylabel("mean Jacobian norm ‖∂h$_i$/∂x$_j$‖")
        count_along(axes)
        if finite is not None:
            _draw_curvature(others[0], finite)
        set_title(figure, title)
    return figure


def _draw_curvature(axes: Axes, values: np.ndarray) -> None:
    width = float(np.ptp(values)) / 40 or 0.1
    # 0 is the border of two bins.
    edges = width * np.arange(np.floor(values.min() / width), np.ceil(values.max() / width) + 2)
    for part, colour, name in (
        (values[values < 0], COLOURS[3], "negative: bottlenecks"),
        (values[values >= 0], COLOURS[0], "others"),
    ):
        if len(part):
            share = f"{name} ({100 * len(part) / len(values):.0f} %)"
            axes.hist(part, bins=edges.tolist(), color=colour, label=share, linewidth=0)
    axes.set_xlabel("balanced Forman curvature")
    axes.set_ylabel("edges")
    axes.set_ylim(top=1.3 * axes.get_ylim()[1])
    axes.legend(loc="upper left")
