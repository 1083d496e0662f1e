"""The topology of adaptive pooling: as many windows as are wanted, spread evenly over the input."""

from __future__ import annotations

from collections.abc import Sequence
from math import gcd, prod

import torch
from torch import Tensor

from mpnn.topology.arguments import as_batch, as_each, as_shape
from mpnn.topology.windows import Shape, Windows


class AdaptiveGrid(Windows):
    """Of I inputs, output o of O sees those from ⌊o·I / O⌋ up to ⌈(o + 1)·I / O⌉, in each dimension.

    Windows may overlap by one and differ in length; `kernel_size` is the longest.
    """

    def __init__(
        self, in_shape: Shape, out_shape: Shape, batch: int, device: torch.device | str | None
    ) -> None:
        extents = list(zip(in_shape, out_shape, strict=True))
        # Only where o·I / O is no integer do windows o - 1 and o share an input.
        num_edges = prod(inputs + outputs - gcd(inputs, outputs) for inputs, outputs in extents)
        kernel_size = tuple(_longest(inputs, outputs) for inputs, outputs in extents)
        super().__init__(in_shape, out_shape, kernel_size, batch, num_edges, device=device)

    def _axis(self, dimension: int) -> Tensor:
        inputs, outputs = self.in_shape[dimension], self.out_shape[dimension]
        output = torch.arange(outputs, device=self.device)[:, None]
        seen = output * inputs // outputs + torch.arange(self.kernel_size[dimension], device=self.device)
        # seen < ceil((o + 1)·I / O), without fractions
        return torch.where(seen * outputs < (output + 1) * inputs, seen, -1)


def adaptive_grid(
    shape: int | Sequence[int],
    out_shape: int | Sequence[int],
    *,
    batch: int = 1,
    device: torch.device | str | None = None,
) -> AdaptiveGrid:
    """The edges of `torch.nn.AdaptiveAvgPool1d/2d/3d`, from the pixels of its input to those of its output.

    Args:
        shape: the extent of the input, `(height, width)` say; one integer for one dimension.
        out_shape: the extent of the output, one integer or one per dimension.
        batch: how many images there are, each with its own pixels, numbered image by image, row-major.
        device: where edges are enumerated when they are asked for.

    >>> adaptive_grid(5, 2).edge_index
    tensor([[0, 1, 2, 2, 3, 4],
            [0, 0, 0, 1, 1, 1]])
    """
    in_shape = as_shape("shape", shape)
    wanted = as_each("out_shape", out_shape, len(in_shape), at_least=1)
    return AdaptiveGrid(in_shape, wanted, as_batch(batch), device)


def _longest(inputs: int, outputs: int) -> int:
    whole, rest = divmod(inputs, outputs)
    if rest == 0:
        return whole
    # With a = rest / gcd and b = outputs / gcd, a window begins s / b behind a seam between two inputs, for
    # any s of 0, ..., b - 1, and is whole + a / b long: it touches whole + 1 inputs, one more if s + a > b.
    return whole + (1 if rest == gcd(inputs, outputs) else 2)
