"""Several graphs as one: where the nodes of each begin."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from mpnn.graph.checks import Size, check_grouped
from mpnn.graph.lifetime import lasting
from mpnn.native.gpu import sent


class Batch(NamedTuple):
    """Where the nodes of each graph of a batch begin, and where the last one's end: `[num_graphs + 1]`.

    Edges need no such pointer: an edge is in the graph of its ends.

    >>> Batch.of([(2, 2), (3, 3)], torch.device("cpu")).owner(torch.tensor([0, 1, 4]))
    tensor([0, 0, 1])
    """

    src_ptr: Tensor
    dst_ptr: Tensor

    @classmethod
    def of(cls, sizes: Sequence[Size], device: torch.device) -> Batch:
        """From `(num_src, num_dst)` of each graph."""
        pointers = sent([(0, 0), *sizes], device).cumsum(0)
        return cls(*map(lasting, pointers.t().contiguous()))

    @classmethod
    def around(cls, edge_index: Tensor, sizes: Sequence[Size]) -> Batch:
        """The same, if no edge goes from one graph to another; ValueError names the first one that does."""
        batch = cls.of(sizes, edge_index.device)
        leaves, enters = batch.reverse().owner(edge_index[0]), batch.owner(edge_index[1])
        if bool((leaves != enters).any()):
            bad = int((leaves != enters).nonzero()[0])
            raise ValueError(
                f"edge {bad} goes from graph {int(leaves[bad])} to graph {int(enters[bad])} of the batch."
            )
        return batch

    @property
    def sizes(self) -> list[Size]:
        """`(num_src, num_dst)` of each graph."""
        return [(num_src, num_dst) for num_src, num_dst in torch.stack(self, 1).diff(dim=0).tolist()]

    def owner(self, destinations: Tensor) -> Tensor:
        """Which graph each of these destination nodes is of."""
        return torch.bucketize(destinations.contiguous(), self.dst_ptr[1:], right=True)

    def reverse(self) -> Batch:
        """Of the reversed graphs."""
        return Batch(self.dst_ptr, self.src_ptr)

    def to(self, device: torch.device) -> Batch:
        """On another device."""
        away = device.type != "cpu"
        return Batch(*(ptr.to(device, non_blocking=away) for ptr in self))

    def keep(self, *kept: Tensor) -> Batch:
        """Of only these source and destination nodes."""
        pointers = []
        for ptr, nodes in zip(self, kept, strict=True):
            owner = torch.bucketize(nodes.contiguous(), ptr[1:], right=True)
            check_grouped("nodes", nodes, owner)
            pointers.append(torch.searchsorted(owner, torch.arange(ptr.numel(), device=ptr.device)))
        return Batch(*map(lasting, pointers))

    def edges_of_graphs(self, dst: Tensor) -> list[Tensor]:
        """The positions of each graph's edges, in their order, from `dst [num_edges]`."""
        owner = self.owner(dst)
        counts = torch.bincount(owner, minlength=self.dst_ptr.numel() - 1)
        return list(torch.split(torch.sort(owner, stable=True).indices, counts.tolist()))


def union(edge_indices: Sequence[Tensor], sizes: Sequence[Size]) -> Tensor:
    """`edge_index` of the disjoint union: the nodes of graph k come behind those of graph k - 1."""
    device = edge_indices[0].device
    offsets = sent([(0, 0), *sizes[:-1]], device).cumsum(0)
    counts = [edge_index.size(1) for edge_index in edge_indices]
    of_edges = offsets.repeat_interleave(sent(counts, device), dim=0, output_size=sum(counts))
    return torch.cat(list(edge_indices), dim=1) + of_edges.t()
