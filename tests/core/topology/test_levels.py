"""Topological levels against networkx."""

from itertools import pairwise

import networkx as nx
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from mpnn import Graph, topology
from mpnn.topology.levels import Levels, topological_levels


@st.composite
def dags(draw: st.DrawFn) -> Graph:
    """A random DAG, perhaps with repeated edges, its nodes numbered in a random order."""
    n = draw(st.integers(0, 12))
    node = st.integers(0, max(n - 1, 0))
    pairs = draw(st.lists(st.tuples(node, node), max_size=25)) if n else []
    order = draw(st.permutations(range(n)))
    edges = [(order[min(a, b)], order[max(a, b)]) for a, b in pairs if a != b]
    return Graph(torch.tensor(edges, dtype=torch.int64).reshape(-1, 2).t(), n)


def check(graph: Graph) -> Levels:
    levels = topological_levels(graph)
    theirs = [sorted(nodes) for nodes in nx.topological_generations(graph.to_networkx())]
    assert len(levels) == len(theirs)
    assert [nodes.tolist() for nodes, _ in levels] == theirs
    assert [levels.level[nodes].unique().tolist() for nodes, _ in levels] == [[k] for k in range(len(theirs))]
    seen: list[int] = []
    for nodes, edges in levels:
        # Within a level: by destination, and within one destination as in the graph.
        entering = [(graph.dst == i).nonzero()[:, 0] for i in nodes]
        assert edges.tolist() == torch.cat(entering).tolist()
        seen += edges.tolist()
    assert sorted(seen) == list(range(graph.num_edges))
    assert all(
        pointer[0] == 0 and pointer[-1] == size
        for pointer, size in ((levels.node_ptr, graph.num_nodes), (levels.edge_ptr, graph.num_edges))
    )
    return levels


@settings(deadline=None)
@given(dags())
def test_levels_are_the_topological_generations_of_networkx(graph: Graph) -> None:
    check(graph)


@pytest.mark.parametrize(
    "graph",
    [
        topology.chain([3, 0, 1, 5]),
        topology.chain([3, 0, 1, 5], backward=True),
        topology.chain(0),
        topology.tree([[-1, 0, 0, 1, 3], [1, 2, -1]]),
        topology.tree([[-1, 0, 0, 1, 3], [1, 2, -1]]).reverse(),
        topology.tree([]),
        topology.star([3, 0]),
        topology.product(topology.chain(3), topology.chain(4)),
        Graph.batch([topology.chain(3), topology.star(2)]),
        topology.causal(6).without_self_loops(),
    ],
    ids=repr,
)
def test_levels_of_regular_topologies_are_those_of_their_edges(graph: Graph) -> None:
    levels = check(graph)
    explicit = topological_levels(Graph(graph.edge_index, graph.num_nodes))
    for name in ("level", "nodes", "edges"):
        assert torch.equal(getattr(levels, name), getattr(explicit, name))
    assert (levels.node_ptr, levels.edge_ptr) == (explicit.node_ptr, explicit.edge_ptr)


def test_levels_are_computed_once_per_graph() -> None:
    graph = topology.chain(5)
    assert topological_levels(graph) is topological_levels(graph)


@pytest.mark.parametrize(
    ("edges", "cycle"),
    [
        ([(0, 3), (3, 5), (5, 0)], "0 -> 3 -> 5 -> 0"),
        ([(0, 1), (1, 2), (2, 3), (3, 1), (3, 4)], "1 -> 2 -> 3 -> 1"),
        ([(4, 4), (4, 0), (1, 2)], "4 -> 4"),
        ([(k, (k + 1) % 100) for k in range(100)], "10 -> 11 -> ... -> 99 -> 0 (100 nodes)"),
    ],
)
def test_a_cycle_is_an_error_that_shows_it(edges: list[tuple[int, int]], cycle: str) -> None:
    graph = Graph(torch.tensor(edges).t())
    with pytest.raises(ValueError, match="graph has a cycle, ") as caught:
        topological_levels(graph)
    assert f"{cycle}, so it has no topological order." in str(caught.value)


@settings(deadline=None)
@given(st.lists(st.tuples(st.integers(0, 7), st.integers(0, 7)), max_size=15))
def test_any_graph_has_levels_or_a_cycle_that_is_there(pairs: list[tuple[int, int]]) -> None:
    graph = Graph(torch.tensor(pairs, dtype=torch.int64).reshape(-1, 2).t(), 8)
    theirs = nx.DiGraph(pairs)
    if nx.is_directed_acyclic_graph(theirs):
        check(graph)
        return
    with pytest.raises(ValueError, match="has a cycle") as caught:
        topological_levels(graph)
    shown = str(caught.value).split(", ")[1].split(" -> ")
    assert shown[0] == shown[-1]
    assert all(theirs.has_edge(int(a), int(b)) for a, b in pairwise(shown))


def test_a_bipartite_graph_has_no_levels() -> None:
    with pytest.raises(ValueError, match=r"graph is bipartite \(2, 3\)"):
        topological_levels(topology.complete_bipartite(2, 3))


def test_a_large_random_dag_is_quick() -> None:
    generator = torch.Generator().manual_seed(0)
    ends = torch.randint(100_000, (2, 300_000), generator=generator)
    ends = ends[:, ends[0] != ends[1]]
    graph = Graph(torch.stack([ends.amin(0), ends.amax(0)]), 100_000)
    levels = topological_levels(graph)
    assert (levels.level[graph.src] < levels.level[graph.dst]).all()
    deepest = torch.zeros(100_000, dtype=torch.int64)
    deepest.scatter_reduce_(0, graph.dst, levels.level[graph.src] + 1, "amax")
    assert torch.equal(deepest, levels.level)
