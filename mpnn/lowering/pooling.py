"""The largest, or the sum, of all messages x_j in the windows of a grid is pooling."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import prod
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from mpnn.aggregate.reduction import Reduction
from mpnn.aggregate.reductions import MAX
from mpnn.graph.graph import Graph
from mpnn.lowering.images import common_padding, padded, refuse_reversed, to_image, to_rows
from mpnn.lowering.match import PROBES, foreign, is_source_field, probes, require_real
from mpnn.lowering.reading import Reading
from mpnn.lowering.rule import Lowered, NoMatchError
from mpnn.topology import AdaptiveGrid, Grid
from mpnn.topology.windows import Windows

MAX_POOL: dict[int, Callable[..., Any]] = {1: F.max_pool1d, 2: F.max_pool2d, 3: F.max_pool3d}
AVG_POOL: dict[int, Callable[..., Any]] = {1: F.avg_pool1d, 2: F.avg_pool2d, 3: F.avg_pool3d}
ADAPTIVE: dict[int, Callable[..., Any]] = {
    1: F.adaptive_avg_pool1d,
    2: F.adaptive_avg_pool2d,
    3: F.adaptive_avg_pool3d,
}


def match_pooling(reduction: Reduction) -> Callable[[Reading, Graph], Lowered]:
    """Recognise the message x_j, reduced by a maximum or a sum."""

    def match(reading: Reading, graph: Graph) -> Lowered:
        if reading.reductions != (reduction,):
            raise NoMatchError(f"the messages are not reduced by one {reduction.name}")
        if foreign(reading):
            raise NoMatchError(f"the message uses {foreign(reading)}")
        require_real(reading)
        probed = probes(reading)
        x = is_source_field(reading, probed, [reading.per_edge(rows, PROBES)[0] for rows in probed])
        if x is None:
            raise NoMatchError("the message is not a field of the source")
        pool = _adaptive_sum if isinstance(graph, AdaptiveGrid) else _largest if reduction == MAX else _sum

        def run(graph: Graph, values: Sequence[Tensor]) -> list[Tensor]:
            assert isinstance(graph, Windows)
            image = to_image(values[x.index].reshape(-1, x.size), graph.src_shape)
            return [to_rows(pool(image, graph)).reshape(-1, *reading.shapes[0])]

        return run

    return match


def fits_max_pooling(graph: Graph) -> None:
    """Require an input in every window: the maximum of none is 0 in mpnn, and -inf in the kernel."""
    assert isinstance(graph, Grid)
    fits_windows(graph)
    for extent, kernel, gap, (front, behind) in zip(
        graph.in_shape, graph.kernel_size, graph.dilation, graph.padding, strict=True
    ):
        reach = gap * (kernel - 1) + 1
        if 2 * max(front, behind) > reach or (gap > 1 and extent < gap):
            raise NoMatchError("the padding is more than half a window")


def fits_sum_pooling(graph: Graph) -> None:
    """Require a grid without dilation: the kernel has no such argument."""
    assert isinstance(graph, Grid)
    fits_windows(graph)
    if any(gap != 1 for gap in graph.dilation):
        raise NoMatchError(f"the grid has dilation {graph.dilation}")


def fits_windows(graph: Graph) -> None:
    """Require at most three dimensions, and a grid that is not reversed: PyTorch has no other kernels."""
    assert isinstance(graph, Windows)
    if len(graph.in_shape) > 3:
        raise NoMatchError(f"the grid has {len(graph.in_shape)} dimensions")
    refuse_reversed(graph)


def _largest(image: Tensor, grid: Windows) -> Tensor:
    assert isinstance(grid, Grid)
    border = common_padding(grid)
    if border is None:
        image, border = padded(image, grid, -torch.inf), (0,) * len(grid.in_shape)
    pool = MAX_POOL[len(grid.in_shape)]
    result: Tensor = pool(image, grid.kernel_size, grid.stride, border, grid.dilation)
    return result


def _sum(image: Tensor, grid: Windows) -> Tensor:
    assert isinstance(grid, Grid)
    pool, dtype = AVG_POOL[len(grid.in_shape)], image.dtype
    if image.is_cpu and image.dim() == 5 and dtype in (torch.bfloat16, torch.float16):
        image = image.float()  # there PyTorch has no such kernel in half precision
    result: Tensor = pool(padded(image, grid), grid.kernel_size, grid.stride) * prod(grid.kernel_size)
    return result.to(dtype)


def _adaptive_sum(image: Tensor, grid: Windows) -> Tensor:
    mean: Tensor = ADAPTIVE[len(grid.in_shape)](image, grid.dst_shape)
    counts = grid.in_degree[: prod(grid.dst_shape)].view(grid.dst_shape)
    return mean * counts.to(mean.dtype)
