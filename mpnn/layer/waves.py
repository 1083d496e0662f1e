"""How a schedule is run: a sweep is a few waves, each of nodes that wait for none of the same wave.

The edges j -> i with `rank[j] < rank[i]` make a directed acyclic graph, and its levels are the waves: a node
is updated as soon as all new states that it reads are there. In the order of a permutation a sparse graph
takes few waves, in parallel any graph takes one.

The states that a wave reads stand in blocks of rows: block 0 is that of all nodes before the sweep, those
behind it are the waves before. Where a wave reads many others they are joined two by two, as the digits of a
binary counter, so that it reads a few blocks instead.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from weakref import WeakKeyDictionary

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from mpnn.graph.graph import Graph
from mpnn.native.reach import traced
from mpnn.step.order import is_free
from mpnn.step.schedule import PARALLEL, Schedule
from mpnn.topology.complete import complete_bipartite
from mpnn.topology.levels import slots_of, topological_levels

Integers = NDArray[np.int64]
FEW_BLOCKS = 4  # that a wave reads on average


@dataclass(frozen=True)
class Wave:
    """Nodes that are updated at once, and what they read."""

    graph: Graph | None  # from the rows that are read to the nodes; None for the whole graph itself
    sources: Tensor | None  # the node of each row; None for all nodes, in order
    blocks: tuple[tuple[int, Tensor | None], ...]  # a block, and rows of it; None for all, in order
    joined: int  # how many of the last blocks become one after this wave


@dataclass(frozen=True)
class Waves:
    """The waves of a sweep, in order.

    `nodes` are those that are updated and `edges` those that enter them, wave by wave: as many as `num_nodes`
    and `num_edges` say.
    """

    waves: tuple[Wave, ...]
    nodes: Tensor
    edges: Tensor
    num_nodes: tuple[int, ...]
    num_edges: tuple[int, ...]
    place: Tensor | None  # of each node of the graph among `nodes`; None if some are clamped

    @property
    def is_whole(self) -> bool:
        """Whether the only wave is the graph itself."""
        return len(self.waves) == 1 and self.waves[0].graph is None


_known: WeakKeyDictionary[Schedule, WeakKeyDictionary[Graph, Waves]] = WeakKeyDictionary()


def waves_of(schedule: Schedule, graph: Graph) -> Waves:
    """The waves of a schedule on a graph; found once for both.

    Raises:
        ValueError: the schedule does not fit the graph.
    """
    if schedule.clamped is None and callable(schedule.rank):
        return graph.memo(("waves", schedule.rank), lambda: _find(schedule, graph))
    if torch.compiler.is_compiling() or traced():
        return _find(schedule, graph)
    known = _known.setdefault(schedule, WeakKeyDictionary())
    if graph not in known:
        with torch.inference_mode(False):  # they outlive the call, and a later one may need gradients
            known[graph] = _find(schedule, graph)
    return known[graph]


def is_at_once(schedule: Schedule) -> bool:
    """Whether all nodes are updated at once: one wave, the graph itself."""
    return schedule.rank is PARALLEL.rank and schedule.clamped is None


def _find(schedule: Schedule, graph: Graph) -> Waves:
    if is_at_once(schedule):
        return _at_once(graph)
    rank, free = schedule.rank_of(graph), is_free(schedule, graph)
    everyone = np.ones(graph.num_nodes, dtype=bool)
    return _Finder(graph, rank.cpu().numpy(), everyone if free is None else free.cpu().numpy()).waves()


def _at_once(graph: Graph) -> Waves:
    """One wave, without a look at the edges, which need not be enumerated."""
    nodes = torch.arange(graph.num_dst, device=graph.device)
    return Waves((Wave(None, None, ((0, None),), 1),), nodes, nodes[:0], (graph.num_dst,), (), nodes)


class _Finder:
    """The search for the waves of ranks that are known, on the host."""

    def __init__(self, graph: Graph, rank: NDArray[np.generic], is_free: NDArray[np.bool_]) -> None:
        self.graph = graph
        self.src, self.dst = graph.edge_index.cpu().numpy()
        self.is_new = (rank[self.src] < rank[self.dst]) & is_free[self.src] & is_free[self.dst]
        if self.is_new.all():
            levels = topological_levels(graph)
        else:
            ends = torch.from_numpy(np.stack([self.src[self.is_new], self.dst[self.is_new]]))
            levels = topological_levels(Graph(ends, graph.num_nodes))
        self.level = levels.level.cpu().numpy()
        self.is_free = is_free
        nodes = levels.nodes.cpu().numpy()
        self.nodes = nodes[is_free[nodes]]  # by level, as they stand
        self.place = np.full(graph.num_nodes, -1)
        self.place[self.nodes] = np.arange(self.nodes.size)

    def waves(self) -> Waves:
        # A graph without nodes has one empty wave, whose states have their shapes.
        num_waves = int(self.level[self.nodes].max()) + 1 if self.nodes.size else int(not self.is_free.size)
        counts = np.bincount(self.level[self.nodes], minlength=num_waves)
        node_ptr = np.append(0, counts.cumsum())
        by_dst = self.graph.by_dst  # found once for all schedules, where the edges need no sorting any more
        slots = slots_of(by_dst.indptr.cpu().numpy().astype(np.int64), self.nodes)
        edges = by_dst.edge_ids.cpu().numpy().astype(np.int64)[slots]
        edge_ptr = np.append(0, np.bincount(self.level[self.dst[edges]], minlength=num_waves).cumsum())
        pairs = self.level[self.dst] * num_waves + self.level[self.src]
        joins = np.unique(pairs[self.is_new]).size > FEW_BLOCKS * num_waves
        starts: list[int] = []  # of the blocks behind the first, in `nodes`
        sizes: list[int] = []  # of the same, in waves
        found, in_order = [], []
        for k in range(num_waves):
            first, end = int(node_ptr[k]), int(node_ptr[k + 1])
            wave, its_edges = self._wave(edges[edge_ptr[k] : edge_ptr[k + 1]], starts, first, end)
            starts.append(first)
            sizes.append(1)
            joined = 1
            while joins and sizes[-2:-1] == sizes[-1:]:
                sizes[-2:] = [2 * sizes[-1]]
                starts.pop()
                joined += 1
            found.append(Wave(*wave, joined))
            in_order.append(its_edges)
        return Waves(
            tuple(found),
            self._there(self.nodes),
            self._there(np.concatenate(in_order) if in_order else edges),
            tuple(counts.tolist()),
            tuple(part.size for part in in_order),
            self._there(self.place) if self.is_free.all() else None,
        )

    def _wave(
        self, edges: Integers, starts: list[int], first: int, end: int
    ) -> tuple[tuple[Graph, Tensor | None, tuple[tuple[int, Tensor | None], ...]], Integers]:
        """The wave of the nodes from `first` to `end`, and its edges.

        The edges of a node stay in their order, so that sums have the bits of a loop over nodes and edges.
        """
        src = self.src[edges]
        begin = np.asarray(starts, dtype=np.int64)
        block = np.where(self.is_new[edges], np.searchsorted(begin, self.place[src], side="right"), 0)
        row = np.where(block > 0, self.place[src] - np.append(0, begin)[block], src)
        ends = np.append(begin, first)
        types, read = self.graph.edge_type, block * (self.graph.num_nodes + 1) + row
        full = _as_matrix(read, self.place[self.dst[edges]] - first, end - first) if types is None else None
        if full is not None:  # all nodes read the same rows: a dense product, of a message that has one
            return self._full_wave(edges[full], block[full], row[full], ends, end - first)
        # Small numbers are sorted by counting them.
        small = block.astype(np.int16) if len(starts) < np.iinfo(np.int16).max else block
        by_block = np.argsort(small, kind="stable")
        src, block, row = src[by_block], block[by_block], row[by_block]
        which, begins = np.unique(block, return_index=True)
        bounds = pairwise([*begins.tolist(), edges.size])
        parts = [(b, row[slice(*span)]) for b, span in zip(which.tolist(), bounds, strict=True)]
        widths = [self.graph.num_nodes if b == 0 else int(ends[b] - ends[b - 1]) for b, _ in parts]
        sources: Integers | None = src
        rows: list[tuple[int, Tensor | None]]
        if len(parts) == 1 and widths[0] <= 2 * edges.size:  # rows are read where they are
            (b, _), from_row, num_rows = parts[0], row, widths[0]
            rows = [(b, None)]
            sources = None if b == 0 else self.nodes[begin[b - 1] : ends[b]]
        else:
            from_row, num_rows = np.empty_like(by_block), edges.size
            from_row[by_block] = np.arange(edges.size)
            rows = [
                (b, None if np.array_equal(part, np.arange(width)) else self._there(part))
                for (b, part), width in zip(parts, widths, strict=True)
            ]
        pair = self._there(np.stack([from_row, self.place[self.dst[edges]] - first]))
        graph = Graph(
            pair,
            (num_rows, end - first),
            None if types is None else types[self._there(edges)],
            num_edge_types=None if types is None else self.graph.num_edge_types,
        )
        return (graph, None if sources is None else self._there(sources), tuple(rows)), edges

    def _full_wave(
        self, edges: Integers, block: Integers, row: Integers, ends: Integers, count: int
    ) -> tuple[tuple[Graph, Tensor | None, tuple[tuple[int, Tensor | None], ...]], Integers]:
        """The same where each of `count` nodes reads the same rows, in the same order."""
        width = edges.size // count
        src, block, row = self.src[edges[:width]], block[:width], row[:width]
        rows: list[tuple[int, Tensor | None]] = []
        for b in np.unique(block).tolist():
            part = row[block == b]
            size = self.graph.num_nodes if b == 0 else int(ends[b] - ends[b - 1])
            rows.append((b, None if np.array_equal(part, np.arange(size)) else self._there(part)))
        graph = complete_bipartite(width, count, device=self.graph.device)
        every = len(rows) == 1 and rows[0] == (0, None)
        return (graph, None if every else self._there(src), tuple(rows)), edges

    def _there(self, numbers: Integers) -> Tensor:
        return torch.from_numpy(np.ascontiguousarray(numbers, dtype=np.int64)).to(self.graph.device)


def _as_matrix(read: Integers, node: Integers, count: int) -> Integers | None:
    """The order in which edges are the entries of a matrix, row by row; None if they are no whole matrix.

    Args:
        read: what each edge reads.
        node: which node each edge enters, in order.
        count: how many nodes there are.
    """
    width, rest = divmod(read.size, count) if count > 1 else (0, 0)
    if width < 2 or rest:
        return None
    entries = read.reshape(count, width)
    first = np.sort(entries[0])
    # A look at two rows refuses most waves of a sparse graph.
    if not np.array_equal(first, np.sort(entries[1])) or (first[1:] == first[:-1]).any():
        return None
    order = np.argsort(entries, axis=1, kind="stable")
    if not (np.take_along_axis(entries, order, axis=1) == first).all():
        return None
    if not (node.reshape(count, width) == np.arange(count)[:, None]).all():
        return None
    full: Integers = (order + width * np.arange(count)[:, None]).ravel()
    return full
