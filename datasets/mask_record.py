"""One immutable record: images of one size, and the class of each of their pixels."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor

from mpnn.datasets.errors import DataError

UNKNOWN = -1  # the class of a pixel that is not known, and takes no part


@dataclass(frozen=True, eq=False, repr=False)
class MaskDataset:
    """Images, each with a mask: the class of every pixel.

    Args:
        name: what it is called in tables and pictures.
        x: floating point `[num_images, channels, height, width]`.
        y: int64 `[num_images, height, width]`: the class of each pixel, or -1 where it is not known.
        class_names: the classes in the order of their numbers.
        image_names: of the images.
        read_as: the `mean` that was subtracted from pixels between 0 and 1, and the `deviation` that they
            were divided by; empty if that is not known.

    Raises:
        DataError: shapes, types or class numbers do not fit together.
    """

    name: str
    x: Tensor
    y: Tensor
    class_names: tuple[str, ...]
    image_names: tuple[str, ...]
    read_as: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.x.dim() != 4 or not self.x.is_floating_point() or self.x.numel() == 0:
            raise DataError(
                f"x is {self.x.dtype} {list(self.x.shape)}, but should be floating point "
                "[num_images, channels, height, width], not empty"
            )
        wanted = [self.num_images, *self.size]
        if self.y.dtype != torch.int64 or list(self.y.shape) != wanted:
            raise DataError(f"y is {self.y.dtype} {list(self.y.shape)}, but should be int64 {wanted}")
        low, high, number = int(self.y.min()), int(self.y.max()), len(self.class_names)
        if low < UNKNOWN or high >= number:
            raise DataError(
                f"y has classes from {low} to {high}, but should have 0 to {number - 1}, or -1 where it is "
                "not known"
            )
        if len(self.image_names) != self.num_images:
            raise DataError(f"image_names are {len(self.image_names)}, but should be {self.num_images}")

    @property
    def what(self) -> str:
        """What the data is, for sentences."""
        return "images with masks"

    @property
    def num_images(self) -> int:
        """Number of images."""
        return self.x.size(0)

    @property
    def num_features(self) -> int:
        """Number of channels."""
        return self.x.size(1)

    @property
    def size(self) -> tuple[int, int]:
        """Height and width in pixels."""
        return self.x.size(2), self.x.size(3)

    def to(self, device: torch.device | str) -> MaskDataset:
        """Copy on another device."""
        return replace(self, x=self.x.to(device), y=self.y.to(device))

    def __repr__(self) -> str:
        height, width = self.size
        channels = "1 channel" if self.num_features == 1 else f"{self.num_features} channels"
        return (
            f"{self.name}: {self.num_images:,} images of {height} × {width} pixels and {channels}, "
            f"{len(self.class_names)} classes of pixels"
        )
