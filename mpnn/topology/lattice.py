"""Units side by side on a map: the topology of self-organising maps."""

from __future__ import annotations

from math import prod, sqrt

import torch
from torch import Tensor

from mpnn.topology.arguments import as_shape
from mpnn.topology.implicit import Implicit

Shape = tuple[int, ...]


class Lattice(Implicit):
    """Units in rows, numbered row-major; each receives from its nearest neighbours.

    On a hexagonal lattice every odd row is shifted by half a unit to the right, and every unit has six
    neighbours; on a rectangular one, two per dimension.
    """

    shape: Shape
    hexagonal: bool
    torus: bool

    def __init__(self, shape: Shape, hexagonal: bool, torus: bool, device: torch.device | str | None) -> None:
        num_nodes = prod(shape)
        super().__init__(
            (num_nodes, num_nodes),
            _num_hexagonal(shape, torus) if hexagonal else _num_rectangular(shape, torus),
            device=device,
            shape=shape,
            hexagonal=hexagonal,
            torus=torus,
        )

    # Where the units are ------------------------------------------------------------------------------

    @property
    def positions(self) -> Tensor:
        """`[num_nodes, dimensions]`: coordinates at which neighbours are at distance 1."""
        return self.memo("positions", self._place)

    def distances(self, units: Tensor | None = None) -> Tensor:
        """How far some units are from all units, on a torus the shortest way round.

        Args:
            units: integer positions `[num_units]`; by default all.

        Returns:
            `[num_units, num_nodes]`, Euclidean.

        >>> lattice((1, 4), torus=True).distances(torch.tensor([0]))
        tensor([[0., 1., 2., 1.]])
        """
        return self.offsets(units).square().sum(-1).sqrt()

    def offsets(self, units: Tensor | None = None, dtype: torch.dtype | None = None) -> Tensor:
        """How far some units are from all units along each dimension, on a torus the shortest way round.

        Args:
            units: integer positions `[num_units]`; by default all.
            dtype: of the result, by default PyTorch's; the rows of a hexagonal lattice are √3/2 away.

        Returns:
            `[num_units, num_nodes, dimensions]`, from 0 on.

        >>> lattice((2, 4), torus=True).offsets(torch.tensor([0]))[0, -1]
        tensor([1., 1.])
        """
        places = self.positions if dtype is None else self._place(dtype)
        own = places if units is None else places[units]
        offset = (own[:, None] - places[None]).abs()
        if self.torus:
            period = own.new_tensor(self.shape) * self._spacing(own.dtype)
            offset = torch.minimum(offset, period - offset)
        return offset

    def _place(self, dtype: torch.dtype | None = None) -> Tensor:
        dtype = dtype or torch.get_default_dtype()
        coordinates = self._coordinates().to(dtype)
        if self.hexagonal:
            coordinates[:, 1] += self._coordinates()[:, 0] % 2 / 2
        return coordinates * self._spacing(dtype)

    def _spacing(self, dtype: torch.dtype) -> Tensor:
        spacing = [sqrt(3) / 2, 1.0] if self.hexagonal else [1.0] * len(self.shape)
        return torch.tensor(spacing, device=self.device, dtype=dtype)

    def _coordinates(self) -> Tensor:
        axes = [torch.arange(extent, device=self.device) for extent in self.shape]
        return torch.stack(torch.meshgrid(*axes, indexing="ij"), dim=-1).reshape(-1, len(self.shape))

    # Who sends to whom -----------------------------------------------------------------------------------

    def _steps(self) -> Tensor:
        """`[num_nodes or 1, directions, dimensions]`: the way from a unit to each of its neighbours."""
        if self.hexagonal:
            even = [[-1, -1], [-1, 0], [0, -1], [0, 1], [1, -1], [1, 0]]
            odd = [[-1, 0], [-1, 1], [0, -1], [0, 1], [1, 0], [1, 1]]
            return torch.tensor([even, odd], device=self.device)[self._coordinates()[:, 0] % 2]
        ahead = torch.eye(len(self.shape), dtype=torch.int64, device=self.device)
        return torch.cat([-ahead, ahead.flip(0)])[None]

    def _wraps(self) -> Tensor:
        """`[dimensions]`: where it goes on at the other side; two units in a row are neighbours anyway."""
        return torch.tensor([self.torus and extent > 2 for extent in self.shape], device=self.device)

    def _forward_edges(self) -> Tensor:
        extents = torch.tensor(self.shape, device=self.device)
        neighbours = self._coordinates()[:, None] + self._steps()
        neighbours = torch.where(self._wraps(), neighbours % extents, neighbours)
        exists = ((neighbours >= 0) & (neighbours < extents)).all(-1)
        source = torch.zeros_like(neighbours[..., 0])
        for extent, coordinate in zip(self.shape, neighbours.unbind(-1), strict=True):
            source = source * extent + coordinate
        dst = exists.nonzero()[:, 0]
        return torch.stack([source[exists], dst])

    def _forward_in_degree(self) -> Tensor:
        coordinates = self._coordinates()
        extents = torch.tensor(self.shape, device=self.device)
        along = ((coordinates > 0) | self._wraps()).long() + ((coordinates < extents - 1) | self._wraps())
        if not self.hexagonal:
            return along.sum(1)
        # Two neighbours in each adjacent row, but for a unit that sticks out at the side.
        row, column = coordinates.unbind(1)
        sticks_out = torch.where(row % 2 == 0, column == 0, column == self.shape[1] - 1)
        return along[:, 1] + along[:, 0] * (2 - (sticks_out & ~self._wraps()[1]).long())

    def _forward_out_degree(self) -> Tensor:
        return self._forward_in_degree()


def lattice(
    shape: int | tuple[int, ...],
    *,
    hexagonal: bool = False,
    torus: bool = False,
    device: torch.device | str | None = None,
) -> Lattice:
    """Every unit receives from its nearest neighbours and sends to them (Kohonen, 1982).

    Args:
        shape: the number of units in each dimension; one integer for a line.
        hexagonal: six neighbours in the plane, instead of two per dimension.
        torus: the units of one edge are neighbours of those of the opposite one, in dimensions of more than
            two units; a hexagonal torus needs an even number of rows, and at least 4 × 3 units.
        device: where edges are enumerated when they are asked for.

    Raises:
        ValueError: a hexagonal lattice that is not two-dimensional, or whose edges do not fit together.

    >>> lattice((3, 4)).num_edges, lattice((4, 4), hexagonal=True, torus=True).num_edges
    (34, 96)
    """
    extents = as_shape("shape", shape)
    if hexagonal and len(extents) != 2:
        raise ValueError(f"shape is {extents}, but a hexagonal lattice has rows and columns.")
    if hexagonal and torus and (extents[0] % 2 or extents[0] < 4 or extents[1] < 3):
        raise ValueError(
            f"shape is {extents}, but a hexagonal torus needs an even number of rows, at least 4, and at "
            "least 3 columns."
        )
    return Lattice(extents, bool(hexagonal), bool(torus), device)


def _num_rectangular(shape: Shape, torus: bool) -> int:
    pairs = [extent if torus and extent > 2 else extent - 1 for extent in shape]
    return sum(2 * num * (prod(shape) // extent) for num, extent in zip(pairs, shape, strict=True))


def _num_hexagonal(shape: Shape, torus: bool) -> int:
    rows, columns = shape
    if torus:
        return 6 * rows * columns
    return 2 * (rows * (columns - 1) + (rows - 1) * (2 * columns - 1))
