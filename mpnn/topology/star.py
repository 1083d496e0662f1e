"""One node in the middle: the topology of a readout, and of a virtual node."""

from __future__ import annotations

import torch
from torch import Tensor

from mpnn.topology.arguments import Lengths, as_lengths
from mpnn.topology.ragged import Sequences

Device = torch.device | str | None


class Star(Sequences):
    """Node 0 of each graph receives from all others; with `both_ways` it sends to them, too."""

    both_ways: bool

    def __init__(self, lengths: tuple[int, ...], both_ways: bool, device: Device) -> None:
        edges = [(n - 1) * (1 + both_ways) for n in lengths]
        super().__init__(lengths, edges, device=device, both_ways=both_ways)

    def _row(self, i: Tensor, num_src: Tensor) -> tuple[Tensor, Tensor]:
        is_centre = i == 0
        return is_centre.long(), torch.where(is_centre, num_src - 1, int(self.both_ways))

    def _num_receivers(self, j: Tensor, num_dst: Tensor) -> Tensor:
        return torch.where(j == 0, (num_dst - 1) * self.both_ways, 1)


def star(leaves: Lengths, *, both_ways: bool = False, device: Device = None) -> Star:
    """Node 0 receives from its leaves 1, 2, ...; `star(n).reverse()` sends from the centre to the leaves.

    Args:
        leaves: the number of leaves, or that of each star of a batch.
        both_ways: the leaves receive from the centre, too.
        device: where edges are enumerated when they are asked for.

    >>> star(3).edge_index
    tensor([[1, 2, 3],
            [0, 0, 0]])
    """
    lengths = tuple(1 + n for n in as_lengths("leaves", leaves))
    return Star(lengths, bool(both_ways), device)
