"""Pooling: the maximum or the mean of a window, as messages on a grid.

Each class takes torch.nn's arguments and tensors, and, given a `graph`, features of its nodes.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import lru_cache
from math import prod
from typing import Any

import torch
from torch import Tensor, nn

from mpnn import Graph, MessagePassing, as_graph
from mpnn.aggregate.reduce import scatter_known
from mpnn.graph.adjacency import Topology
from mpnn.layer.shortcut import goes_dense, straight
from mpnn.lowering.images import to_image, to_rows
from mpnn.models.parts.checks import at_least, each_at_least, ranges
from mpnn.topology import AdaptiveGrid, Grid, adaptive_grid, grid

Shape = tuple[int, ...]

# All calls with tensors of one shape share a grid.
_grid: Callable[..., Grid] = lru_cache(maxsize=64)(grid)
_adaptive_grid: Callable[..., AdaptiveGrid] = lru_cache(maxsize=64)(adaptive_grid)


WINDOW = dict.fromkeys(("kernel_size", "stride"), each_at_least(1)) | {"padding": each_at_least(0)}


class Pooling(MessagePassing):
    """h_i = max or mean of x_j over j→i."""

    has_own_edges = True

    def on_nodes(self, x: Tensor, graph: Topology) -> Tensor:
        """`[num_src, channels]` -> `[num_dst, channels]`."""
        if not isinstance(graph, Graph):
            graph = as_graph(graph, x.size(0))
        out: Tensor = self.propagate(graph, x=(x, None))
        return out


def _as_batch(layer: nn.Module, x: Tensor, dimensions: int) -> Tensor:
    if x.dim() not in (dimensions + 1, dimensions + 2):
        raise ValueError(
            f"{type(layer).__name__} needs [batch, channels{', *' * dimensions}] or one such image, got "
            f"shape {list(x.shape)}."
        )
    return x.unsqueeze(0) if x.dim() == dimensions + 1 else x


def _each(value: Any, dimensions: int) -> Shape:
    if not isinstance(value, Sequence):
        return (int(value),) * dimensions
    return tuple(value) * dimensions if len(value) == 1 else tuple(value)


def _window_grid(layer: Any, shape: Shape, batch: int, device: torch.device) -> Grid:
    dimensions = len(shape)
    kernel, stride, border = (_each(v, dimensions) for v in (layer.kernel_size, layer.stride, layer.padding))
    gaps = _each(getattr(layer, "dilation", 1), dimensions)
    pairs = []
    for extent, k, step, pad, gap in zip(shape, kernel, stride, border, gaps, strict=True):
        reach = gap * (k - 1) + 1
        if 2 * pad > reach:
            raise ValueError(f"padding is {pad}, but must be at most half the window, which spans {reach}.")
        behind = pad
        if layer.ceil_mode:
            # One more window for the inputs that are left over, unless it would begin outside the image.
            rest = (extent + 2 * pad - reach) % step
            outputs = (extent + 2 * pad - reach) // step + 1
            if rest and outputs * step < extent + pad:
                behind += step - rest
        pairs.append((pad, behind))
    return _grid(shape, kernel, stride, tuple(pairs), gaps, batch=batch, device=device)


# Maximum ------------------------------------------------------------------------------------------------


class _MaxPool(Pooling):
    """The maximum. On a tie PyTorch's kernel gives the gradient to the first, message passing divides it."""

    def __init__(self) -> None:
        super().__init__(aggr="max")


def _largest(layer: Any, x: Tensor, graph: Topology | None, dimensions: int) -> Any:
    if graph is not None:
        if layer.return_indices:
            raise ValueError(
                "return_indices is True with a graph, but must be False: indices are places in an image."
            )
        return layer.on_nodes(x, graph)
    batch = _as_batch(layer, x, dimensions)
    shape = tuple(batch.shape[2:])
    topology = _window_grid(layer, shape, batch.size(0), x.device)
    rows = to_rows(batch)
    found = layer.on_nodes(rows, topology)
    images = [to_image(found, topology.out_shape)]
    if layer.return_indices:
        images.append(to_image(_where(rows, found, topology), topology.out_shape))
    images = [image if batch.dim() == x.dim() else image.squeeze(0) for image in images]
    return tuple(images) if layer.return_indices else images[0]


