"""Products of graphs against networkx."""

from itertools import permutations

import networkx as nx
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from mpnn import Graph, topology


@st.composite
def digraphs(draw: st.DrawFn) -> Graph:
    # Without self loops, of which networkx's product keeps one where both factors have one.
    n = draw(st.integers(1, 5))
    pairs = draw(st.sets(st.sampled_from(list(permutations(range(n), 2)))) if n > 1 else st.just(set()))
    return Graph(torch.tensor(sorted(pairs), dtype=torch.int64).reshape(-1, 2).t(), n)


def as_networkx(graph: Graph) -> nx.MultiDiGraph:
    # Without the attributes that only our own conversion knows.
    theirs = nx.MultiDiGraph()
    theirs.add_nodes_from(range(graph.num_nodes))
    theirs.add_edges_from(zip(*graph.edge_index.tolist(), strict=True))
    return theirs


@settings(max_examples=60, deadline=None)
@given(digraphs(), digraphs())
def test_a_product_equals_networkxs_cartesian_product(first: Graph, second: Graph) -> None:
    theirs = nx.cartesian_product(as_networkx(first), as_networkx(second))
    n = second.num_nodes
    expected = sorted((a * n + b, c * n + d) for (a, b), (c, d), *_ in theirs.edges)
    ours = topology.product(first, second)
    assert sorted(zip(*ours.edge_index.tolist(), strict=True)) == expected


@settings(max_examples=30, deadline=None)
@given(digraphs(), digraphs())
def test_edges_are_typed_by_the_factor_along_which_they_run(first: Graph, second: Graph) -> None:
    graph, n = topology.product(first, second), second.num_nodes
    assert graph.edge_type is not None
    moves_first = (graph.src // n != graph.dst // n) & (graph.edge_type == 0)
    moves_second = (graph.src % n != graph.dst % n) & (graph.edge_type == 1)
    assert (moves_first | moves_second | (graph.src == graph.dst)).all()
    assert graph.edge_type.bincount(minlength=2).tolist() == [
        first.num_edges * n,
        first.num_nodes * second.num_edges,
    ]


def test_types_of_the_factors_are_kept_and_counted_on() -> None:
    typed = Graph(torch.tensor([[0, 1], [1, 0]]), edge_type=torch.tensor([2, 0]))
    graph = topology.product(typed, topology.grid(3, 3, padding="same"))
    assert graph.num_edge_types == 6
    assert graph.edge_type is not None
    assert graph.edge_type.tolist() == [2, 2, 2, 0, 0, 0] + [3 + t for t in (1, 2, 0, 1, 2, 0, 1)] * 2


def test_a_chain_times_a_chain_is_a_lattice_read_in_one_direction() -> None:
    graph = topology.product(topology.chain(3), topology.chain(4))
    both = topology.lattice((3, 4))
    ahead = both.edge_subgraph(both.src < both.dst)
    assert graph.coalesce()[0].edge_index.unique(dim=1).tolist() == ahead.edge_index.unique(dim=1).tolist()


def test_a_batch_in_space_stays_a_batch_over_time() -> None:
    graph = topology.product(topology.complete([2, 3]), topology.chain(4))
    assert graph.graph_sizes == [(8, 8), (12, 12)]
    for part, n in zip(graph.unbatch(), (2, 3), strict=True):
        alone = topology.product(topology.complete(n), topology.chain(4))
        assert torch.equal(part.edge_index, alone.edge_index)


def test_factors_of_unequal_sides_are_an_error() -> None:
    with pytest.raises(ValueError, match=r"second is bipartite \(5, 3\), but a factor"):
        topology.product(topology.chain(3), topology.grid(5, 3))
    with pytest.raises(ValueError, match="first is on cpu, but second is on meta"):
        topology.product(topology.chain(3), topology.chain(3, device="meta"))
