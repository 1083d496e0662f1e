"""The nodes of a graph in the order in which a schedule updates them."""

from __future__ import annotations

from dataclasses import dataclass
from weakref import WeakKeyDictionary

import torch
from torch import Tensor

from mpnn.graph.checks import checked_positions
from mpnn.graph.graph import Graph
from mpnn.step.schedule import Schedule, places_in


@dataclass(frozen=True)
class Order:
    """The nodes that are updated, by rank; those of one rank are updated at once, in any order."""

    nodes: Tensor  # [num_updated] int64
    spans: Tensor | None  # [num_updated, 2] int64: where those of a node's rank begin and end; None if alone
    largest: int  # how many nodes have one rank, at the most
    num_ranks: int

    @property
    def is_one_by_one(self) -> bool:
        """Whether most nodes are updated alone: then a sweep is one long chain of nodes."""
        return 0 < len(self.nodes) < 2 * self.num_ranks


_known: WeakKeyDictionary[Schedule, WeakKeyDictionary[Graph, Order]] = WeakKeyDictionary()


def order_of(schedule: Schedule, graph: Graph) -> Order:
    """The order of a schedule on a graph on the CPU; found once for both.

    Raises:
        ValueError: the schedule does not fit the graph.
    """
    known = _known.setdefault(schedule, WeakKeyDictionary())
    if graph not in known:
        with torch.inference_mode(False):  # it outlives the call
            known[graph] = _find(schedule, graph)
    return known[graph]


def is_free(schedule: Schedule, graph: Graph) -> Tensor | None:
    """`[num_nodes]`, whether a node is updated; None if all are.

    Raises:
        ValueError: `clamped` names a node that is not there.
    """
    if schedule.clamped is None:
        return None
    clamped = checked_positions("clamped", schedule.clamped, graph.num_nodes, graph.device)
    free = torch.ones(graph.num_nodes, dtype=torch.bool, device=graph.device)
    free[clamped] = False
    return free


def _find(schedule: Schedule, graph: Graph) -> Order:
    rank, free = schedule.rank_of(graph), is_free(schedule, graph)
    if free is None:
        nodes = places_in(rank) if rank.dtype == torch.int64 else None
        if nodes is not None:
            return Order(nodes, None, 1, len(nodes))
    rank, nodes = rank.sort(stable=True)
    if free is not None:
        kept = free[nodes]
        rank, nodes = rank[kept], nodes[kept]
    counts = torch.unique_consecutive(rank, return_counts=True)[1]
    largest = int(counts.max()) if len(counts) else 0
    if largest <= 1:
        return Order(nodes, None, largest, len(counts))
    ends = counts.cumsum(0)
    spans = torch.stack([ends - counts, ends], 1).repeat_interleave(counts, 0).contiguous()
    return Order(nodes, spans, largest, len(counts))
