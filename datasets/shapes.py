"""Shapes that are drawn: each pixel's class is known, and no file is needed."""

from __future__ import annotations

import torch
from torch import Tensor

from mpnn.datasets.mask_record import MaskDataset

NAMES = ("background", "circle", "square", "triangle")
COUNT, SIZE, MOST = 400, 32, 3  # images, their pixels in height and width, and shapes in one
NOISE = 0.08


def load_shapes(count: int = COUNT, seed: int = 0) -> MaskDataset:
    """Return images of 32 × 32 pixels with one to three shapes in colours of any kind, on a noisy ground.

    A shape hides what is behind it. No colour tells a shape: a network has to look at its outline.

    Args:
        count: how many images.
        seed: of what is drawn.

    >>> load_shapes()
    shapes: 400 images of 32 × 32 pixels and 3 channels, 4 classes of pixels
    """
    draw = torch.Generator().manual_seed(seed)
    pixels = torch.rand(count, 3, 1, 1, generator=draw).expand(-1, -1, SIZE, SIZE).clone()
    y = torch.zeros(count, SIZE, SIZE, dtype=torch.int64)
    there = torch.randint(1, MOST + 1, (count,), generator=draw)
    for k in range(MOST):
        kind = torch.randint(1, len(NAMES), (count,), generator=draw)
        radius = 4 + 5 * torch.rand(count, generator=draw)
        middle = 6 + (SIZE - 12) * torch.rand(count, 2, generator=draw)
        colour = torch.rand(count, 3, 1, 1, generator=draw)
        inside = _inside(kind, radius, middle) & (k < there)[:, None, None]
        y = torch.where(inside, kind[:, None, None], y)
        pixels = torch.where(inside[:, None], colour, pixels)
    pixels = (pixels + NOISE * torch.randn(pixels.shape, generator=draw)).clamp(0, 1)
    mean, deviation = float(pixels.mean()), float(pixels.std())
    return MaskDataset(
        "shapes",
        (pixels - mean) / deviation,
        y,
        NAMES,
        tuple(str(number) for number in range(count)),
        {"mean": mean, "deviation": deviation},
    )


def _inside(kind: Tensor, radius: Tensor, middle: Tensor) -> Tensor:
    """Which pixels lie in a shape of each image, `[count, height, width]`."""
    place = torch.arange(SIZE) + 0.5
    rows = (place[:, None] - middle[:, :1, None]) / radius[:, None, None]
    columns = (place[None, :] - middle[:, 1:, None]) / radius[:, None, None]
    circle = rows**2 + columns**2 <= 1
    square = (rows.abs() <= 0.85) & (columns.abs() <= 0.85)
    triangle = (rows <= 0.8) & (columns.abs() <= (rows + 1) / 1.8)
    return torch.stack([circle, square, triangle])[kind - 1, torch.arange(len(kind))]
