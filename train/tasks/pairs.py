"""Pairs of nodes: those that are linked, and those that are not."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from mpnn import Graph
from mpnn.graph.distinct import distinct_rows, keys
from mpnn.train.errors import RunError

ENOUGH = 4  # times as many pairs as wanted must be free for drawing and looking to be worth it


class Pairs(NamedTuple):
    """The links of a graph, each once.

    Args:
        ends: `[2, num_pairs]`; of a graph with both directions of each edge, those from the lower node up.
        pair: `[num_edges]`: which pair each edge belongs to, -1 for self loops.
        undirected: whether every edge is there in both directions.
    """

    ends: Tensor
    pair: Tensor
    undirected: bool

    @classmethod
    def of(cls, graph: Graph) -> Pairs:
        """Find the links of a graph; self loops and repetitions are none."""
        n, (src, dst) = graph.num_nodes, graph.edge_index
        forth, back = keys((n, n), (src, dst), (dst, src))
        undirected = torch.equal(torch.unique(forth), torch.unique(back))
        ends = graph.edge_index.sort(dim=0).values if undirected else graph.edge_index
        apart = (src != dst).nonzero().squeeze(1)
        known, which = distinct_rows(ends[:, apart], (n, n))
        return cls(torch.stack(known), torch.full_like(src, -1).index_copy(0, apart, which), undirected)


def draw_unlinked(
    num_nodes: int,
    linked: Tensor,
    count: int,
    *,
    undirected: bool,
    generator: torch.Generator | None = None,
    distinct: bool = False,
) -> Tensor:
    """Draw pairs of two nodes that are not linked, `[2, count]`.

    Args:
        num_nodes: how many nodes there are.
        linked: `[2, num_pairs]`, the pairs not to draw.
        count: how many to draw.
        undirected: whether a pair is the same in both directions; then the lower node comes first.
        generator: of the numbers; torch's own by default.
        distinct: whether no pair may come twice.

    Raises:
        RunError: there are too few such pairs.
    """
    device, size = linked.device, (num_nodes, num_nodes)
    known = torch.stack(distinct_rows(linked, size)[0])
    num_known = known.size(1)
    free = num_nodes * (num_nodes - 1) // (2 if undirected else 1) - num_known
    if free < (count if distinct else 1):
        raise RunError(f"the graph has {free} pairs of nodes without a link, but {count} are needed")
    if free < ENOUGH * (count + num_known):
        pairs = _all_free(num_nodes, known, undirected)
        if distinct:
            chosen = torch.randperm(pairs.size(1), generator=generator)[:count]
        else:
            chosen = torch.randint(pairs.size(1), (count,), generator=generator)
        return pairs[:, chosen.to(device)]
    pairs = known[:, :0]
    while pairs.size(1) < count:
        missing = count - pairs.size(1)
        ends = torch.randint(num_nodes, (2, 2 * missing + 8), generator=generator).to(device)
        ends = ends[:, ends[0] != ends[1]]
        ends = ends.sort(dim=0).values if undirected else ends
        pairs = torch.cat([pairs, _without(ends, known, size)], dim=1)
        if distinct:
            pairs = torch.stack(distinct_rows(pairs, size)[0])
            pairs = pairs[:, torch.randperm(pairs.size(1), generator=generator).to(device)]
    return pairs[:, :count]


def _all_free(num_nodes: int, known: Tensor, undirected: bool) -> Tensor:
    nodes = torch.arange(num_nodes, device=known.device)
    low, high = nodes[:, None], nodes[None, :]
    free = ((low < high) if undirected else (low != high)).nonzero().t()
    return _without(free, known, (num_nodes, num_nodes))


def _without(pairs: Tensor, known: Tensor, size: tuple[int, int]) -> Tensor:
    found, taken = keys(size, pairs, known)
    return pairs[:, ~torch.isin(found, taken)]
