"""One immutable record: many images of one size, and what is to be learned of each."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor

from mpnn.datasets.record import DataError, check_target, wanted


@dataclass(frozen=True, eq=False, repr=False)
class ImageDataset:
    """Images, each with a class, several labels, or numbers.

    Args:
        name: what it is called in tables and pictures.
        x: floating point `[num_images, channels, height, width]`.
        y: classes int64 `[num_images]`, or several labels each bool `[num_images, num_labels]`, or numbers
            floating point `[num_images, num_targets]`.
        class_names: the classes in the order of their numbers, the labels, or the targets.
        test_mask: bool `[num_images]`: the published test part; None if none is published.
        read_as: the `mean` that was subtracted from pixels between 0 and 1, and the `deviation` that they
            were divided by; empty if that is not known.

    Raises:
        DataError: shapes, types or class numbers do not fit together.
    """

    name: str
    x: Tensor
    y: Tensor
    class_names: tuple[str, ...]
    test_mask: Tensor | None = None
    read_as: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.x.dim() != 4 or not self.x.is_floating_point() or self.x.numel() == 0:
            raise DataError(
                f"x is {self.x.dtype} {list(self.x.shape)}, but should be floating point "
                "[num_images, channels, height, width], not empty"
            )
        check_target("y", self.y, self.num_images, self.class_names)
        mask = self.test_mask
        if mask is not None and (mask.dtype != torch.bool or mask.shape != (self.num_images,)):
            raise DataError(
                f"test_mask is {mask.dtype} {list(mask.shape)}, but should be bool [{self.num_images}]"
            )

    @property
    def what(self) -> str:
        """What the data is, for sentences."""
        return "images"

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

    def to(self, device: torch.device | str) -> ImageDataset:
        """Copy on another device."""
        mask = None if self.test_mask is None else self.test_mask.to(device)
        return replace(self, x=self.x.to(device), y=self.y.to(device), test_mask=mask)

    def __repr__(self) -> str:
        height, width = self.size
        channels = "1 channel" if self.num_features == 1 else f"{self.num_features} channels"
        return (
            f"{self.name}: {self.num_images:,} images of {height} × {width} pixels and {channels}, "
            f"{wanted(self.y, self.class_names)}"
        )
