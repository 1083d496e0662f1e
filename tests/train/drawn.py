"""What is drawn in a picture, as plain numbers and colours."""

from __future__ import annotations

import numpy as np
from matplotlib.collections import Collection
from matplotlib.colors import to_hex
from matplotlib.lines import Line2D


def points(line: Line2D) -> list[list[float]]:
    """X and y of each point of a line."""
    found: list[list[float]] = np.asarray(line.get_xydata()).tolist()
    return found


def heights(line: Line2D) -> list[float]:
    """Y of each point of a line."""
    return [y for _, y in points(line)]


def count(group: Collection) -> int:
    """How many points are drawn as one group."""
    return len(np.asarray(group.get_offsets()))


def faces(group: Collection) -> list[str]:
    """The colours that fill the points of a group."""
    return [to_hex(colour).upper() for colour in np.asarray(group.get_facecolor())]


def edges(group: Collection) -> list[str]:
    """The colours around the points of a group."""
    return [to_hex(colour).upper() for colour in np.asarray(group.get_edgecolor())]
