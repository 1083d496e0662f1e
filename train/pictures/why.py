"""A picture of what carried a prediction: the neighbourhood by importance, and the features by effect."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import networkx as nx
import numpy as np
import pandas as pd

from mpnn.train.pictures.style import COLOURS, new_figure, plain, set_title, styled

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

MOST_EDGES, MOST_NAMES, MOST_FEATURES = 60, 24, 14  # more cannot be told apart
LONGEST_NODE, LONGEST_FEATURE = 12, 22  # characters of a name


class Drawn(NamedTuple):
    """Tables of `Why`: edges (source, target, importance), neighbours (node, hops), features (effect)."""

    edges: pd.DataFrame
    neighbours: pd.DataFrame
    features: pd.DataFrame


def why_picture(drawn: Drawn, title: str = "") -> Figure:
    """Draw a node with the most important edges around it, and how much each feature adds.

    Args:
        drawn: the tables, most important first; the 60 first edges and the 14 strongest features are shown.
        title: text above the picture.
    """
    with styled():
        figure = new_figure(7.2, 3.7)
        network, bars = figure.subplots(1, 2, width_ratios=(1.35, 1))
        _draw_network(network, drawn)
        _draw_features(bars, drawn.features)
        set_title(figure, title)
    return figure


def _draw_network(axes: Axes, drawn: Drawn) -> None:
    from matplotlib.collections import LineCollection  # slow to import: only where it is needed

    # A line is as important as the more important of its two directions.
    lines: dict[tuple[str, str], float] = {}
    for source, target, importance in drawn.edges[["source", "target", "importance"]].itertuples(index=False):
        ends = (min(source, target), max(source, target))
        lines[ends] = max(lines.get(ends, 0.0), float(importance))
    shown = sorted(lines.items(), key=lambda line: -line[1])[:MOST_EDGES]
    hops = dict(zip(drawn.neighbours.node, drawn.neighbours.hops, strict=True))
    network = nx.Graph([ends for ends, _ in shown])
    network.add_nodes_from(name for name, away in hops.items() if away == 0)
    layout = nx.spring_layout(network, seed=0, iterations=100)
    width = np.array([importance for _, importance in shown])
    share = width / width.max() if len(width) and width.max() > 0 else width
    places = [[layout[source], layout[target]] for (source, target), _ in shown]
    colours = [(0.2, 0.2, 0.2, 0.12 + 0.8 * one) for one in share]
    axes.add_collection(LineCollection(places, linewidths=0.4 + 3.6 * share, colors=colours, zorder=0))
    for name, (across, up) in layout.items():
        away = hops.get(name, -1)
        look = {"s": 130, "edgecolors": "black", "linewidths": 1.0} if away == 0 else {"s": 42}
        axes.scatter(across, up, color=COLOURS[away % len(COLOURS)], zorder=2, **look)
        if len(layout) <= MOST_NAMES or away == 0:
            axes.annotate(plain(name, LONGEST_NODE), (across, up), xytext=(4, 4),
                          textcoords="offset points", fontsize=6.5)  # fmt: skip
    handles = [
        axes.scatter([], [], color=COLOURS[away % len(COLOURS)], label=_distance(away))
        for away in sorted({hops.get(name, -1) for name in layout})
    ]
    axes.legend(handles=handles, loc="upper center", bbox_to_anchor=(0.5, 0), ncols=4, handletextpad=0.1)
    axes.set_title("edges by importance", fontsize=8)
    axes.margins(0.12)
    axes.set_axis_off()


def _distance(away: int) -> str:
    return "asked about" if away == 0 else f"{away} hop{'s' * (away > 1)} away"


def _draw_features(axes: Axes, features: pd.DataFrame) -> None:
    strongest = features.loc[features.effect.abs().sort_values(ascending=False, kind="stable").index]
    shown = strongest[:MOST_FEATURES][::-1]
    colours = [COLOURS[0] if effect >= 0 else COLOURS[3] for effect in shown.effect]
    axes.barh(range(len(shown)), shown.effect, color=colours, height=0.7)
    axes.set_yticks(range(len(shown)), [plain(name, LONGEST_FEATURE) for name in shown.feature], fontsize=7)
    axes.axvline(0, color="0.3", linewidth=0.6)
    axes.tick_params(axis="y", length=0)
    axes.set_xlabel("effect on the score")
    axes.set_title("features by effect", fontsize=8)
