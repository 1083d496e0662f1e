"""A picture of regression: what is predicted against what is true."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from torch import Tensor

from mpnn.train.pictures.style import COLOURS, new_figure, plain, set_title, styled

if TYPE_CHECKING:
    from matplotlib.figure import Figure

MOST_TARGETS = 6  # panels side by side and below each other
MOST_POINTS = 5000  # more cover each other
ROW = 3  # panels beside each other


def numbers_picture(
    truth: Tensor, predicted: Tensor, names: Sequence[str], *, title: str = "", seed: int = 0
) -> Figure:
    """Draw predicted against true numbers, a panel for each target; right ones lie on the diagonal.

    Args:
        truth, predicted: `[count, num_targets]`; of more than 5000 a random sample is drawn.
        names: of the targets, the first six of which are drawn.
        title: text above the picture.
        seed: of the sample.
    """
    shown = names[:MOST_TARGETS]
    columns = min(ROW, len(shown))
    rows = -(-len(shown) // columns)
    chosen = np.random.default_rng(seed).permutation(len(truth))[:MOST_POINTS]
    true, said = (values.detach().double().cpu().numpy()[chosen] for values in (truth, predicted))
    size = float(np.clip(3000 / max(1, len(chosen)), 4, 24))
    with styled():
        figure = new_figure(3.2 * columns, 3.1 * rows + 0.2)
        panels = figure.subplots(rows, columns, squeeze=False).flatten()
        for axes in panels[len(shown) :]:
            axes.set_axis_off()
        for k, (axes, name) in enumerate(zip(panels, shown, strict=False)):
            both = np.concatenate([true[:, k], said[:, k]])
            low, high = float(both.min()), float(both.max())
            margin = 0.05 * (high - low) or 1.0
            ends = (low - margin, high + margin)
            axes.plot(ends, ends, color="0.6", linestyle=":", linewidth=1, zorder=0)
            axes.scatter(true[:, k], said[:, k], s=size, color=COLOURS[0], alpha=0.6, linewidths=0)
            axes.set(xlim=ends, ylim=ends, aspect="equal")
            axes.set_xlabel(f"true {plain(name)}")
            axes.set_ylabel(f"predicted {plain(name)}")
        set_title(figure, title)
    return figure
