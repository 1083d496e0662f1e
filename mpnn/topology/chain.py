"""One after the other: the topology of recurrence."""

from __future__ import annotations

import torch
from torch import Tensor

from mpnn.topology.arguments import Lengths, as_lengths
from mpnn.topology.ragged import Sequences

Device = torch.device | str | None


class Chain(Sequences):
    """Node i receives from node i - 1 of its sequence; reversed, from node i + 1."""

    def __init__(self, lengths: tuple[int, ...], device: Device) -> None:
        super().__init__(lengths, [max(n - 1, 0) for n in lengths], device=device)

    def _row(self, i: Tensor, num_src: Tensor) -> tuple[Tensor, Tensor]:
        return i - 1, (i > 0).long()

    def _num_receivers(self, j: Tensor, num_dst: Tensor) -> Tensor:
        return (j < num_dst - 1).long()

    def node_level(self) -> Tensor:
        """`[num_nodes]`: how many nodes come before each."""
        position, length, _ = self._places(self.lengths, self.lengths)
        return length - 1 - position if self.is_reversed else position


def chain(lengths: Lengths, *, backward: bool = False, device: Device = None) -> Chain:
    """Node i receives from node i - 1: a sequence, as a recurrent network reads it.

    Args:
        lengths: the number of nodes, or that of each sequence of a batch.
        backward: node i receives from node i + 1 instead; the same as `chain(lengths).reverse()`.
        device: where edges are enumerated when they are asked for.

    >>> chain([3, 2]).edge_index
    tensor([[0, 1, 3],
            [1, 2, 4]])
    >>> chain([3, 2], backward=True).edge_index
    tensor([[1, 2, 4],
            [0, 1, 3]])
    """
    forward = Chain(as_lengths("lengths", lengths), device)
    return forward.reverse() if backward else forward
