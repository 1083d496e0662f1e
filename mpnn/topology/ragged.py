"""Topologies over sequences: each node receives from an evenly spaced run of nodes of its sequence."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from mpnn.topology.implicit import Implicit


class Ragged(Implicit):
    """A batch of graphs of unequal sizes; nodes are numbered graph by graph, without padding.

    A subclass says, for a node at position i of its graph, which nodes send to it (`_row`) and to how many it
    sends (`_num_receivers`).
    """

    def __init__(
        self,
        src_lengths: tuple[int, ...],
        dst_lengths: tuple[int, ...],
        edges: Sequence[int],
        /,
        *,
        device: torch.device | str | None,
        bipartite: bool = False,
        **description: Any,
    ) -> None:
        """Args: the nodes on either side, and the number of edges, of each graph."""
        size = (sum(src_lengths), sum(dst_lengths))
        sizes = list(zip(src_lengths, dst_lengths, strict=True))
        super().__init__(size, sum(edges), device=device, bipartite=bipartite, sizes=sizes, **description)
        self._lengths = (src_lengths, dst_lengths)

    @abstractmethod
    def _row(self, i: Tensor, num_src: Tensor) -> tuple[Tensor, Tensor]:
        """Args: position, sources in the same graph. Returns: position of the first source; how many."""

    @abstractmethod
    def _num_receivers(self, j: Tensor, num_dst: Tensor) -> Tensor:
        """Args: position, destinations in the same graph. Returns: how many edges leave."""

    @property
    def _step(self) -> int:
        """The distance between neighbouring sources of a node."""
        return 1

    def _forward_edges(self) -> Tensor:
        src_lengths, dst_lengths = self._lengths
        i, num_src, start = self._places(dst_lengths, src_lengths)
        first, count = self._row(i, num_src)
        dst = torch.repeat_interleave(count, output_size=self.num_edges)
        nth = torch.arange(self.num_edges, device=self.device) - (count.cumsum(0) - count)[dst]
        return torch.stack([(start + first)[dst] + self._step * nth, dst])

    def _forward_in_degree(self) -> Tensor:
        src_lengths, dst_lengths = self._lengths
        i, num_src, _ = self._places(dst_lengths, src_lengths)
        return self._row(i, num_src)[1]

    def _forward_out_degree(self) -> Tensor:
        src_lengths, dst_lengths = self._lengths
        j, num_dst, _ = self._places(src_lengths, dst_lengths)
        return self._num_receivers(j, num_dst)

    def _places(self, own: tuple[int, ...], other: tuple[int, ...]) -> tuple[Tensor, Tensor, Tensor]:
        """Of each node: its position, how many nodes face it in its graph, and the number of the first."""
        own_lengths, other_lengths = self._tensor(own), self._tensor(other)
        graph = torch.repeat_interleave(own_lengths, output_size=sum(own))
        start = own_lengths.cumsum(0) - own_lengths
        other_start = other_lengths.cumsum(0) - other_lengths
        position = torch.arange(sum(own), device=self.device) - start[graph]
        return position, other_lengths[graph], other_start[graph]

    def _tensor(self, numbers: Sequence[int]) -> Tensor:
        return torch.tensor(numbers, dtype=torch.int64, device=self.device)


class Sequences(Ragged):
    """A ragged batch over one set of nodes."""

    lengths: tuple[int, ...]  # nodes of each graph

    def __init__(
        self,
        lengths: tuple[int, ...],
        edges: Sequence[int],
        /,
        *,
        device: torch.device | str | None,
        **description: Any,
    ) -> None:
        super().__init__(lengths, lengths, edges, device=device, lengths=lengths, **description)
