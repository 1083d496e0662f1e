"""What an autoencoder makes of images: reconstructions, samples, and where its codes lie."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from mpnn.train.pictures.style import class_keys, figure_beside, new_figure, scatter, set_title, styled

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

MOST_POINTS = 5000
EACH = 0.55  # inches of an image


def reconstructions_picture(x: Tensor, rebuilt: Tensor, *, title: str = "") -> Figure:
    """Draw images, and what an autoencoder makes of each below it.

    Args:
        x: `[count, pixels]`, square images; or `[count, height, width]`.
        rebuilt: in the form of x.
        title: text above the picture.

    Raises:
        ValueError: there is no image, or the two differ in form, or an image is not square.
    """
    if x.shape != rebuilt.shape:
        raise ValueError(f"rebuilt must be {list(x.shape)} as x, got shape {list(rebuilt.shape)}.")
    above, below = as_images("x", x), as_images("rebuilt", rebuilt)
    return mosaic([above, below], ("x", "rebuilt"), title)


def samples_picture(images: Tensor, *, columns: int = 8, title: str = "") -> Figure:
    """Draw images side by side, row after row.

    Args:
        images: `[count, pixels]`, square images; or `[count, height, width]`.
        columns: how many stand in a row.
        title: text above the picture.

    Raises:
        ValueError: there is no image, or one is not square.
    """
    found = as_images("images", images)
    return mosaic([found[k : k + columns] for k in range(0, len(found), columns)], title=title)


def latent_picture(
    codes: Tensor, classes: Tensor, class_names: Sequence[str], *, title: str = "", seed: int = 0
) -> Figure:
    """Draw codes in the plane, by their classes: wider codes by their first two principal components.

    Args:
        codes: `[count, channels]`; of more than 5000 a random sample is drawn.
        classes: `[count]`.
        class_names: the classes' names.
        title: text above the picture.
        seed: of the sample.

    Raises:
        ValueError: the codes have fewer than two channels.
    """
    if codes.dim() != 2 or codes.size(1) < 2 or not len(codes):
        raise ValueError(f"codes must be [count, channels] of two channels or more, got {list(codes.shape)}.")
    chosen = np.random.default_rng(seed).permutation(len(codes))[:MOST_POINTS]
    places = codes.detach().cpu().double()
    if places.size(1) > 2:
        centred = places - places.mean(0)
        places = centred @ torch.linalg.eigh(centred.T @ centred).eigenvectors[:, [-1, -2]]
    points, labels = places.numpy()[chosen], classes.cpu().numpy()[chosen]
    with styled():
        figure, axes = figure_beside(3.7, 3.6, class_keys(class_names), title)
        size = float(np.clip(4000 / len(chosen), 3, 30))
        scatter(axes, points, labels, s=size, linewidths=0, alpha=0.7)
    return figure


@torch.no_grad()
def latent_plane_picture(decode: Callable[[Tensor], Tensor], side: int = 16, *, title: str = "") -> Figure:
    """Draw what a decoder of two numbers makes of a grid of codes (Kingma and Welling, 2014, figure 4).

    The grid has steps of equal probability under N(0, 1).

    Args:
        decode: `[count, 2]` -> `[count, pixels]`, square images.
        side: the number of images in a row, and of rows.
        title: text above the picture.
    """
    along = torch.special.ndtri((torch.arange(side, dtype=torch.float64) + 0.5) / side).float()
    codes = torch.stack(torch.meshgrid(along.flip(0), along, indexing="ij"), -1)[..., [1, 0]]
    images = as_images("decode(codes)", decode(codes.reshape(-1, 2)))
    return mosaic(list(torch.split(images, side)), title=title)


def as_images(name: str, x: Tensor) -> Tensor:
    """`[count, height, width]` of rows of pixels of square images."""
    if x.dim() == 2 and len(x) and math.isqrt(x.size(1)) ** 2 == x.size(1):
        side = math.isqrt(x.size(1))
        x = x.view(-1, side, side)
    if x.dim() != 3 or not x.numel():
        raise ValueError(
            f"{name} must be [count, pixels] of square images or [count, height, width], got shape "
            f"{list(x.shape)}."
        )
    return x.detach().cpu()


def mosaic(rows: Sequence[Tensor], names: Sequence[str] = (), title: str = "") -> Figure:
    """Draw rows of images, one below the other, a pixel apart.

    Args:
        rows: `[count, height, width]` each.
        names: of the rows, or none.
        title: text above the picture.
    """
    columns, (height, width) = max(map(len, rows)), rows[0].shape[1:]
    down, across = height + 1, width + 1
    low, high = (float(getattr(torch.cat(list(rows)), end)()) for end in ("min", "max"))
    with styled():
        size = (EACH * columns + 0.6 * bool(names), EACH * down / across * len(rows) + 0.3 * bool(title))
        figure = new_figure(*size)
        axes: Axes = figure.subplots()
        whole = np.full((len(rows) * down - 1, columns * across - 1), np.nan)
        for i, row in enumerate(rows):
            for k, image in enumerate(row):
                top, left = i * down, k * across
                whole[top : top + height, left : left + width] = image.numpy()
        axes.imshow(whole, cmap="gray_r", vmin=low, vmax=high if high > low else low + 1)
        axes.set_xticks([])
        axes.set_yticks([down * k + height / 2 - 0.5 for k in range(len(names))], names)
        axes.tick_params(length=0)
        axes.spines[:].set_visible(False)
        set_title(figure, title)
    return figure
