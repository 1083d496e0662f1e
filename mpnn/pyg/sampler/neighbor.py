"""Sampled neighbourhoods with the arguments and results of `pyg_lib.sampler`.

Draws are a function of `torch.manual_seed`, of the hop, and of a node's place: the same on any number of
threads.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from mpnn.pyg.sampler.arguments import (
    checked_counts,
    checked_seed,
    checked_strategy,
    checked_time,
    largest,
    new_seed,
    rows_of,
)
from mpnn.pyg.sampler.subgraph import subgraph
from mpnn.sampling.hops import Drawn, Frontier, Numbering, draw_hop

__all__ = ["hetero_neighbor_sample", "neighbor_sample"]

EdgeType = tuple[str, str, str]
ONE = "nodes"  # the type of all nodes of a graph that has no types


def neighbor_sample(
    rowptr: Tensor,
    col: Tensor,
    seed: Tensor,
    num_neighbors: Sequence[int],
    node_time: Tensor | None = None,
    edge_time: Tensor | None = None,
    seed_time: Tensor | None = None,
    edge_weight: Tensor | None = None,
    csc: bool = False,
    replace: bool = False,
    directed: bool = True,
    disjoint: bool = False,
    temporal_strategy: str = "uniform",
    return_edge_id: bool = True,
) -> tuple[Tensor, Tensor, Tensor, Tensor | None, list[int], list[int]]:
    """Draw neighbours of the seeds, their neighbours, and so on, hop by hop.

    Args:
        rowptr: `[num_nodes + 1]`, int32 or int64.
        col: `[num_edges]`.
        seed: `[num_seeds]` nodes.
        num_neighbors: how many neighbours each hop draws for a node, -1 for all.
        node_time: `[num_nodes]`: nodes later than their seed are not drawn; rows must be sorted by it.
        edge_time: `[num_edges]`, the same of edges.
        seed_time: `[num_seeds]`; the seeds' `node_time` if None.
        edge_weight: `[num_edges]`: an edge's chance, in proportion.
        csc: whether rowptr and col are the columns of the graph: then rows and columns change places in
            the result.
        replace: whether an edge may be drawn more than once.
        directed: False for all edges among the nodes that were drawn.
        disjoint: whether each seed has a sample of its own.
        temporal_strategy: "uniform", or "last" for the latest.
        return_edge_id: whether to say which edges were drawn.

    Returns:
        row and col `[num_drawn]` in the numbers of the sample; the nodes `[num_sampled]`, or if disjoint
        `[num_sampled, 2]` with the place of the seed before the node; the edges' places in col; the
        numbers of nodes and of edges that each hop added.

    Raises:
        IndexError: a node out of range.
        TypeError, ValueError: another argument that does not fit.
    """
    relation = (ONE, "", ONE)
    made = _sample(
        [ONE], {"": relation}, {"": rowptr}, {"": col}, {ONE: seed}, {"": num_neighbors},
        None if node_time is None else {ONE: node_time},
        None if edge_time is None else {"": edge_time},
        None if seed_time is None else {ONE: seed_time},
        None if edge_weight is None else {"": edge_weight},
        csc, replace, disjoint, temporal_strategy,
    )  # fmt: skip
    row, column, node, edge, nodes_of_hops, edges_of_hops = (
        part[key] for part, key in zip(made, _KEYS, strict=True)
    )
    if not directed:
        if disjoint:
            raise ValueError("directed=False and disjoint=True were given: choose one of them.")
        pointers, column, edge = subgraph(rowptr, col, node)
        row = torch.repeat_interleave(pointers.diff()).to(column.dtype)
        if csc:
            row, column = column, row
    return row, column, node, edge if return_edge_id else None, nodes_of_hops, edges_of_hops


_KEYS = ("", "", ONE, "", ONE, "")


def hetero_neighbor_sample(
    rowptr_dict: Mapping[EdgeType, Tensor],
    col_dict: Mapping[EdgeType, Tensor],
    seed_dict: Mapping[str, Tensor],
    num_neighbors_dict: Mapping[EdgeType, Sequence[int]],
    node_time_dict: Mapping[str, Tensor] | None = None,
    edge_time_dict: Mapping[EdgeType, Tensor] | None = None,
    seed_time_dict: Mapping[str, Tensor] | None = None,
    edge_weight_dict: Mapping[EdgeType, Tensor] | None = None,
    csc: bool = False,
    replace: bool = False,
    directed: bool = True,
    disjoint: bool = False,
    temporal_strategy: str = "uniform",
    return_edge_id: bool = True,
) -> tuple[Any, ...]:
    """`neighbor_sample` of a graph with types: dictionaries by node type and by edge type (three words)."""
    edge_types = list(rowptr_dict)
    node_types = sorted({one for kind in edge_types for one in (kind[0], kind[-1])} | set(seed_dict))

    def by_word(given: Mapping[EdgeType, Any] | None) -> dict[str, Any] | None:
        return None if given is None else {"__".join(kind): value for kind, value in given.items()}

    made = sample_by_words(
        node_types, edge_types, by_word(rowptr_dict), by_word(col_dict), dict(seed_dict),
        by_word(num_neighbors_dict), node_time_dict, by_word(edge_time_dict), seed_time_dict,
        by_word(edge_weight_dict),
        csc, replace, directed, disjoint, temporal_strategy, return_edge_id,
    )  # fmt: skip
    back = {"__".join(kind): kind for kind in edge_types}
    of_edges = (True, True, False, True, False, True)
    return tuple(
        part if part is None or not edges else {back[word]: value for word, value in part.items()}
        for part, edges in zip(made, of_edges, strict=True)
    )


def sample_by_words(
    node_types: Sequence[str],
    edge_types: Sequence[EdgeType],
    rowptr_dict: Any,
    col_dict: Any,
    seed_dict: Mapping[str, Tensor],
    num_neighbors_dict: Any,
    node_time_dict: Mapping[str, Tensor] | None = None,
    edge_time_dict: Mapping[str, Tensor] | None = None,
    seed_time_dict: Mapping[str, Tensor] | None = None,
    edge_weight_dict: Mapping[str, Tensor] | None = None,
    csc: bool = False,
    replace: bool = False,
    directed: bool = True,
    disjoint: bool = False,
    temporal_strategy: str = "uniform",
    return_edge_id: bool = True,
) -> tuple[Any, ...]:
    """`hetero_neighbor_sample` as the operator takes it: an edge type's three words are joined by "__"."""
    if not directed:
        raise ValueError("directed=False is not for a graph with types: give directed=True.")
    words = {"__".join(kind): kind for kind in edge_types}
    row, column, node, edge, nodes_of_hops, edges_of_hops = _sample(
        node_types, words, rowptr_dict, col_dict, seed_dict, num_neighbors_dict, node_time_dict,
        edge_time_dict, seed_time_dict, edge_weight_dict, csc, replace, disjoint, temporal_strategy,
    )  # fmt: skip
    return row, column, node, edge if return_edge_id else None, nodes_of_hops, edges_of_hops


