"""A sum of typed linear messages on a grid is a convolution; on a reversed grid, a transposed one."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from mpnn.aggregate.reductions import SUM
from mpnn.graph.graph import Graph
from mpnn.lowering.images import common_padding, padded, to_image, to_rows
from mpnn.lowering.match import PROBES, foreign, probes, require_real, typed_matrices
from mpnn.lowering.reading import Reading
from mpnn.lowering.rule import Lowered, NoMatchError
from mpnn.topology import Grid

CONV = {1: F.conv1d, 2: F.conv2d, 3: F.conv3d}
CONV_TRANSPOSE = {1: F.conv_transpose1d, 2: F.conv_transpose2d, 3: F.conv_transpose3d}


def match_convolution(reading: Reading, graph: Graph) -> Lowered:
    """Recognise the message x_j W[type]; with groups, x_j is `[groups, channels]`."""
    assert isinstance(graph, Grid)
    if reading.reductions != (SUM,):
        raise NoMatchError("the messages are not reduced by one sum")
    if foreign(reading):
        raise NoMatchError(f"the message uses {foreign(reading)}")
    require_real(reading)
    num_types = graph.num_edge_types
    probed = probes(reading, num_types)
    messages = [reading.per_edge(rows, PROBES)[0] for rows in probed]
    found = typed_matrices(reading, probed, messages, num_types)
    if found is None:
        raise NoMatchError("the message is not x_j W[edge_type]")
    x, weight, order = found
    out_shape, dims = reading.shapes[0], order.tolist()

    def run(graph: Graph, values: Sequence[Tensor]) -> list[Tensor]:
        assert isinstance(graph, Grid)
        matrices = values[weight.index].permute(dims)
        if len(x.shape) == 1:
            matrices = matrices.unsqueeze(1)
        image = to_image(values[x.index].reshape(-1, x.size), graph.src_shape)
        convolve = _transposed if graph.is_reversed else _forward
        return [to_rows(convolve(image, matrices, graph)).reshape(-1, *out_shape)]

    return run


def fits_convolution(graph: Graph) -> None:
    """Require at most three dimensions: PyTorch has no other kernels."""
    assert isinstance(graph, Grid)
    if len(graph.in_shape) > 3:
        raise NoMatchError(f"the grid has {len(graph.in_shape)} dimensions")


def _forward(image: Tensor, matrices: Tensor, grid: Grid) -> Tensor:
    """Args: matrices `[types, groups, in, out]`."""
    _, groups, width, out = matrices.shape
    weight = matrices.permute(1, 3, 2, 0).reshape(groups * out, width, *grid.kernel_size).contiguous()
    border = common_padding(grid)
    if border is None:
        image, border = padded(image, grid), (0,) * len(grid.in_shape)
    conv = CONV[len(grid.in_shape)]
    result: Tensor = conv(image, weight, None, grid.stride, border, grid.dilation, groups)
    return result


def _transposed(image: Tensor, matrices: Tensor, grid: Grid) -> Tensor:
    _, groups, width, out = matrices.shape
    weight = matrices.permute(1, 2, 3, 0).reshape(groups * width, out, *grid.kernel_size).contiguous()
    conv = CONV_TRANSPOSE[len(grid.in_shape)]
    result: Tensor = conv(image, weight, None, grid.stride, 0, 0, groups, grid.dilation)
    for d, extent in enumerate(grid.in_shape):
        fold = _around if grid.periodic[d] else _inside
        result = fold(result, 2 + d, extent, grid.padding[d][0])
    return result


def _inside(image: Tensor, d: int, extent: int, front: int) -> Tensor:
    """Cut off the padding; inputs outside of all windows get 0."""
    missing = max(0, front + extent - image.size(d))
    return _wider(image, d, 0, missing).narrow(d, front, extent)


def _around(image: Tensor, d: int, extent: int, front: int) -> Tensor:
    """Add the padding to the opposite side, once for each time that it wraps around."""
    before = -front % extent
    behind = -(before + image.size(d)) % extent
    turns = torch.unflatten(_wider(image, d, before, behind), d, (-1, extent))
    return turns.sum(d)


def _wider(image: Tensor, d: int, before: int, behind: int) -> Tensor:
    return F.pad(image, [0, 0] * (image.dim() - 1 - d) + [before, behind])
