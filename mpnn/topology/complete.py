"""Every node receives from every node: the topology of attention, and of a linear layer."""

from __future__ import annotations

import torch
from torch import Tensor

from mpnn.graph.graph import Graph
from mpnn.topology.arguments import Lengths, as_lengths
from mpnn.topology.ragged import Ragged, Sequences

Device = torch.device | str | None


class Complete(Sequences):
    """Every node receives from every node of its graph, itself too unless `self_loops` is False."""

    self_loops: bool

    def __init__(self, lengths: tuple[int, ...], self_loops: bool, device: Device) -> None:
        edges = [n * (n if self_loops else n - 1) for n in lengths]
        super().__init__(lengths, edges, device=device, self_loops=self_loops)

    def _row(self, i: Tensor, num_src: Tensor) -> tuple[Tensor, Tensor]:
        return torch.zeros_like(i), num_src if self.self_loops else num_src - 1

    def _num_receivers(self, j: Tensor, num_dst: Tensor) -> Tensor:
        return num_dst if self.self_loops else num_dst - 1

    def _forward_edges(self) -> Tensor:
        edges = super()._forward_edges()
        if not self.self_loops:
            edges[0] += edges[0] >= edges[1]  # sources were counted as if i itself did not exist
        return edges

    def without_self_loops(self) -> Graph:
        """Every edge but those from a node to itself."""
        if not self.self_loops:
            return self
        bare = Complete(self.lengths, False, self.device)
        return self.memo("without_self_loops", bare.reverse if self.is_reversed else lambda: bare)


class CompleteBipartite(Ragged):
    """Every destination receives from every source of its graph."""

    src_lengths: tuple[int, ...]
    dst_lengths: tuple[int, ...]

    def __init__(self, src_lengths: tuple[int, ...], dst_lengths: tuple[int, ...], device: Device) -> None:
        super().__init__(
            src_lengths,
            dst_lengths,
            [n * m for n, m in zip(src_lengths, dst_lengths, strict=True)],
            device=device,
            bipartite=True,
            src_lengths=src_lengths,
            dst_lengths=dst_lengths,
        )

    def _row(self, i: Tensor, num_src: Tensor) -> tuple[Tensor, Tensor]:
        return torch.zeros_like(i), num_src

    def _num_receivers(self, j: Tensor, num_dst: Tensor) -> Tensor:
        return num_dst

    def _shown(self) -> dict[str, object]:
        return {}


def complete(lengths: Lengths, *, self_loops: bool = True, device: Device = None) -> Complete:
    """Every node receives from every node: self-attention, a Hopfield network.

    Args:
        lengths: the number of nodes, or that of each graph of a batch.
        self_loops: whether a node receives from itself, as in attention.
        device: where edges are enumerated when they are asked for.

    >>> complete(1_000_000)
    Complete(self_loops=True, num_nodes=1000000, num_edges=1000000000000)
    >>> complete([2, 1]).edge_index
    tensor([[0, 1, 0, 1, 2],
            [0, 0, 1, 1, 2]])
    """
    return Complete(as_lengths("lengths", lengths), bool(self_loops), device)


def complete_bipartite(
    src_lengths: Lengths, dst_lengths: Lengths, *, device: Device = None
) -> CompleteBipartite:
    """Every destination receives from every source: cross-attention, a linear layer of neurons.

    Args:
        src_lengths: the number of sources (keys, inputs), or that of each graph of a batch.
        dst_lengths: the number of destinations (queries, outputs), or that of each graph.
        device: where edges are enumerated when they are asked for.

    Raises:
        ValueError: not as many numbers of sources as of destinations.

    >>> complete_bipartite(3, 2)
    CompleteBipartite(num_nodes=(3, 2), num_edges=6)
    """
    sources, destinations = as_lengths("src_lengths", src_lengths), as_lengths("dst_lengths", dst_lengths)
    if len(sources) != len(destinations):
        raise ValueError(
            f"src_lengths is for {len(sources)} graphs, but dst_lengths for {len(destinations)}: "
            "give one of each per graph."
        )
    return CompleteBipartite(sources, destinations, device)
