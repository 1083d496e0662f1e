"""Pairs of nodes: those that are linked, and those that are not."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from mpnn import Graph
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
        forth, back = _distinct(src * n + dst), _distinct(dst * n + src)
        undirected = torch.equal(forth, back)
        low, high = (torch.minimum(src, dst), torch.maximum(src, dst)) if undirected else (src, dst)
        keys = torch.where(src == dst, -1, low * n + high)
        known = _distinct(keys[keys >= 0])
        pair = torch.where(keys >= 0, torch.searchsorted(known, keys), -1)
        return cls(torch.stack([known // max(n, 1), known % max(n, 1)]), pair, undirected)


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
    device = linked.device
    known = _distinct(linked[0] * num_nodes + linked[1])
    free = num_nodes * (num_nodes - 1) // (2 if undirected else 1) - len(known)
    if free < (count if distinct else 1):
        raise RunError(f"the graph has {free} pairs of nodes without a link, but {count} are needed")
    if free < ENOUGH * (count + len(known)):
        keys = _all_free(num_nodes, known, undirected)
        if distinct:
            chosen = torch.randperm(len(keys), generator=generator)[:count]
        else:
            chosen = torch.randint(len(keys), (count,), generator=generator)
        keys = keys[chosen.to(device)]
    else:
        keys = known.new_empty(0)
        while len(keys) < count:
            ends = torch.randint(num_nodes, (2, 2 * (count - len(keys)) + 8), generator=generator).to(device)
            ends = ends[:, ends[0] != ends[1]]
            ends = ends.sort(dim=0).values if undirected else ends
            drawn = ends[0] * num_nodes + ends[1]
            keys = torch.cat([keys, drawn[~torch.isin(drawn, known)]])
            if distinct:
                keys = _distinct(keys)
                keys = keys[torch.randperm(len(keys), generator=generator).to(device)]
        keys = keys[:count]
    return torch.stack([keys // num_nodes, keys % num_nodes])


def _all_free(num_nodes: int, known: Tensor, undirected: bool) -> Tensor:
    nodes = torch.arange(num_nodes, device=known.device)
    low, high = nodes[:, None], nodes[None, :]
    free = (low < high) if undirected else (low != high)
    keys = (low * num_nodes + high)[free]
    return keys[~torch.isin(keys, known)]


def _distinct(keys: Tensor) -> Tensor:
    values: Tensor = torch.unique(keys)
    return values
