"""A sample whose sizes are known before it is drawn: the host does not wait for a GPU to tell them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from mpnn.graph.graph import Graph
from mpnn.sampling.sample import Sample, draw, seed_key


def padded_sample(graph: Graph, nodes: Tensor, fanouts: Sequence[int], seed: int | None) -> Sample:
    """See `mpnn.sample_neighbors`; the arguments are known to be good."""
    start = torch.randint(2**63 - 1, (), device=graph.device) if seed is None else seed
    known, hops = _Numbers(nodes, graph.num_nodes), []
    for k, fanout in enumerate(fanouts):
        hops.append(_Hop.of(graph, known, fanout, seed_key(start + k)))
    empty = nodes.new_empty(0)
    edges = torch.cat([empty, *(hop.edges for hop in hops)])
    drawn = torch.cat([empty.bool(), *(hop.drawn for hop in hops)])
    with_loops, without = (
        torch.cat([empty.expand(2, 0), *(hop.ends(known, loops=loops) for hop in hops)], dim=1)
        for loops in (True, False)
    )
    around = torch.cat(known.nodes)
    part = graph.derive(with_loops, edges, (around, around), batch=None, fleeting=True, loopless=without)
    return Sample(part, around, edges, nodes.numel(), torch.cat(known.there), drawn)


class _Hop(NamedTuple):
    """What the newest nodes receive: an edge for each place of their fanouts, drawn or padding."""

    sources: Tensor  # nodes of the whole graph
    receivers: Tensor  # numbers of the sample's nodes
    drawn: Tensor  # which edges are no padding
    edges: Tensor
    last: int  # the number of the last node that came by it, which is padding

    @classmethod
    def of(cls, graph: Graph, known: _Numbers, fanout: int, key: int | Tensor) -> _Hop:
        """Draw the edges, and number the nodes that are new."""
        rows, frontier, there = graph.by_dst, known.nodes[-1], known.there[-1]
        begin, end = (_entries(rows.indptr, frontier + k) for k in range(2))
        places, drawn = draw((end - begin).where(there, 0), frontier, fanout, key)
        slots, drawn = (begin[:, None] + places).where(drawn, 0).flatten(), drawn.flatten()
        sources = _entries(rows.indices, slots).where(drawn, known.padding)
        first, count = known.first, frontier.numel()
        receivers = torch.arange(first, first + count, device=slots.device)
        known.add(sources)
        return cls(
            sources,
            receivers[:, None].expand(-1, fanout).flatten(),
            drawn,
            _entries(rows.edge_ids, slots).where(drawn, 0),
            known.first + sources.numel(),
        )

    def ends(self, number_of: Callable[[Tensor], Tensor], *, loops: bool) -> Tensor:
        """`edge_index` of its edges; padding, and loops if they are to go, lead through the nodes of padding.

        They are one path, from its last node backwards: there are more nodes of padding than such edges,
        because each new node came by an edge that was drawn, and that is no loop.
        """
        sources = number_of(self.sources)
        stays = self.drawn if loops else self.drawn & (sources != self.receivers)
        place = self.last - (~stays).cumsum(0)
        return torch.stack([sources.where(stays, place + 1), self.receivers.where(stays, place)])


class _Numbers:
    """The sample's nodes as they came, with padding, and their numbers."""

    def __init__(self, nodes: Tensor, padding: int) -> None:
        self.nodes, self.there, self.first = [nodes], [torch.ones_like(nodes, dtype=torch.bool)], 0
        self.padding = padding  # stands in place of a node, behind all of them
        self._sorted, self._number = torch.sort(nodes)

    def add(self, found: Tensor) -> None:
        """Number the nodes among these that are new, in their order, and at least one of padding."""
        found = found.sort().values
        new = found < self.padding
        new[1:] &= found[1:] != found[:-1]
        new &= _entries(self._sorted, torch.searchsorted(self._sorted, found)) != found
        room, self.first = found.numel() + 1, self.first + self.nodes[-1].numel()
        place = torch.where(new, new.cumsum(0) - 1, room)  # the others beyond the end, which is cut off
        added = found.new_full((room + 1,), self.padding).scatter(0, place, found)[:room]
        number = torch.arange(self.first, self.first + room, device=found.device)
        self._sorted, order = torch.sort(torch.cat([self._sorted, added]))
        self._number = torch.cat([self._number, number])[order]
        self.there.append(added < self.padding)
        self.nodes.append(added.where(self.there[-1], 0))

    def __call__(self, nodes: Tensor) -> Tensor:
        return _entries(self._number, torch.searchsorted(self._sorted, nodes))


def _entries(values: Tensor, places: Tensor) -> Tensor:
    """`values[places]`, the last one for a place beyond the end; -1 where there are no values."""
    if not values.numel():
        return torch.full_like(places, -1)
    return values[places.clamp(max=values.numel() - 1)].long()
