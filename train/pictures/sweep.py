"""A picture of many runs: how good each is on the validation part, and on the test part."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from mpnn.train.pictures.style import COLOURS, new_figure, plain, point_key, set_title, styled
from mpnn.train.tasks.metrics import Metric

if TYPE_CHECKING:
    from matplotlib.figure import Figure

MOST = 40  # rows


class Point(NamedTuple):
    """A run: its name, and mean and standard deviation on the validation and the test part, if any."""

    name: str
    val: tuple[float, float]
    test: tuple[float, float] | None


def sweep_picture(points: Sequence[Point], metric: Metric, title: str = "") -> Figure:
    """Draw a row for each run, the best on the validation part above; of more than 40 the best 40."""
    order = sorted(points, key=lambda point: metric.score(point.val[0]), reverse=True)
    shown, scale = order[:MOST], 100 if metric.percent else 1
    with styled():
        longest = max(len(point.name) for point in shown)
        figure = new_figure(3.6 + 0.066 * longest, 1.1 + 0.2 * len(shown))
        axes = figure.subplots()
        for row, point in enumerate(shown):
            for what, colour, marker in ((point.test, COLOURS[1], "D"), (point.val, COLOURS[0], "o")):
                if what is not None:
                    mean, deviation = (scale * value for value in what)
                    axes.errorbar(
                        mean,
                        row,
                        xerr=deviation or None,
                        color=colour,
                        marker=marker,
                        markersize=5,
                        capsize=2,
                    )
        best: dict[str, Any] = {
            "marker": "*",
            "markersize": 13,
            "color": COLOURS[0],
            "markeredgecolor": "black",
            "zorder": 5,
        }
        axes.plot(scale * shown[0].val[0], 0, **best)
        axes.set_yticks(range(len(shown)), [plain(point.name, 60) for point in shown])
        axes.set_ylim(len(shown) - 0.5, -0.5)
        axes.set_xlabel(f"{metric.title} [%]" if metric.percent else metric.title)
        axes.grid(axis="x", linewidth=0.4, color="0.85")
        axes.set_axisbelow(True)
        keys = [point_key("*", COLOURS[0], "best by validation"), point_key("o", COLOURS[0], "validation")]
        if any(point.test is not None for point in shown):
            keys.append(point_key("D", COLOURS[1], "test"))
        figure.legend(handles=keys, loc="outside lower center", ncols=len(keys), handletextpad=0.2)
        more = f" (the best {MOST} of {len(points)})" if len(points) > MOST else ""
        set_title(figure, title + more)
    return figure
