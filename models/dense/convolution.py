"""Convolution: a matrix for every offset of the kernel, as messages on a grid.

Each class takes torch.nn's arguments, tensors and state_dict. With a `graph`, whose edge types are offsets of
the kernel, it takes features of nodes: a grid with holes, scattered pixels, any graph (then it is an R-GCN).
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from math import prod
from typing import Any, cast

import torch.nn.functional as F
from torch import Tensor, nn

from mpnn import Graph, MessagePassing
from mpnn.borrowed import output_padding, padding_of
from mpnn.functional import typed_linear
from mpnn.layer.shortcut import goes_dense, straight
from mpnn.lowering.images import to_image, to_rows
from mpnn.models.parts.checks import Check, at_least, each_at_least, ranges
from mpnn.topology import Grid, grid

Shape = tuple[int, ...]

# All calls with tensors of one shape share a grid.
_grid: Callable[..., Grid] = lru_cache(maxsize=64)(grid)


class Convolution(MessagePassing):
    """h_i = Σ_{j→i} W[type of j→i] x_j + b, the base of all convolutions.

    A type is the place in the kernel, row-major; groups of channels are blocks of W.
    """

    has_own_edges = True

    weight: Tensor
    bias: Tensor | None
    in_channels: int
    out_channels: int
    groups: int
    kernel_size: Shape
    stride: Shape
    dilation: Shape
    transposed: bool
    _reversed_padding_repeated_twice: list[int]

    def message(self, x_j: Tensor, edge_type: Tensor) -> Tensor:  # type: ignore[override]
        return typed_linear(x_j, self.matrices(), edge_type)

    def update(self, inputs: Tensor) -> Tensor:
        out = inputs.flatten(1)
        return out if self.bias is None else out + self.bias

    def matrices(self) -> Tensor:
        """`[num_types, groups, in, out]`: the weight of every place in the kernel."""
        weight = self.weight.flatten(2)
        blocks = weight.reshape(self.groups, -1, *weight.shape[1:])
        return blocks.permute(3, 0, 1, 2) if self.transposed else blocks.permute(3, 0, 2, 1)

    def on_nodes(self, x: Tensor, graph: Graph) -> Tensor:
        """`[num_src, in_channels]` -> `[num_dst, out_channels]`.

        Raises:
            ValueError: edges without types, or with more types than the kernel has places.
        """
        name, places = type(self).__name__, prod(self.kernel_size)
        if x.dim() != 2 or x.size(1) != self.in_channels:
            raise ValueError(
                f"{name} with a graph needs nodes [num_nodes, {self.in_channels}], got shape {list(x.shape)}."
            )
        if not isinstance(graph, Graph) or not graph.is_typed:
            raise ValueError(f"{name} needs a Graph whose edges have types, the places in the kernel.")
        if graph.num_edge_types > places:
            raise ValueError(
                f"the graph has {graph.num_edge_types} edge types, but the kernel {list(self.kernel_size)} "
                f"has {places} places."
            )
        out: Tensor = self.propagate(
            graph, x=(x.reshape(x.size(0), self.groups, self.in_channels // self.groups), None)
        )
        return out

    def _border(self) -> tuple[tuple[int, int], ...]:
        """The padding before and after, for each dimension."""
        pairs = padding_of(self)
        return tuple((pairs[k], pairs[k + 1]) for k in range(len(pairs) - 2, -1, -2))


def _convolve(layer: Any, x: Tensor, graph: Graph | None) -> Tensor:
    if graph is not None:
        return cast(Tensor, layer.on_nodes(x, graph))
    batch = _as_batch(layer, x)
    mode, border = layer.padding_mode, layer._border()
    if mode in ("reflect", "replicate"):
        batch = F.pad(batch, padding_of(layer), mode=mode)
        border = ((0, 0),) * len(border)
    shape = tuple(batch.shape[2:])
    topology = _grid(
        shape,
        tuple(layer.kernel_size),
        tuple(layer.stride),
        border,
        tuple(layer.dilation),
        batch=batch.size(0),
        periodic=mode == "circular",
        device=x.device,
    )
    out = to_image(layer.on_nodes(to_rows(batch), topology), topology.dst_shape)
    return out if batch.dim() == x.dim() else out.squeeze(0)


def _convolve_transposed(layer: Any, x: Tensor, output_size: list[int] | None, graph: Graph | None) -> Tensor:
    if graph is not None:
        if output_size is not None:
            raise ValueError(
                "output_size was given with a graph, but the graph's nodes set the size of the output."
            )
        return cast(Tensor, layer.on_nodes(x, graph))
    batch = _as_batch(layer, x)
    dimensions = len(layer.kernel_size)
    extra = output_padding(
        layer, x, output_size, layer.stride, layer.padding, layer.kernel_size, dimensions, layer.dilation
    )
    for more, stride, gap in zip(extra, layer.stride, layer.dilation, strict=True):
        if more >= max(stride, gap):
            raise ValueError(
                f"output_padding is {more}, but must be below the stride, {stride}, or the dilation, {gap}."
            )
    shape = tuple(
        (extent - 1) * stride - 2 * border + gap * (kernel - 1) + more + 1
        for extent, stride, border, gap, kernel, more in zip(
            batch.shape[2:],
            layer.stride,
            layer.padding,
            layer.dilation,
            layer.kernel_size,
            extra,
            strict=True,
        )
    )
    forward = _grid(
        shape,
        tuple(layer.kernel_size),
        tuple(layer.stride),
        tuple((border, border) for border in layer.padding),
        tuple(layer.dilation),
        batch=batch.size(0),
        device=x.device,
    )
    # If the output is padded by more than a stride, the grid has source nodes outside the image; their
    # features are 0.
    sides: list[int] = []
    for wanted, extent in zip(forward.out_shape, batch.shape[2:], strict=True):
        sides = [0, wanted - extent, *sides]
    out = layer.on_nodes(to_rows(F.pad(batch, sides)), forward.reverse())
    image = to_image(out, shape)
    return image if batch.dim() == x.dim() else image.squeeze(0)


def _as_batch(layer: Any, x: Tensor) -> Tensor:
    dimensions = len(layer.kernel_size)
    if x.dim() not in (dimensions + 1, dimensions + 2) or x.size(-dimensions - 1) != layer.in_channels:
        raise ValueError(
            f"{type(layer).__name__} needs [batch, {layer.in_channels}{', *' * dimensions}] or one such "
            f"image, got shape {list(x.shape)}."
        )
    return x.unsqueeze(0) if x.dim() == dimensions + 1 else x


TRANSPOSED: dict[str, Check] = {
    **dict.fromkeys(("in_channels", "out_channels", "groups"), at_least(1)),
    **dict.fromkeys(("kernel_size", "stride", "dilation"), each_at_least(1)),
    **dict.fromkeys(("padding", "output_padding"), each_at_least(0)),
}
FORWARD = TRANSPOSED | {"padding": each_at_least(0, "same", "valid")}
del FORWARD["output_padding"]


class _Forward(nn.Module):
    """torch.nn's `forward`, and the way through messages that stands for it."""

    def forward(self, input: Tensor, *, graph: Graph | None = None) -> Tensor:
        if graph is None and goes_dense(self, Convolution):
            return cast(Tensor, straight(self, "convolution", super().forward, input))
        return _convolve(self, input, graph)


