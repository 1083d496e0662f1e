"""Points in the plane: the places of a window are offsets, rounded."""

from __future__ import annotations

import numpy as np
import torch
from scipy.spatial import cKDTree
from torch import Tensor

from mpnn import Graph
from mpnn.models.parts.checks import check_number
from mpnn.models.vision.places import Nodes


class Points(Nodes):
    """Points in the plane, wherever they lie: pixels of an irregular camera, a cloud.

    A window of 3 × 3 places reads the nine nearest points within it, and a point's place is its offset from
    the middle, in units of `spacing`, rounded. A stride of s keeps one point in every square of s by s units,
    the one nearest to the corner with the smallest coordinates, where the pixel that an image keeps lies. On
    the points of a lattice, row and column times the spacing, a network computes what it does on images.

    Args:
        positions: `[num_points, 2]`.
        spacing: the usual distance of neighbours.
        image: `[num_points]`, the number of the image that each point belongs to; by default all to one.

    Raises:
        TypeError, ValueError: tensors of other shapes or types, positions that are not finite, a spacing that
            is not above 0, or an image without points.

    >>> from mpnn.models import resnet20
    >>> positions = 10 * torch.rand(100, 2)
    >>> resnet20(in_channels=1)(torch.randn(100, 1), on=Points(positions)).shape
    torch.Size([1, 10])
    """

    def __init__(self, positions: Tensor, spacing: float = 1.0, image: Tensor | None = None) -> None:
        super().__init__()
        if positions.dim() != 2 or positions.size(1) != 2 or not positions.size(0):
            raise ValueError(f"positions must be [num_points, 2], got shape {list(positions.shape)}.")
        if not positions.is_floating_point() or not positions.isfinite().all():
            raise ValueError(f"positions must be finite floating-point numbers, got {positions.dtype}.")
        check_number("spacing", spacing)
        if spacing <= 0:
            raise ValueError(f"spacing must be above 0, got {spacing}.")
        if image is None:
            image = torch.zeros(len(positions), dtype=torch.int64, device=positions.device)
        if image.shape != positions.shape[:1] or image.dtype != torch.int64:
            raise ValueError(
                f"image must be int64 [{len(positions)}], a number for each point, got {image.dtype} "
                f"{list(image.shape)}."
            )
        if int(image.min()) < 0 or int(image.max()) + 1 != len(torch.unique(image)):
            raise ValueError("image must have every number from 0 to its largest: every image has points.")
        self.positions, self.spacing, self.number = positions, spacing, image

    def _kept(self, stride: int) -> Tensor:
        """Which points a stride keeps, in the order of their images and squares."""
        side = stride * self.spacing
        # Of a lattice, the squares are of the pixels 0 to s - 1, s to 2s - 1 and so on.
        square = (self.positions / side + 0.5 / stride).floor()
        far = (self.positions - square * side).square().sum(1)
        key = torch.cat([self.number[:, None], square.to(torch.int64)], 1)
        _, member = torch.unique(key, dim=0, return_inverse=True)
        order = far.argsort(stable=True)
        order = order[member[order].argsort(stable=True)]
        first = torch.ones_like(order, dtype=torch.bool)
        first[1:] = member[order[1:]] != member[order[:-1]]
        return order[first]

    def strided(self, stride: int) -> Points:
        """The points that are kept."""
        kept = self._kept(stride)
        return Points(self.positions[kept], self.spacing * stride, self.number[kept])

    def window(self, kernel_size: int, stride: int, dilation: int) -> Graph:
        """Edges from the nearest points in the window, as many as it has places."""
        kept = self._kept(stride).cpu().numpy() if stride > 1 else np.arange(len(self.positions))
        unit, middle = self.spacing * dilation, kernel_size // 2
        # Images lie so far from each other that no window reaches from one to the next.
        apart = 2 * kernel_size * unit + float(self.positions.max() - self.positions.min())
        shift = torch.stack([self.number * apart, torch.zeros_like(self.number)], 1)
        positions = (self.positions.double() + shift).cpu().numpy()
        _, near = cKDTree(positions).query(
            positions[kept],
            k=np.arange(1, kernel_size**2 + 1),
            p=np.inf,
            distance_upper_bound=unit * kernel_size / 2,
        )
        dst, rank = np.nonzero(near < len(positions))
        src = near[dst, rank]
        offset = (positions[src] - positions[kept][dst]) / unit
        row, column = np.clip(np.rint(offset).astype(np.int64) + middle, 0, kernel_size - 1).T
        edges = torch.from_numpy(np.stack([src, dst])).to(self.positions.device)
        places = torch.from_numpy(row * kernel_size + column).to(self.positions.device)
        size = len(positions), len(kept)
        return Graph(edges, size, places, num_edge_types=kernel_size**2)

    @property
    def readout(self) -> Graph:
        """An edge from every point to the node of its image."""
        point = torch.arange(len(self.number), device=self.number.device)
        return Graph(torch.stack([point, self.number]), (len(point), int(self.number.max()) + 1))
