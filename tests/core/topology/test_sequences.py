"""Complete, causal, band, bipartite, chain and star against networkx and against their definitions."""

from collections.abc import Callable, Iterable

import networkx as nx
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from mpnn import Graph, topology

lengths = st.lists(st.integers(0, 6), max_size=4)
Edges = list[tuple[int, int]]


def edges_of(graph: Graph) -> Edges:
    return list(zip(*graph.edge_index.tolist(), strict=True))


def by_definition(lengths: Iterable[int], has_edge: Callable[[int, int], bool]) -> Edges:
    """All (j, i) of each graph for which `has_edge(i, j)`, by i and then by j."""
    edges, start = [], 0
    for n in lengths:
        edges += [(start + j, start + i) for i in range(n) for j in range(n) if has_edge(i, j)]
        start += n
    return edges


@settings(deadline=None)
@given(lengths)
def test_complete_has_all_edges_and_self_loops(lengths: list[int]) -> None:
    assert edges_of(topology.complete(lengths)) == by_definition(lengths, lambda i, j: True)


@settings(deadline=None)
@given(lengths)
def test_complete_without_self_loops_has_all_edges_between_different_nodes(lengths: list[int]) -> None:
    expected = by_definition(lengths, lambda i, j: i != j)
    without = topology.complete(lengths, self_loops=False)
    assert edges_of(without) == expected
    assert without.without_self_loops() is without
    dropped = topology.complete(lengths).without_self_loops()
    assert isinstance(dropped, topology.Complete)
    assert edges_of(dropped) == expected
    assert edges_of(topology.complete(lengths).reverse().without_self_loops()) == [
        (i, j) for j, i in expected
    ]


@settings(deadline=None)
@given(lengths)
def test_causal_has_an_edge_from_each_node_to_itself_and_all_later_ones(lengths: list[int]) -> None:
    assert edges_of(topology.causal(lengths)) == by_definition(lengths, lambda i, j: j <= i)


@settings(deadline=None)
@given(lengths, st.integers(0, 7), st.integers(0, 7), st.integers(1, 4))
def test_band_has_the_edges_within_the_window(
    lengths: list[int], left: int, right: int, dilation: int
) -> None:
    def has_edge(i: int, j: int) -> bool:
        return (j - i) % dilation == 0 and -left * dilation <= j - i <= right * dilation

    graph = topology.band(lengths, (left, right), dilation=dilation)
    assert edges_of(graph) == by_definition(lengths, has_edge)
    assert graph.causal is (right == 0)
    assert graph.reverse().causal is (left == 0)
    causal = topology.band(lengths, left, causal=True, dilation=dilation)
    assert edges_of(causal) == by_definition(lengths, lambda i, j: j <= i and has_edge(i, j))
    assert (causal.left, causal.right, causal.causal) == (left, 0, True)


@settings(deadline=None)
@given(st.lists(st.tuples(st.integers(0, 5), st.integers(0, 5)), max_size=4))
def test_complete_bipartite_is_every_source_of_the_same_graph(sizes: list[tuple[int, int]]) -> None:
    expected, first_src, first_dst = [], 0, 0
    for num_src, num_dst in sizes:
        expected += [(first_src + j, first_dst + i) for i in range(num_dst) for j in range(num_src)]
        first_src, first_dst = first_src + num_src, first_dst + num_dst
    graph = topology.complete_bipartite([n for n, _ in sizes], [m for _, m in sizes])
    assert graph.is_bipartite
    assert graph.size == (first_src, first_dst)
    assert edges_of(graph) == expected


@settings(deadline=None)
@given(lengths)
def test_chain_is_the_node_before_or_behind(lengths: list[int]) -> None:
    expected = by_definition(lengths, lambda i, j: j == i - 1)
    assert edges_of(topology.chain(lengths)) == expected
    backward = topology.chain(lengths, backward=True)
    assert backward.is_reversed
    assert edges_of(backward) == [(i, j) for j, i in expected]


@settings(deadline=None)
@given(lengths)
def test_star_is_the_leaves_to_the_centre(leaves: list[int]) -> None:
    sizes = [1 + n for n in leaves]
    assert edges_of(topology.star(leaves)) == by_definition(sizes, lambda i, j: i == 0 != j)
    both = topology.star(leaves, both_ways=True)
    assert edges_of(both) == by_definition(sizes, lambda i, j: (i == 0) != (j == 0))


def directed(graph: nx.Graph) -> set[tuple[int, int]]:
    return set(nx.convert_node_labels_to_integers(graph).to_directed().edges)


@pytest.mark.parametrize("n", [0, 1, 2, 5])
def test_they_are_the_graphs_of_networkx(n: int) -> None:
    assert set(edges_of(topology.complete(n, self_loops=False))) == directed(nx.complete_graph(n))
    assert set(edges_of(topology.star(n, both_ways=True))) == directed(nx.star_graph(n))
    assert set(edges_of(topology.chain(n))) == set(nx.path_graph(n, create_using=nx.DiGraph).edges)
    bipartite = {(j, i - 3) for j, i in nx.complete_bipartite_graph(3, n).edges}
    assert set(edges_of(topology.complete_bipartite(3, n))) == bipartite


def test_lengths_may_be_a_tensor() -> None:
    assert topology.chain(torch.tensor([3, 2])).lengths == (3, 2)
    assert topology.chain(torch.tensor(3)).lengths == (3,)


def test_a_batch_knows_its_graphs() -> None:
    graph = topology.complete([2, 0, 3])
    assert graph.num_graphs == 3
    assert graph.node_ptr.tolist() == [0, 2, 2, 5]
    assert graph.graph_index.tolist() == [0, 0, 2, 2, 2]
    assert [part.num_edges for part in graph.unbatch()] == [4, 0, 9]


def test_repr_tells_what_it_is() -> None:
    assert repr(topology.causal([3, 2])) == "Causal(num_nodes=5, num_edges=9, num_graphs=2)"
    assert repr(topology.chain(4, backward=True)) == "Chain(is_reversed=True, num_nodes=4, num_edges=3)"
    assert repr(topology.band(9, 2)) == "Band(left=2, right=2, dilation=1, num_nodes=9, num_edges=39)"


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: topology.complete(-1), ValueError, "lengths is -1, but must be at least 0"),
        (lambda: topology.complete([2, -3]), ValueError, r"lengths\[1\] is -3, but must be at least 0"),
        (
            lambda: topology.causal(2.5),  # type: ignore[arg-type]
            TypeError,
            "lengths is 2.5, but must be an integer",
        ),
        (
            lambda: topology.chain([1, "2"]),  # type: ignore[list-item]
            TypeError,
            r"lengths\[1\] is '2', but must be an integer",
        ),
        (lambda: topology.star(-1), ValueError, "leaves is -1"),
        (lambda: topology.band(5, -1), ValueError, "window is -1, but must be at least 0"),
        (
            lambda: topology.band(5, (1, 2, 3)),  # type: ignore[arg-type]
            ValueError,
            r"window is \(1, 2, 3\), but must be one integer or 2",
        ),
        (
            lambda: topology.band(5, (1, 2), causal=True),
            ValueError,
            "causal=True allows no node on the right",
        ),
        (lambda: topology.band(5, 1, dilation=0), ValueError, "dilation is 0, but must be at least 1"),
        (
            lambda: topology.complete_bipartite([1, 2], 3),
            ValueError,
            "src_lengths is for 2 graphs, but dst_lengths for 1",
        ),
    ],
)
def test_bad_arguments_are_named(make: Callable[[], Graph], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        make()
