"""Trees from parent pointers, against networkx."""

from collections.abc import Callable

import networkx as nx
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from mpnn import topology
from mpnn.topology import Tree


@st.composite
def forests(draw: st.DrawFn) -> list[int]:
    """Parents of a random forest, its nodes numbered in a random order."""
    n = draw(st.integers(0, 12))
    earlier = [draw(st.integers(-1, i - 1)) for i in range(n)]
    order = draw(st.permutations(range(n)))
    parents = [-1] * n
    for i, parent in enumerate(earlier):
        parents[order[i]] = -1 if parent < 0 else order[parent]
    return parents


def as_networkx(parents: list[int]) -> nx.DiGraph:
    graph = nx.DiGraph()
    graph.add_nodes_from(range(len(parents)))
    graph.add_edges_from((i, p) for i, p in enumerate(parents) if p >= 0)
    return graph


@settings(deadline=None)
@given(forests())
def test_every_node_is_heard_by_its_parent(parents: list[int]) -> None:
    tree = topology.tree(parents)
    assert list(zip(*tree.edge_index.tolist(), strict=True)) == [
        (i, p) for i, p in enumerate(parents) if p >= 0
    ]
    assert tree.parent.tolist() == parents


@settings(deadline=None)
@given(forests())
def test_levels_are_heights_and_reversed_they_are_depths(parents: list[int]) -> None:
    tree, theirs = topology.tree(parents), as_networkx(parents)
    for ours, graph in ((tree, theirs), (tree.reverse(), theirs.reverse())):
        expected = [0] * len(parents)
        for level, nodes in enumerate(nx.topological_generations(graph)):
            for node in nodes:
                expected[node] = level
        assert ours.node_level().tolist() == expected


@settings(max_examples=50, deadline=None)
@given(st.lists(forests(), min_size=1, max_size=4))
def test_a_batch_of_trees_numbers_them_one_after_the_other(several: list[list[int]]) -> None:
    batch = topology.tree([torch.tensor(p, dtype=torch.int64) for p in several])
    assert batch.num_graphs == len(several)
    assert batch.lengths == tuple(map(len, several))
    for part, parents in zip(batch.unbatch(), several, strict=True):
        assert torch.equal(part.edge_index, topology.tree(parents).edge_index)


def test_a_path_of_a_hundred_thousand_nodes_needs_no_loop_over_them() -> None:
    n = 100_000
    tree = topology.tree(torch.arange(n) - 1)
    assert torch.equal(tree.node_level(), torch.arange(n).flip(0))
    assert torch.equal(tree.reverse().node_level(), torch.arange(n))


def test_a_star_of_networkx_is_a_tree() -> None:
    graph = nx.balanced_tree(3, 3, create_using=nx.DiGraph)
    parents = [next(graph.predecessors(node), -1) for node in graph]
    tree = topology.tree(parents)
    assert set(zip(*tree.reverse().edge_index.tolist(), strict=True)) == set(graph.edges)
    assert repr(tree) == "Tree(num_nodes=40, num_edges=39)"


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: topology.tree([-1, 5]), IndexError, r"parents\[1\] is 5, but must be -1 .* \(0..1\)"),
        (lambda: topology.tree([[-1], [-2, 0]]), IndexError, r"parents\[1\]\[0\] is -2"),
        (
            lambda: topology.tree([-1.0, 0.0]),  # type: ignore[arg-type]
            TypeError,
            "parents must hold integers, got torch.float32",
        ),
        (lambda: topology.tree(torch.zeros(2, 2, dtype=torch.int64)), ValueError, "one list of integers"),
        (lambda: topology.tree([0]), ValueError, "parents goes round in a cycle, 0 -> 0: a tree has none"),
        (lambda: topology.tree([-1, 3, 1, 2, 3]), ValueError, "a cycle, 1 -> 3 -> 2 -> 1: a tree has none"),
        (lambda: topology.tree([[-1], [1, 0, 1]]), ValueError, r"parents\[1\] goes .*, 0 -> 1 -> 0:"),
    ],
)
def test_bad_parents_are_named(make: Callable[[], Tree], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        make()
