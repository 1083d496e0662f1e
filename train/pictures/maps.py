"""Self-organising maps as maps: the U-matrix, and a plane for each feature."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from mpnn import Graph
from mpnn.models.neurons.som import SelfOrganisingMap
from mpnn.topology import Lattice
from mpnn.train.pictures.style import new_figure, plain, set_title, styled

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.collections import PatchCollection
    from matplotlib.figure import Figure

EACH = 0.26  # inches of a unit
SMALLEST, LARGEST = 1.5, 4.0  # inches of a map


def umatrix_picture(som: SelfOrganisingMap, x: Tensor | None = None, *, title: str = "") -> Figure:
    """Draw how far the weights of each unit are from those of its neighbours (Ultsch, 1990).

    Borders between groups of samples are dark.

    Args:
        som: on a lattice of one or two dimensions, square or hexagonal.
        x: samples `[num_samples, in_features]`; a unit then shows how many of them it wins.
        title: text above the picture.

    Raises:
        ValueError: the map has another form.
    """
    lattice = _lattice(som)
    with styled():
        across, up = _size(lattice)
        figure = new_figure(max(across, 2.2) + 0.2, up + 0.9)
        axes = figure.subplots()
        distance = som.distance_map("mean").flatten()
        bar = figure.colorbar(_draw_units(axes, lattice, distance, "Greys"), ax=axes, location="bottom")
        bar.set_label("distance from neighbours", fontsize=8)
        bar.ax.tick_params(labelsize=6)
        bar.outline.set_visible(False)
        won = torch.zeros(len(distance)) if x is None else som.activation_response(x).flatten()
        middle = (distance.min() + distance.max()) / 2
        for (row, column), number, far in zip(_places(lattice), won.tolist(), distance, strict=True):
            if number:
                colour = "white" if far > middle else "black"
                axes.text(column, row, str(number), ha="center", va="center", fontsize=6, color=colour)
        set_title(figure, title)
    return figure


def planes_picture(
    som: SelfOrganisingMap, feature_names: Sequence[str] | None = None, *, columns: int = 4, title: str = ""
) -> Figure:
    """Draw the map once for each feature, units by their weight for it: the component planes.

    Args:
        som: on a lattice of one or two dimensions, square or hexagonal.
        feature_names: what the features are called; by default their numbers.
        columns: how many planes stand in a row.
        title: text above the picture.

    Raises:
        ValueError: the map has another form, or there are more or fewer names than features.
    """
    lattice = _lattice(som)
    names = [str(k) for k in range(som.in_features)] if feature_names is None else list(feature_names)
    if len(names) != som.in_features:
        raise ValueError(f"feature_names must be {som.in_features}, one for each feature, got {len(names)}.")
    columns = min(columns, len(names))
    rows = -(-len(names) // columns)
    with styled():
        across, up = _size(lattice)
        figure = new_figure((across + 0.8) * columns, (up + 0.35) * rows + 0.2)
        grid = figure.subplots(rows, columns, squeeze=False).flatten()
        for axes in grid:
            axes.set_axis_off()
        for axes, name, plane in zip(grid, names, som.component_planes(), strict=False):
            patches = _draw_units(axes, lattice, plane.flatten(), "viridis")
            axes.set_title(plain(name), fontsize=8)
            bar = figure.colorbar(patches, ax=axes)
            bar.outline.set_visible(False)
            bar.ax.tick_params(labelsize=6)
        set_title(figure, title)
    return figure


def _lattice(som: SelfOrganisingMap) -> Lattice:
    graph: Graph = som.graph
    if not isinstance(graph, Lattice) or len(graph.shape) > 2:
        form = f"the shape {graph.shape}" if isinstance(graph, Lattice) else "no shape"
        raise ValueError(f"som must be on a lattice of one or two dimensions to be drawn, but has {form}.")
    return graph


def _places(lattice: Lattice) -> np.ndarray:
    """`[num_units, 2]`: how far down and across."""
    places: np.ndarray = lattice.positions.cpu().numpy()
    return places if places.shape[1] == 2 else np.concatenate([np.zeros_like(places), places], 1)


def _size(lattice: Lattice) -> tuple[float, float]:
    """Inches across and up, with units as large as fits."""
    up, across = _places(lattice).max(0) + 1
    scale = EACH * max(1.0, SMALLEST / (EACH * max(up, across)))
    scale = min(scale, LARGEST / max(up, across))
    return max(scale * across, 0.4), max(scale * up, 0.4)


def _draw_units(axes: Axes, lattice: Lattice, values: Tensor, colours: str) -> PatchCollection:
    """A square or a hexagon for each unit."""
    from matplotlib.collections import PatchCollection
    from matplotlib.patches import RegularPolygon

    # Around a unit whose neighbours are 1 away; hexagons stand on a corner, squares are turned by 45 degrees.
    corners, radius, turn = (6, 1 / np.sqrt(3), 0.0) if lattice.hexagonal else (4, np.sqrt(0.5), np.pi / 4)
    units = [RegularPolygon((x, y), corners, radius=radius, orientation=turn) for y, x in _places(lattice)]
    patches = PatchCollection(units, cmap=colours, edgecolors="face", linewidths=0.2)
    patches.set_array(values.detach().cpu().to(torch.float64).numpy())
    axes.add_collection(patches)
    (top, left), (bottom, right) = _places(lattice).min(0) - 0.6, _places(lattice).max(0) + 0.6
    axes.set(xlim=(left, right), ylim=(bottom, top), aspect="equal")  # the first row is at the top
    axes.set_axis_off()
    return patches
