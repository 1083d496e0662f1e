"""What all pictures have in common: colours, shapes, text that fits, and how they are saved."""

from __future__ import annotations

import io
import textwrap
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from mpnn.train.choices import FORMATS
from mpnn.train.errors import RunError
from mpnn.train.fitting import checkpoint

if TYPE_CHECKING:  # matplotlib is slow to import: only what draws does so
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.lines import Line2D

# Okabe and Ito's colours, which colour-blind readers can tell apart; further classes have other shapes.
COLOURS = ("#0072B2", "#E69F00", "#009E73", "#D55E00", "#56B4E9", "#CC79A7", "#8C8C00", "#000000")
SHAPES = ("o", "s", "^", "D", "v")
STYLE: dict[str, Any] = {
    "font.size": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.linewidth": 0.8,
    "legend.frameon": False,
    "legend.fontsize": 8,
    "lines.linewidth": 1.4,
}
LONGEST_NAME = 28  # characters of the name of a class
MOST_ROWS = 16  # entries of a legend above each other
LETTER = 0.066  # inches of a letter of 8 points, generously


def save_picture(figure: Figure, path: Path) -> None:
    """Write a figure: PNG at the resolution of print, or PDF or SVG, as the file's name ends.

    Raises:
        RunError: the name ends in something else, or the file cannot be written.
    """
    kind = path.suffix.removeprefix(".")
    if kind not in FORMATS:
        raise RunError(f"{path} is no picture: its name should end in {', '.join(f'.{k}' for k in FORMATS)}")
    content = io.BytesIO()
    when = {"png": {}, "pdf": {"CreationDate": None}, "svg": {"Date": None}}  # the same run, the same file
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        figure.savefig(content, dpi=300, format=kind, metadata=when[kind])
    strange = [warning for warning in caught if "missing from font" in str(warning.message)]
    for warning in caught:
        if warning not in strange:
            warnings.warn_explicit(warning.message, warning.category, warning.filename, warning.lineno)
    if strange:
        warnings.warn(f"{path.name} has letters that matplotlib's font has not: they are boxes", stacklevel=2)
    checkpoint.write(path, content.getvalue())


@contextmanager
def failing_is_a_warning(what: str) -> Iterator[None]:
    """Inside, an error only means that something is not drawn: the run that it shows is done."""
    try:
        yield
    except Exception as error:  # of matplotlib, of a font, of a full disk
        reason = " ".join(str(error).split()) or type(error).__name__
        warnings.warn(f"{what} cannot be drawn: {reason}", stacklevel=4)


def picture_format(draw: bool | str | None, setting: str | None = None) -> str | None:
    """How the pictures of a run are saved, None for none.

    Args:
        draw: True, False, or one of the formats; None is as the setting says.
        setting: one of the formats, or "none"; None is the first of them.

    Raises:
        RunError: draw is something else.
    """
    if isinstance(draw, str) and draw not in FORMATS:
        raise RunError(f"draw is {draw!r}, but should be True, False or one of {', '.join(FORMATS)}")
    wanted = (setting or True) if draw is None else draw
    if isinstance(wanted, bool):
        return FORMATS[0] if wanted else None
    return None if wanted == "none" else wanted


def plain(name: str, longest: int = LONGEST_NAME) -> str:
    r"""A name as matplotlib should print it: one short line, with dollars that begin no formula.

    >>> plain("cost in $ and €, or in any other of the many currencies")
    'cost in \\$ and €, or in any…'
    """
    short = textwrap.shorten(" ".join(name.split()), longest, placeholder="…")
    if short in ("", "…"):  # a first word longer than that
        short = name[: longest - 1] + "…" * (len(name) > 0)
    return (" " if short.startswith("_") else "") + short.replace("$", r"\$")  # legends leave out _names


def colour_of(label: int) -> str:
    """Colour of a class."""
    return COLOURS[label % len(COLOURS)]


def shape_of(label: int) -> str:
    """Shape of a class: the same for eight of them."""
    return SHAPES[label // len(COLOURS) % len(SHAPES)]


@contextmanager
def styled() -> Iterator[None]:
    """Inside, pictures are drawn in the common style."""
    from matplotlib import rc_context

    with rc_context(STYLE):
        yield


def new_figure(width: float, height: float) -> Figure:
    """An empty figure of that size in inches, whose parts will not overlap."""
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height), layout="constrained")


def count_along(axes: Axes) -> None:
    """Put the ticks of the x axis at whole numbers."""
    from matplotlib.ticker import MaxNLocator

    axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))


def scatter(axes: Axes, place: np.ndarray, labels: np.ndarray, **look: Any) -> None:
    """Draw points `[count, 2]` in the colours and shapes of their classes, or all with one `marker`."""
    shapes = np.array([look.get("marker", shape_of(label)) for label in labels], dtype=object)
    for shape in dict.fromkeys(shapes.tolist()) or [SHAPES[0]]:
        which = shapes == shape
        colours = [colour_of(label) for label in labels[which]]
        here = {
            name: value[which] if isinstance(value, np.ndarray) else value for name, value in look.items()
        }
        axes.scatter(place[which, 0], place[which, 1], c=colours, **here | {"marker": shape})


def class_keys(names: Sequence[str], labels: Sequence[int] | None = None) -> list[Line2D]:
    """Entries of a legend for these classes, by default all."""
    labels = range(len(names)) if labels is None else labels
    return [point_key(shape_of(label), colour_of(label), plain(names[label])) for label in labels]


def point_key(marker: str, colour: str, label: str) -> Line2D:
    """An entry of a legend: a point of that shape and colour."""
    from matplotlib.lines import Line2D

    key = Line2D([], [], linestyle="", marker=marker, color=colour, label=label, markersize=6)
    if marker == "*":
        key.set(markersize=9, markeredgecolor="black", markeredgewidth=0.6)
    return key


def figure_beside(width: float, height: float, keys: Sequence[Line2D], title: str) -> tuple[Figure, Axes]:
    """A figure with room for a drawing of that size, a legend to the right of it, and a title above."""
    columns = -(-len(keys) // MOST_ROWS)
    longest = max((len(str(key.get_label())) for key in keys), default=0)
    beside = columns * (0.35 + LETTER * longest)
    figure = new_figure(width + beside, height)
    axes = figure.subplots()
    axes.set_axis_off()
    place: dict[str, Any] = {"loc": "center left", "bbox_to_anchor": (1, 0.5)}
    axes.legend(handles=list(keys), ncols=columns, handletextpad=0.2, columnspacing=1, **place)
    set_title(figure, title)
    return figure, axes


def set_title(figure: Figure, title: str) -> None:
    """Write a title above a figure, in as many lines as it needs."""
    if title:
        letters = int(figure.get_figwidth() / (1.02 * LETTER))
        figure.suptitle(textwrap.fill(title.replace("$", r"\$"), letters), fontsize=9)