class _ForwardTransposed(nn.Module):
    """The same for a transposed convolution: messages against the edges of a grid."""

    def forward(
        self, input: Tensor, output_size: list[int] | None = None, *, graph: Graph | None = None
    ) -> Tensor:
        if graph is None and goes_dense(self, Convolution):
            return cast(Tensor, straight(self, "convolution", super().forward, input, output_size))
        return _convolve_transposed(self, input, output_size, graph)


@ranges(**FORWARD)
class Conv1d(_Forward, nn.Conv1d, Convolution):
    """`torch.nn.Conv1d`, on sequences and on graphs."""


@ranges(**FORWARD)
class Conv2d(_Forward, nn.Conv2d, Convolution):
    """`torch.nn.Conv2d`, on images and on graphs.

    >>> conv = Conv2d(3, 8, kernel_size=3)
    >>> conv(torch.randn(2, 3, 5, 5)).shape
    torch.Size([2, 8, 3, 3])
    >>> grid = mpnn.topology.grid((5, 5), 3)
    >>> conv(torch.randn(25, 3), graph=grid).shape
    torch.Size([9, 8])
    """


@ranges(**FORWARD)
class Conv3d(_Forward, nn.Conv3d, Convolution):
    """`torch.nn.Conv3d`, on volumes and on graphs."""


@ranges(**TRANSPOSED)
class ConvTranspose1d(_ForwardTransposed, nn.ConvTranspose1d, Convolution):
    """`torch.nn.ConvTranspose1d`: messages against the edges of a grid."""


@ranges(**TRANSPOSED)
class ConvTranspose2d(_ForwardTransposed, nn.ConvTranspose2d, Convolution):
    """`torch.nn.ConvTranspose2d`: messages against the edges of a grid."""


@ranges(**TRANSPOSED)
class ConvTranspose3d(_ForwardTransposed, nn.ConvTranspose3d, Convolution):
    """`torch.nn.ConvTranspose3d`: messages against the edges of a grid."""
