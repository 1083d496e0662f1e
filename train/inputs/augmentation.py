"""Images that are changed a little each time that they are learned from (Simard et al., 2003)."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from mpnn.train.choices import AUGMENT
from mpnn.train.errors import RunError

SHIFT = 1 / 14  # of the image's size: 2 of 28 pixels
MARGIN = 1 / 8
ANGLE = 15.0  # degrees
ZOOM = 0.1
ERASED = 0.3  # of the image's height and width


@dataclass(frozen=True)
class Augmentation:
    """Changes that leave an image's class as it is, drawn for each image anew from torch's generator.

    Args:
        names: "crop", a window of the image's size in the image and a margin of zeros, an eighth of the size
            (He et al., 2016); "shift", by whole pixels up to a 14th of the size; "flip", left to right, for
            half of the images; "rotate", up to 15 degrees; "zoom", up to a tenth; "erase", a part of 0.3
            times the size gets the image's mean (DeVries and Taylor, 2017). At the margin of images that are
            shifted, turned or zoomed the last pixel is repeated.

    >>> torch.manual_seed(0).initial_seed()
    0
    >>> Augmentation(("flip",))(torch.tensor([[[[1.0, 2.0, 3.0]]]] * 3))[:, 0, 0]
    tensor([[3., 2., 1.],
            [1., 2., 3.],
            [3., 2., 1.]])
    """

    names: tuple[str, ...]

    def __call__(self, x: Tensor) -> Tensor:
        """Images `[batch, channels, height, width]`, each changed."""
        if "flip" in self.names:
            x = torch.where(_drawn(x, 1, 1, 1) < 0.5, x.flip(-1), x)
        if {"rotate", "zoom"} & set(self.names):
            x = _turned(x, ANGLE if "rotate" in self.names else 0.0, ZOOM if "zoom" in self.names else 0.0)
        if "crop" in self.names:
            x = _cropped(x)
        if "shift" in self.names:
            x = _shifted(x)
        return _erased(x) if "erase" in self.names else x


def augmentation(asked: str | None) -> Augmentation:
    """The changes that an option names, divided by commas.

    Raises:
        RunError: one is unknown, or named twice.
    """
    names = tuple(name.strip() for name in asked.split(",")) if asked is not None else ()
    for name in names:
        if name not in AUGMENT:
            raise RunError(f"augment is {asked!r}, but should be some of {', '.join(AUGMENT)}")
        if names.count(name) > 1:
            raise RunError(f"augment is {asked!r}, but names {name} twice")
    return Augmentation(names)


def _drawn(x: Tensor, *shape: int) -> Tensor:
    """Numbers from 0 to 1, for each image."""
    return torch.rand(len(x), *shape).to(x)


def _shifted(x: Tensor) -> Tensor:
    """Whole pixels are moved, so that none is blurred."""
    height, width = x.shape[-2:]
    moved = []
    for size in (height, width):
        most = max(1, round(SHIFT * size))
        by = torch.randint(-most, most + 1, (len(x), 1))
        moved.append((torch.arange(size) + by).clamp(0, size - 1).to(x.device))
    rows, columns = moved
    each = torch.arange(len(x), device=x.device).view(-1, 1, 1, 1)
    channel = torch.arange(x.size(1), device=x.device).view(1, -1, 1, 1)
    return x[each, channel, rows[:, None, :, None], columns[:, None, None, :]]


def _cropped(x: Tensor) -> Tensor:
    """A window of the image's size, anywhere in the image and its margin."""
    height, width = x.shape[-2:]
    down, right = (max(1, round(MARGIN * size)) for size in (height, width))
    wide = F.pad(x, (right, right, down, down))
    rows = torch.arange(height) + torch.randint(2 * down + 1, (len(x), 1))
    columns = torch.arange(width) + torch.randint(2 * right + 1, (len(x), 1))
    wide = wide.gather(2, rows.to(x.device)[:, None, :, None].expand(-1, x.size(1), -1, wide.size(3)))
    return wide.gather(3, columns.to(x.device)[:, None, None, :].expand(-1, x.size(1), height, -1))


def _turned(x: Tensor, angle: float, zoom: float) -> Tensor:
    """Turned about the middle and zoomed, bilinear."""
    turn = math.radians(angle) * (2 * _drawn(x) - 1)
    scale = 1 + zoom * (2 * _drawn(x) - 1)
    height, width = x.shape[-2:]
    sine, cosine = scale * turn.sin(), scale * turn.cos()
    none = torch.zeros_like(sine)
    rows = (cosine, -sine * height / width, none, sine * width / height, cosine, none)
    theta = torch.stack(rows, 1).view(-1, 2, 3)
    grid = F.affine_grid(theta, list(x.shape), align_corners=False)
    return F.grid_sample(x, grid, mode="bilinear", padding_mode="border", align_corners=False)


def _erased(x: Tensor) -> Tensor:
    """A rectangle of each image gets the mean of the image."""
    inside = torch.ones(len(x), 1, 1, 1, dtype=torch.bool, device=x.device)
    for axis, size in ((-2, x.size(-2)), (-1, x.size(-1))):
        length = max(1, round(ERASED * size))
        start = torch.randint(size - length + 1, (len(x), 1)).to(x.device)
        place = torch.arange(size, device=x.device)
        one = (place >= start) & (place < start + length)
        inside = inside & one.view(len(x), 1, *((size, 1) if axis == -2 else (1, size)))
    return torch.where(inside, x.mean((-2, -1), keepdim=True), x)
