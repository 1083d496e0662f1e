"""Random graphs with typed nodes and edges."""

from __future__ import annotations

import torch
from hypothesis import strategies as st
from torch import Tensor

from mpnn import HeteroGraph
from mpnn.graph.hetero import EdgeType

TYPES = ["author", "paper", "venue"]
RELATIONS: list[EdgeType] = [
    ("author", "writes", "paper"),
    ("paper", "rev_writes", "author"),
    ("paper", "cites", "paper"),
    ("author", "knows", "author"),
    ("paper", "in", "venue"),
    ("venue", "has", "paper"),
    ("author", "reviews", "paper"),
]


def hetero_graph(
    sizes: tuple[int, int, int] = (7, 9, 4), num_edges: int = 12, seed: int = 0, timed: bool = False
) -> HeteroGraph:
    """Three node types, seven relations; some nodes isolated, some edges twice."""
    generator = torch.Generator().manual_seed(seed)
    counts = dict(zip(TYPES, sizes, strict=True))

    def drawn(edge_type: EdgeType) -> Tensor:
        ends = (counts[edge_type[0]], counts[edge_type[2]])
        rows = [torch.randint(max(n - 1, 1), (num_edges,), generator=generator) for n in ends]
        edge_index = torch.stack(rows)
        return torch.cat([edge_index, edge_index[:, :1]], dim=1)

    edges = {edge_type: drawn(edge_type) for edge_type in RELATIONS}
    times = {edge_type: torch.arange(e.size(1)) % 5 for edge_type, e in edges.items()}
    return HeteroGraph(counts, edges, times if timed else None)


@st.composite
def hetero_graphs(draw: st.DrawFn, batched: bool = False) -> HeteroGraph:
    """No nodes, no edges, types without either, repeated edges, loops, times."""
    if batched:
        timed = draw(st.booleans())
        return HeteroGraph.batch(draw(st.lists(_one(timed), min_size=2, max_size=3)))
    return draw(_one(draw(st.booleans())))


@st.composite
def _one(draw: st.DrawFn, timed: bool) -> HeteroGraph:
    counts = {name: draw(st.integers(0, 4)) for name in TYPES}
    edges, times = {}, {}
    for source, relation, destination in RELATIONS[:5]:
        ends: list[tuple[int, int]] = []
        if counts[source] and counts[destination]:
            pair = st.tuples(st.integers(0, counts[source] - 1), st.integers(0, counts[destination] - 1))
            ends = draw(st.lists(pair, max_size=6))
        edges[source, relation, destination] = torch.tensor(ends, dtype=torch.int64).reshape(-1, 2).t()
        times[source, relation, destination] = torch.arange(len(ends), dtype=torch.float32) / 3
    return HeteroGraph(counts, edges, times if timed else None)


def same_hetero(ours: HeteroGraph, theirs: HeteroGraph) -> bool:
    """Whether two typed graphs are equal in everything that such a graph is."""
    return (
        ours.num_nodes_dict == theirs.num_nodes_dict
        and ours.metadata() == theirs.metadata()
        and torch.equal(ours.homogeneous.edge_index, theirs.homogeneous.edge_index)
        and _equal(ours.homogeneous.edge_type, theirs.homogeneous.edge_type)
        and _equal(ours.homogeneous.edge_time, theirs.homogeneous.edge_time)
        and ours.num_graphs == theirs.num_graphs
        and all(torch.equal(ours.graph_index(name), theirs.graph_index(name)) for name in ours.node_types)
    )


def _equal(ours: Tensor | None, theirs: Tensor | None) -> bool:
    if ours is None or theirs is None:
        return ours is theirs
    return ours.dtype == theirs.dtype and torch.equal(ours, theirs)
