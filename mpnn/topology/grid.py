"""The topology of convolution: which pixels each output pixel sees, and through which kernel weight."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod

import torch
from torch import Tensor

from mpnn.topology.arguments import as_batch, as_count, as_each, as_shape
from mpnn.topology.windows import Shape, Windows

PerDimension = int | Sequence[int]
Padding = tuple[tuple[int, int], ...]  # per dimension, in front and behind


class Grid(Windows):
    """Output o sees inputs o·stride - padding + k·dilation, k = 0, ..., kernel_size - 1, in each dimension.

    Inputs beyond the border do not exist, or, in a periodic dimension, come from the other side.
    """

    stride: Shape
    padding: Padding
    dilation: Shape
    periodic: tuple[bool, ...]

    def __init__(
        self,
        in_shape: Shape,
        kernel_size: Shape,
        stride: Shape,
        padding: Padding,
        dilation: Shape,
        batch: int,
        periodic: tuple[bool, ...],
        device: torch.device | str | None,
    ) -> None:
        dimensions = list(zip(in_shape, kernel_size, stride, padding, dilation, strict=True))
        out_shape = tuple(_num_outputs(d, *dimension) for d, dimension in enumerate(dimensions))
        seen = (
            outputs * dimension[1] if wraps else _num_seen(outputs, *dimension)
            for outputs, wraps, dimension in zip(out_shape, periodic, dimensions, strict=True)
        )
        super().__init__(
            in_shape,
            out_shape,
            kernel_size,
            batch,
            prod(seen),
            device=device,
            stride=stride,
            padding=padding,
            dilation=dilation,
            periodic=periodic,
        )

    def _axis(self, dimension: int) -> Tensor:
        outputs = torch.arange(self.out_shape[dimension], device=self.device)
        kernel = torch.arange(self.kernel_size[dimension], device=self.device)
        first = outputs * self.stride[dimension] - self.padding[dimension][0]
        seen = first[:, None] + kernel * self.dilation[dimension]
        extent = self.in_shape[dimension]
        if self.periodic[dimension]:
            return seen % extent
        return torch.where((seen >= 0) & (seen < extent), seen, -1)


def grid(
    shape: PerDimension,
    kernel_size: PerDimension,
    stride: PerDimension = 1,
    padding: int | str | Sequence[int | tuple[int, int]] = 0,
    dilation: PerDimension = 1,
    *,
    batch: int = 1,
    periodic: bool | Sequence[bool] = False,
    device: torch.device | str | None = None,
) -> Grid:
    """The edges of a convolution, from the pixels of its input to those of its output.

    The edge's type is the kernel weight that it uses, counted row-major, so that a convolution is a sum of
    messages `weight.flatten(2)[:, :, type] @ x_j`. Arguments mean what they do in `torch.nn.Conv1d/2d/3d`,
    and the output has the same size. A transposed convolution is `grid(...).reverse()`, where `shape` is
    that of the transposed convolution's output.

    Args:
        shape: the extent of the input, `(height, width)` say; one integer for one dimension.
        kernel_size: the extent of the kernel, like all that follow one integer or one per dimension.
        stride: the distance between outputs, in pixels of the input.
        padding: how far the kernel may reach over the border; `(in front, behind)` per dimension where the
            two differ; "same" for as many outputs as inputs; "valid" for 0.
        dilation: the distance between the pixels that a kernel sees.
        batch: how many images there are, each with its own pixels, numbered image by image, row-major.
        periodic: over the border lies the other side of the image, as under torch's
            `padding_mode="circular"`; for all dimensions or one by one.
        device: where edges are enumerated when they are asked for.

    Raises:
        TypeError, ValueError: an argument out of its range, or a kernel larger than the padded input.

    >>> same = grid((28, 28), 3, padding="same", batch=32)
    >>> same.out_shape, same.num_edges, same.num_edge_types
    ((28, 28), 215168, 9)
    >>> both = grid(3, 2)
    >>> both.edge_index.tolist(), both.edge_type.tolist()
    ([[0, 1, 1, 2], [0, 0, 1, 1]], [0, 1, 0, 1])
    """
    in_shape = as_shape("shape", shape)
    dimensions = len(in_shape)
    kernel = as_each("kernel_size", kernel_size, dimensions, at_least=1)
    steps = as_each("stride", stride, dimensions, at_least=1)
    gaps = as_each("dilation", dilation, dimensions, at_least=1)
    borders = _as_padding(padding, kernel, steps, gaps)
    wraps = tuple(map(bool, as_each("periodic", periodic, dimensions)))
    return Grid(in_shape, kernel, steps, borders, gaps, as_batch(batch), wraps, device)


def _as_padding(
    padding: int | str | Sequence[int | tuple[int, int]], kernel: Shape, stride: Shape, dilation: Shape
) -> Padding:
    if not isinstance(padding, Sequence):
        border = as_count("padding", padding)
        return ((border, border),) * len(kernel)
    if isinstance(padding, str):
        return _named_padding(padding, kernel, stride, dilation)
    if len(padding) != len(kernel):
        raise ValueError(f"padding is {padding!r}, but needs one entry per dimension, {len(kernel)}.")
    pairs = (as_each(f"padding[{d}]", one, 2) for d, one in enumerate(padding))
    return tuple((front, behind) for front, behind in pairs)


def _named_padding(padding: str, kernel: Shape, stride: Shape, dilation: Shape) -> Padding:
    if padding == "valid":
        return ((0, 0),) * len(kernel)
    if padding != "same":
        raise ValueError(f'padding is {padding!r}, but must be integers, "same" or "valid".')
    if any(step != 1 for step in stride):
        raise ValueError(f'padding is "same", which needs stride 1, but stride is {stride}.')
    # The odd one goes behind, as in torch.
    total = [gap * (extent - 1) for extent, gap in zip(kernel, dilation, strict=True)]
    return tuple((one // 2, one - one // 2) for one in total)


def _num_outputs(
    d: int, extent: int, kernel: int, stride: int, padding: tuple[int, int], dilation: int
) -> int:
    padded, reach = extent + sum(padding), dilation * (kernel - 1) + 1
    if reach > padded:
        raise ValueError(
            f"kernel_size[{d}] is {kernel}, which with dilation {dilation} spans {reach} pixels, but the "
            f"input has only {padded} with its padding."
        )
    return (padded - reach) // stride + 1


def _num_seen(
    outputs: int, extent: int, kernel: int, stride: int, padding: tuple[int, int], dilation: int
) -> int:
    """How many pairs (output, place in its window) lie on the lattice, by arithmetic alone."""
    total = 0
    for k in range(kernel):
        shift = k * dilation - padding[0]  # output o sees input o·stride + shift
        first = max(
            0, -(shift // stride)
        )  # the first o with o·stride + shift >= 0, as -(a // b) = ceil(-a / b)
        last = min(outputs - 1, (extent - 1 - shift) // stride)
        total += max(0, last - first + 1)
    return total