def _where(rows: Tensor, found: Tensor, topology: Grid) -> Tensor:
    """The index of the first pixel of the image that has the maximum's value."""
    pixels = prod(topology.in_shape)
    pixel = (topology.src % pixels)[:, None]
    candidate = torch.where(rows[topology.src] == found[topology.dst], pixel, pixels)
    return scatter_known(candidate, topology.dst, topology.num_dst, "min")


@ranges(
    kernel_size=each_at_least(1), stride=each_at_least(1), padding=each_at_least(0), dilation=each_at_least(1)
)
class MaxPool1d(nn.MaxPool1d, _MaxPool):
    """`torch.nn.MaxPool1d`, on sequences and on graphs."""

    def forward(self, input: Tensor, *, graph: Topology | None = None) -> Any:
        if graph is None and goes_dense(self, Pooling):
            return straight(self, "max pooling", super().forward, input)
        return _largest(self, input, graph, 1)


@ranges(
    kernel_size=each_at_least(1), stride=each_at_least(1), padding=each_at_least(0), dilation=each_at_least(1)
)
class MaxPool2d(nn.MaxPool2d, _MaxPool):
    """`torch.nn.MaxPool2d`, on images and on graphs.

    >>> MaxPool2d(2)(torch.arange(16.0).view(1, 4, 4))
    tensor([[[ 5.,  7.],
             [13., 15.]]])
    """

    def forward(self, input: Tensor, *, graph: Topology | None = None) -> Any:
        if graph is None and goes_dense(self, Pooling):
            return straight(self, "max pooling", super().forward, input)
        return _largest(self, input, graph, 2)


@ranges(
    kernel_size=each_at_least(1), stride=each_at_least(1), padding=each_at_least(0), dilation=each_at_least(1)
)
class MaxPool3d(nn.MaxPool3d, _MaxPool):
    """`torch.nn.MaxPool3d`, on volumes and on graphs."""

    def forward(self, input: Tensor, *, graph: Topology | None = None) -> Any:
        if graph is None and goes_dense(self, Pooling):
            return straight(self, "max pooling", super().forward, input)
        return _largest(self, input, graph, 3)


# Mean ---------------------------------------------------------------------------------------------------


class _AvgPool(Pooling):
    def __init__(self) -> None:
        super().__init__(aggr="mean")


def _mean(layer: Any, x: Tensor, graph: Topology | None, dimensions: int) -> Tensor:
    override = getattr(layer, "divisor_override", None)
    if graph is not None:
        if override is not None:
            raise ValueError(
                "divisor_override was given with a graph, but there the divisor is the number of messages."
            )
        on_nodes: Tensor = layer.on_nodes(x, graph)
        return on_nodes
    batch = _as_batch(layer, x, dimensions)
    topology = _window_grid(layer, tuple(batch.shape[2:]), batch.size(0), x.device)
    out = to_image(layer.on_nodes(to_rows(batch), topology), topology.out_shape)
    if override is not None or layer.count_include_pad:
        one = _window_grid(layer, tuple(batch.shape[2:]), 1, x.device)
        counts = one.in_degree.view(topology.out_shape)
        sizes = torch.full_like(counts, override) if override is not None else _window_sizes(layer, topology)
        out = out * (counts.to(out.dtype) / sizes)
    return out if batch.dim() == x.dim() else out.squeeze(0)


def _window_sizes(layer: Any, topology: Grid) -> Tensor:
    """The places of each window on the image and its padding, without those that `ceil_mode` adds."""
    sizes = torch.ones((), dtype=torch.int64, device=topology.device)
    for d, extent in enumerate(topology.in_shape):
        front = topology.padding[d][0]
        first = torch.arange(topology.out_shape[d], device=topology.device) * topology.stride[d] - front
        last = (first + topology.kernel_size[d]).clamp(max=extent + front)
        sizes = sizes[..., None] * (last - first)
    return sizes


