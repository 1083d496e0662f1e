"""Pixels of which some are missing, in squares or in hexagons."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from mpnn import Graph
from mpnn.models.vision.places import Nodes
from mpnn.topology import grid


class Pixels(Nodes):
    """The pixels that exist of images: images with holes, scattered pixels, images of any outline.

    A window reads those of its pixels that exist. A pixel exists after a stride where one of the pixels that
    it stands for did. With every pixel, a network computes what it does on images.

    Args:
        exists: `[batch, height, width]`, true where there is a pixel. Features are `[num_nodes, channels]`,
            in the order of `exists.nonzero()`.

    Raises:
        TypeError, ValueError: `exists` is no such tensor, or an image has no pixel.

    >>> from mpnn.models import resnet20
    >>> exists = torch.rand(2, 28, 28) < 0.5
    >>> resnet20(in_channels=1)(torch.randn(int(exists.sum()), 1), on=Pixels(exists)).shape
    torch.Size([2, 10])
    """

    def __init__(self, exists: Tensor) -> None:
        super().__init__()
        if exists.dtype != torch.bool:
            raise TypeError(f"exists must be a bool tensor, got {exists.dtype}.")
        if exists.dim() != 3:
            raise ValueError(f"exists must be [batch, height, width], got shape {list(exists.shape)}.")
        if not exists.flatten(1).any(1).all():
            empty = int((~exists.flatten(1).any(1)).nonzero()[0])
            raise ValueError(f"exists has no pixel in image {empty}, but must have at least one.")
        self.exists = exists

    def strided(self, stride: int) -> Pixels:
        """The pixels that stand for squares of pixels, one of which exists."""
        return type(self)(F.max_pool2d(self.exists.float(), stride, ceil_mode=True).bool())

    def window(self, kernel_size: int, stride: int, dilation: int) -> Graph:
        """The part of a grid among pixels that exist."""
        batch, *shape = self.exists.shape
        whole = grid(
            shape,
            kernel_size,
            stride,
            dilation * (kernel_size // 2),
            dilation,
            batch=batch,
            device=self.exists.device,
        )
        if self.exists.all():
            return whole
        left = self if stride == 1 else self.strided(stride)
        return whole.subgraph((self.exists.flatten(), left.exists.flatten()))[0]

    @property
    def readout(self) -> Graph:
        """An edge from every pixel to the node of its image."""
        number = self.exists.nonzero()[:, 0]
        pixel = torch.arange(len(number), device=number.device)
        return Graph(torch.stack([pixel, number]), (len(number), self.exists.size(0)))


class Hexagons(Pixels):
    """Pixels of hexagonal shape, each with six neighbours (Hoogeboom et al., 2018, "HexaConv").

    Row q and column r of an image are the axial coordinates of a hexagon, whose neighbours are (q, r ± 1),
    (q ± 1, r), (q - 1, r + 1) and (q + 1, r - 1). A window of 3 × 3 reads seven pixels: the weights of two
    corners have no edge. One of 7 × 7 reads the 37 within three steps.

    >>> Hexagons(torch.ones(1, 3, 3, dtype=torch.bool)).window(3, 1, 1).in_degree.view(3, 3)
    tensor([[3, 5, 4],
            [5, 7, 5],
            [4, 5, 3]])
    """

    def window(self, kernel_size: int, stride: int, dilation: int) -> Graph:
        """The edges of the square window that are within `kernel_size // 2` steps between hexagons."""
        square = super().window(kernel_size, stride, dilation)
        assert square.edge_type is not None
        reach, place = kernel_size // 2, square.edge_type
        steps = (place // kernel_size - reach) + (place % kernel_size - reach)
        return square.edge_subgraph(steps.abs() <= reach)
