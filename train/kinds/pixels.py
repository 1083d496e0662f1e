"""Images as models of pixels between 0 and 1 read them."""

from __future__ import annotations

from dataclasses import replace

from mpnn.datasets import ImageDataset


def as_pixels(data: ImageDataset) -> ImageDataset:
    """Undo what was done to pixels between 0 and 1, where it is known."""
    if not data.read_as:
        return data
    mean, deviation = data.read_as["mean"], data.read_as["deviation"]
    read_as = dict(data.read_as) | {"mean": 0.0, "deviation": 1.0}
    return replace(data, x=(data.x * deviation + mean).clamp(0, 1), read_as=read_as)
