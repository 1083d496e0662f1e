"""Converts node features of a grid to the images that convolution and pooling kernels take, and back."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from mpnn.lowering.rule import NoMatchError
from mpnn.topology import Grid
from mpnn.topology.windows import Windows

Shape = tuple[int, ...]


def to_image(rows: Tensor, shape: Shape) -> Tensor:
    """`[batch * pixels, channels]` -> `[batch, channels, *shape]`, a view."""
    return rows.reshape(-1, *shape, rows.size(-1)).movedim(-1, 1)


def to_rows(image: Tensor) -> Tensor:
    """`[batch, channels, *shape]` -> `[batch * pixels, channels]`."""
    return image.movedim(1, -1).reshape(-1, image.size(1))


def common_padding(grid: Grid) -> Shape | None:
    """The padding that a kernel has an argument for: equal on both sides, and not periodic."""
    if any(grid.periodic) or any(front != behind for front, behind in grid.padding):
        return None
    return tuple(front for front, _ in grid.padding)


def padded(image: Tensor, grid: Grid, fill: float = 0.0) -> Tensor:
    """An image with its padding: zeros, or in periodic dimensions the opposite side."""
    for d, ((front, behind), wraps) in enumerate(zip(grid.padding, grid.periodic, strict=True)):
        if not wraps:
            sides = [0, 0] * (image.dim() - 3 - d) + [front, behind]
            image = F.pad(image, sides, value=fill)
        elif front or behind:
            around = torch.arange(-front, image.size(2 + d) + behind, device=image.device)
            image = image.index_select(2 + d, around % image.size(2 + d))
    return image


def refuse_reversed(grid: Windows) -> None:
    """Raise for a reversed grid: for kernels without a transposed form."""
    if grid.is_reversed:
        raise NoMatchError("the grid is reversed")
