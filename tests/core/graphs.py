"""Random graphs, with every oddity that a graph can have."""

from __future__ import annotations

import torch
from hypothesis import strategies as st
from torch import Tensor

from mpnn import Graph
from mpnn.graph.graph import Size

GENERATOR_SEED = 7


@st.composite
def graphs(
    draw: st.DrawFn,
    bipartite: bool | None = None,
    typed: bool | None = None,
    batched: bool = False,
    timed: bool | None = False,
) -> Graph:
    """No nodes, no edges, isolated nodes, self loops, repeated edges, two node sets, types and times."""
    if bipartite is None:
        bipartite = draw(st.booleans())
    if typed is None:
        typed = draw(st.booleans())
    if timed is None:
        timed = draw(st.booleans())
    if batched:
        kind = graphs(bipartite=bipartite, typed=typed, timed=timed)
        parts = draw(st.lists(kind, min_size=2, max_size=4))
        return Graph.batch(parts)
    num_src = draw(st.integers(0, 6))
    num_dst = draw(st.integers(0, 6)) if bipartite else num_src
    num_nodes: int | Size = (num_src, num_dst) if bipartite else num_src
    edges: list[tuple[int, int]] = []
    if num_src and num_dst:
        edges = draw(
            st.lists(st.tuples(st.integers(0, num_src - 1), st.integers(0, num_dst - 1)), max_size=12)
        )
    edge_index = torch.tensor(edges, dtype=torch.int64).reshape(-1, 2).t()
    graph = Graph(edge_index, num_nodes)
    if typed:
        types = draw(st.lists(st.integers(0, 2), min_size=len(edges), max_size=len(edges)))
        graph = graph.carrying(edge_type=torch.tensor(types, dtype=torch.int64), num_edge_types=4)
    if timed:
        times = draw(st.lists(st.integers(-1, 1), min_size=len(edges), max_size=len(edges)))
        graph = graph.carrying(edge_time=torch.tensor(times, dtype=torch.float32) / 3)
    return graph


def random_graph(num_nodes: int | Size = 9, num_edges: int = 30, seed: int = GENERATOR_SEED) -> Graph:
    """Some nodes isolated, some loops, some edges twice."""
    generator = torch.Generator().manual_seed(seed)
    sizes = num_nodes if isinstance(num_nodes, tuple) else (num_nodes, num_nodes)
    rows = [torch.randint(max(n - 2, 1), (num_edges - 2,), generator=generator) for n in sizes]
    edge_index = torch.stack(rows)
    repeated = edge_index[:, :1]
    loop = torch.ones(2, 1, dtype=torch.int64)
    return Graph(torch.cat([edge_index, repeated, loop], dim=1), num_nodes)


def same(ours: Graph, theirs: Graph) -> bool:
    """Whether two graphs are equal in everything that a graph is."""
    return (
        torch.equal(ours.edge_index, theirs.edge_index)
        and ours.size == theirs.size
        and ours.is_bipartite == theirs.is_bipartite
        and _equal(ours.edge_type, theirs.edge_type)
        and _equal(ours.edge_time, theirs.edge_time)
        and ours.num_edge_types == theirs.num_edge_types
        and ours.graph_sizes == theirs.graph_sizes
    )


def _equal(ours: Tensor | None, theirs: Tensor | None) -> bool:
    if ours is None or theirs is None:
        return ours is theirs
    return ours.dtype == theirs.dtype and torch.equal(ours, theirs)
