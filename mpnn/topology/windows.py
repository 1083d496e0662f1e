"""What convolution and pooling share: every output sees a box of inputs, dimension by dimension."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterable
from math import prod
from typing import Any

import torch
from torch import Tensor

from mpnn.topology.implicit import Implicit

Shape = tuple[int, ...]


class Windows(Implicit):
    """Bipartite, from an input lattice to an output lattice; an output's window is a product of intervals.

    Nodes are numbered image by image, row-major: features `[batch, channels, height, width]` become
    `x.movedim(1, -1).reshape(-1, channels)`. The type of an edge is the place in the window, row-major, as
    the last dimensions of a `torch.nn.ConvNd` weight are when flattened. Edges are enumerated by output,
    and by type within one.

    A subclass says which inputs an output sees along one dimension (`_axis`).
    """

    in_shape: Shape
    out_shape: Shape
    kernel_size: Shape

    def __init__(
        self,
        in_shape: Shape,
        out_shape: Shape,
        kernel_size: Shape,
        batch: int,
        num_edges: int,
        /,
        *,
        device: torch.device | str | None,
        **description: Any,
    ) -> None:
        """Args: among them the edges of one image, and whatever else describes the subclass."""
        super().__init__(
            (batch * prod(in_shape), batch * prod(out_shape)),
            batch * num_edges,
            device=device,
            bipartite=True,
            sizes=[(prod(in_shape), prod(out_shape))] * batch,
            num_edge_types=prod(kernel_size),
            in_shape=in_shape,
            out_shape=out_shape,
            kernel_size=kernel_size,
            **description,
        )

    @abstractmethod
    def _axis(self, dimension: int) -> Tensor:
        """`[out, kernel]`: which input every output sees at every place of its window; -1 for none."""

    @property
    def src_shape(self) -> Shape:
        """The lattice that sends."""
        return self.out_shape if self.is_reversed else self.in_shape

    @property
    def dst_shape(self) -> Shape:
        """The lattice that receives."""
        return self.in_shape if self.is_reversed else self.out_shape

    def _seen(self) -> list[Tensor]:
        return self.memo("seen", lambda: [self._axis(d) for d in range(len(self.in_shape))])

    def _places(self) -> Tensor:
        """`[edges of an image]`: where each edge is in a table of all outputs by all places of a window."""

        def compute() -> Tensor:
            inside = torch.ones((), dtype=torch.bool, device=self.device)
            for axis in self._broadcast(seen >= 0 for seen in self._seen()):
                inside = inside & axis
            return inside.flatten().nonzero().squeeze(1)

        return self.memo("places", compute)

    def _broadcast(self, axes: Iterable[Tensor]) -> list[Tensor]:
        # Each [out, kernel] becomes [.., out, .., 1, .., kernel, ..], to be combined by broadcasting.
        dimensions = len(self.in_shape)
        shaped = []
        for d, axis in enumerate(axes):
            shape = [1] * (2 * dimensions)
            shape[d], shape[dimensions + d] = axis.shape
            shaped.append(axis.reshape(shape))
        return shaped

    def _forward_edges(self) -> Tensor:
        source = torch.zeros((), dtype=torch.int64, device=self.device)
        for axis, extent in zip(self._broadcast(self._seen()), self.in_shape, strict=True):
            source = source * extent + axis
        one = torch.stack([source.flatten()[self._places()], self._places() // self.num_edge_types])
        image = torch.arange(self.num_graphs, device=self.device)
        inputs, outputs = prod(self.in_shape), prod(self.out_shape)
        starts = torch.stack([image * inputs, image * outputs])
        return (starts[:, :, None] + one[:, None, :]).flatten(1)

    def _forward_types(self) -> Tensor:
        return (self._places() % self.num_edge_types).repeat(self.num_graphs)

    def _forward_in_degree(self) -> Tensor:
        return self._product([(seen >= 0).sum(1) for seen in self._seen()])

    def _forward_out_degree(self) -> Tensor:
        return self._product(
            [
                torch.bincount(seen[seen >= 0], minlength=extent)
                for seen, extent in zip(self._seen(), self.in_shape, strict=True)
            ]
        )

    def _product(self, counts: list[Tensor]) -> Tensor:
        degree = torch.ones((), dtype=torch.int64, device=self.device)
        for count in counts:
            degree = degree[..., None] * count
        return degree.flatten().repeat(self.num_graphs)