def _sample(
    node_types: Sequence[str],
    relations: Mapping[str, EdgeType],
    rowptrs: Mapping[str, Tensor],
    cols: Mapping[str, Tensor],
    seeds: Mapping[str, Tensor],
    counts: Mapping[str, Sequence[int]],
    node_time: Mapping[str, Tensor] | None,
    edge_time: Mapping[str, Tensor] | None,
    seed_time: Mapping[str, Tensor] | None,
    weights: Mapping[str, Tensor] | None,
    csc: bool,
    replace: bool,
    disjoint: bool,
    strategy: str,
) -> tuple[dict[str, Any], ...]:
    timed = node_time is not None or edge_time is not None
    both = node_time is not None and edge_time is not None
    last = checked_strategy(strategy, disjoint, timed, both, weights is not None)
    if edge_time is not None and seed_time is None:
        raise ValueError("edge_time was given without seed_time: when is each seed?")
    # A relation's rows are those of `near`, the type of the nodes that draw, and its entries nodes of `far`.
    near = {word: kind[-1] if csc else kind[0] for word, kind in relations.items()}
    far = {word: kind[0] if csc else kind[-1] for word, kind in relations.items()}
    rows = {}
    for word in relations:
        name = word and f"{word}: "
        weight = None if weights is None else weights.get(word)
        by_edge = edge_time is not None and word in edge_time
        time = edge_time[word] if edge_time is not None and by_edge else (node_time or {}).get(far[word])
        rows[word] = rows_of(rowptrs[word], cols[word], name, weight, time, by_edge)
    hops = {word: checked_counts("num_neighbors", counts[word]) for word in relations}
    kinds = [one.indptr.dtype for one in rows.values()] or [one.dtype for one in seeds.values()]
    dtype = kinds[0] if kinds else torch.int64
    samples = {kind: _OfType(disjoint) for kind in node_types}
    limits, number = [], 0
    for kind, seed in seeds.items():
        seed = checked_seed("seed", seed)
        samples[kind].begin(seed, number)
        number += seed.numel()
        if timed:
            limits.append(_limits(kind, seed, node_time, seed_time))
    limit = torch.cat(limits) if limits else None
    stride = 1
    if disjoint:
        ends = [largest("col", cols[word]) for word in relations]
        stride += max([0, *ends, *(one.largest for one in samples.values())])
    for one in samples.values():
        one.stride = stride
        one.number_seeds()
    drawn: dict[str, list[Drawn]] = {word: [] for word in relations}
    local: dict[str, list[Tensor]] = {word: [] for word in relations}
    key = new_seed()
    for hop in range(max(map(len, hops.values()), default=0)):
        for place, word in enumerate(relations):
            source = samples[near[word]]
            when = None if limit is None or rows[word].time is None else limit[source.example()]
            frontier = Frontier(source.frontier(), source.first, source.example() if disjoint else None, when)
            found = draw_hop(
                rows[word], frontier, hops[word][hop], replace=replace, last=last, stride=stride,
                seed=key + hop * len(relations) + place,
            )  # fmt: skip
            drawn[word].append(found)
            local[word].append(samples[far[word]].add(found.ends))
        for one in samples.values():
            one.end_hop()

    def column(word: str, swapped: bool) -> Tensor:
        parts = local[word] if swapped else [one.rows for one in drawn[word]]
        return _joined(parts, dtype)

    return (
        {word: column(word, csc) for word in relations},
        {word: column(word, not csc) for word in relations},
        {kind: one.nodes(dtype) for kind, one in samples.items()},
        {word: _joined([one.slots for one in drawn[word]], dtype) for word in relations},
        {kind: one.of_hops for kind, one in samples.items()},
        {word: [one.slots.numel() for one in drawn[word]] for word in relations},
    )