@ranges(**WINDOW)
class AvgPool1d(nn.AvgPool1d, _AvgPool):
    """`torch.nn.AvgPool1d`, on sequences and on graphs."""

    def forward(self, input: Tensor, *, graph: Topology | None = None) -> Tensor:
        if graph is None and goes_dense(self, Pooling):
            return straight(self, "average pooling", super().forward, input)
        return _mean(self, input, graph, 1)


@ranges(
    kernel_size=each_at_least(1),
    stride=each_at_least(1),
    padding=each_at_least(0),
    divisor_override=at_least(1),
)
class AvgPool2d(nn.AvgPool2d, _AvgPool):
    """`torch.nn.AvgPool2d`, on images and on graphs."""

    def forward(self, input: Tensor, *, graph: Topology | None = None) -> Tensor:
        if graph is None and goes_dense(self, Pooling):
            return straight(self, "average pooling", super().forward, input)
        return _mean(self, input, graph, 2)


@ranges(
    kernel_size=each_at_least(1),
    stride=each_at_least(1),
    padding=each_at_least(0),
    divisor_override=at_least(1),
)
class AvgPool3d(nn.AvgPool3d, _AvgPool):
    """`torch.nn.AvgPool3d`, on volumes and on graphs."""

    def forward(self, input: Tensor, *, graph: Topology | None = None) -> Tensor:
        if graph is None and goes_dense(self, Pooling):
            return straight(self, "average pooling", super().forward, input)
        return _mean(self, input, graph, 3)


def _adaptive_mean(layer: Any, x: Tensor, graph: Topology | None, dimensions: int) -> Tensor:
    if graph is not None:
        on_nodes: Tensor = layer.on_nodes(x, graph)
        return on_nodes
    batch = _as_batch(layer, x, dimensions)
    shape, wanted = tuple(batch.shape[2:]), layer.output_size
    each = wanted if isinstance(wanted, Sequence) else (wanted,) * dimensions
    sizes = tuple(extent if size is None else size for extent, size in zip(shape, each, strict=True))
    topology = _adaptive_grid(shape, sizes, batch=batch.size(0), device=x.device)
    out = to_image(layer.on_nodes(to_rows(batch), topology), sizes)
    return out if batch.dim() == x.dim() else out.squeeze(0)


@ranges(output_size=each_at_least(1, None))
class AdaptiveAvgPool1d(nn.AdaptiveAvgPool1d, _AvgPool):
    """`torch.nn.AdaptiveAvgPool1d`, on sequences and on graphs."""

    def forward(self, input: Tensor, *, graph: Topology | None = None) -> Tensor:
        if graph is None and goes_dense(self, Pooling):
            return straight(self, "adaptive pooling", super().forward, input)
        return _adaptive_mean(self, input, graph, 1)


@ranges(output_size=each_at_least(1, None))
class AdaptiveAvgPool2d(nn.AdaptiveAvgPool2d, _AvgPool):
    """`torch.nn.AdaptiveAvgPool2d`, on images and on graphs."""

    def forward(self, input: Tensor, *, graph: Topology | None = None) -> Tensor:
        if graph is None and goes_dense(self, Pooling):
            return straight(self, "adaptive pooling", super().forward, input)
        return _adaptive_mean(self, input, graph, 2)


@ranges(output_size=each_at_least(1, None))
class AdaptiveAvgPool3d(nn.AdaptiveAvgPool3d, _AvgPool):
    """`torch.nn.AdaptiveAvgPool3d`, on volumes and on graphs."""

    def forward(self, input: Tensor, *, graph: Topology | None = None) -> Tensor:
        if graph is None and goes_dense(self, Pooling):
            return straight(self, "adaptive pooling", super().forward, input)
        return _adaptive_mean(self, input, graph, 3)