def _joined(parts: list[Tensor], dtype: torch.dtype) -> Tensor:
    return torch.cat(parts).to(dtype) if parts else torch.empty(0, dtype=dtype)


def _limits(
    kind: str,
    seed: Tensor,
    node_time: Mapping[str, Tensor] | None,
    seed_time: Mapping[str, Tensor] | None,
) -> Tensor:
    """Until when the neighbours of each seed may be."""
    time = None
    if seed_time is not None and kind in seed_time:
        time = checked_time("seed_time", seed_time[kind])
        if time is not None and time.shape != seed.shape:
            raise ValueError(f"seed_time must have shape {list(seed.shape)}, got {list(time.shape)}.")
    elif node_time is not None and kind in node_time:
        of_nodes = checked_time("node_time", node_time[kind])
        if of_nodes is not None and largest("seed", seed) >= of_nodes.numel():
            raise IndexError(f"seed holds {int(seed.max())}, but node_time has {of_nodes.numel()} entries.")
        time = None if of_nodes is None else of_nodes[seed]
    if time is None:
        raise ValueError(f"there is no time of the seeds of {kind!r}: give it in seed_time.")
    return time


class _OfType:
    """The nodes of one type that are in the sample."""

    def __init__(self, disjoint: bool) -> None:
        self.disjoint, self.stride, self.largest = disjoint, 1, 0
        self.of_hops: list[int] = []
        self._numbering = Numbering()
        self._found: list[Tensor] = []  # keys, of a hop those that it added
        self._new: list[Tensor] = []
        self._seeds: tuple[Tensor, Tensor] | None = None
        self.first = 0

    def begin(self, seed: Tensor, number: int) -> None:
        self._seeds = seed, torch.arange(number, number + seed.numel())
        self.largest = largest("seed", seed)

    def number_seeds(self) -> None:
        keys = torch.empty(0, dtype=torch.int64)
        if self._seeds is not None:
            seed, example = self._seeds
            keys = example * self.stride + seed if self.disjoint else seed
        self._numbering.fill(keys)
        self._found.append(keys)
        self.of_hops.append(keys.numel())

    def frontier(self) -> Tensor:
        return self._found[-1] % self.stride if self.disjoint else self._found[-1]

    def example(self) -> Tensor:
        return self._found[-1] // self.stride

    def add(self, keys: Tensor) -> Tensor:
        numbers, fresh = self._numbering.add(keys)
        self._new.append(fresh)
        return numbers

    def end_hop(self) -> None:
        self.first += self._found[-1].numel()
        self._found.append(torch.cat(self._new) if self._new else self._found[-1][:0])
        self._new = []
        self.of_hops.append(self._found[-1].numel())

    def nodes(self, dtype: torch.dtype) -> Tensor:
        keys = torch.cat(self._found)
        if self.disjoint:
            keys = torch.stack([keys // self.stride, keys % self.stride], dim=1)
        return keys.to(dtype)
