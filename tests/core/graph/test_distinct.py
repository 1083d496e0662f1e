"""Distinct rows of integers, within 64 bits and beyond."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from mpnn import Graph
from mpnn.datasets.own.connect import each_once
from mpnn.graph.distinct import INT64_MAX, distinct_rows, first_of_each, keys
from mpnn.layer.typed import Part, Relations
from mpnn.train.tasks.pairs import Pairs, draw_unlinked

ROOT = 3_037_000_499  # the largest number whose square fits in an int64
SIZES = [
    (5, 4),
    (1, 1),
    (ROOT, ROOT),
    (ROOT + 1, ROOT),
    (2**62, 3),
    (91_230_610, 91_230_610, 1_387),
    (2**62,) * 3,
]


def drawn_rows(sizes: tuple[int, ...], num_rows: int, seed: int) -> Tensor:
    """Rows near the smallest and largest allowed values, many of them equal."""
    generator = np.random.default_rng(seed)
    corners = [generator.choice([0, min(1, n - 1), n // 2, n - 1], num_rows) for n in sizes]
    return torch.from_numpy(np.stack(corners).astype(np.int64))


@given(st.sampled_from(SIZES), st.integers(0, 40), st.integers(0, 9))
def test_distinct_rows_are_numpys(sizes: tuple[int, ...], num_rows: int, seed: int) -> None:
    rows = drawn_rows(sizes, num_rows, seed)
    ours, which = distinct_rows(rows, sizes)
    first, _ = first_of_each(rows, sizes)
    theirs, their_first, their_which = np.unique(rows.numpy(), axis=1, return_index=True, return_inverse=True)
    assert torch.stack(ours).tolist() == theirs.tolist()
    assert first.tolist() == their_first.tolist()
    assert which.tolist() == their_which.flatten().tolist()


@given(st.sampled_from(SIZES), st.integers(0, 9))
def test_keys_of_two_tables_compare_as_their_rows_do(sizes: tuple[int, ...], seed: int) -> None:
    one, two = (drawn_rows(sizes, num_rows, seed + k) for k, num_rows in enumerate((20, 7)))
    ours = keys(sizes, one, two)
    for k, row in enumerate(zip(*one.tolist(), strict=True)):
        for m, other in enumerate(zip(*two.tolist(), strict=True)):
            assert (int(ours[0][k]) < int(ours[1][m])) == (row < other)
            assert (int(ours[0][k]) == int(ours[1][m])) == (row == other)


def test_a_key_is_one_number_up_to_the_last_that_fits() -> None:
    last = torch.tensor([[ROOT - 1], [ROOT - 1]])
    assert keys([ROOT, ROOT], last)[0].tolist() == [ROOT**2 - 1]
    assert ROOT**2 <= INT64_MAX < (ROOT + 1) ** 2
    assert keys([ROOT + 1, ROOT + 1], last)[0].tolist() == [0]


@pytest.mark.parametrize(
    "num_nodes, num_types", [(91_230_610, 1_387), (2**40, 2**30), (ROOT, 1), (ROOT + 1, 2)]
)
def test_coalescing_the_largest_graphs_keeps_every_index(num_nodes: int, num_types: int) -> None:
    high, top = num_nodes - 1, num_types - 1
    edges = torch.tensor([[high, 0, high, 1, high], [high, high, high, 0, high]])
    graph = Graph(edges, num_nodes, torch.tensor([top, 0, top, 0, 0]), num_edge_types=num_types)
    merged, became = graph.coalesce()
    assert merged.edge_type is not None
    triples = list(zip(*merged.edge_index.tolist(), merged.edge_type.tolist(), strict=True))
    assert triples == sorted(
        {(1, 0, 0), (0, high, 0), (high, high, 0), (high, high, top)}, key=lambda t: t[1::-1] + t[2:]
    )
    given_triples = list(zip(*edges.tolist(), [top, 0, top, 0, 0], strict=True))
    assert [triples[k] for k in became.tolist()] == given_triples


def test_own_edges_of_the_largest_graphs_are_kept_once_each() -> None:
    n, kinds = 91_230_610, 1_387
    ends = torch.tensor([[n - 1, 5, n - 1, n - 1], [n - 2, 6, n - 2, n - 2]])
    first, original = each_once(ends, n, torch.tensor([kinds - 1, 0, kinds - 1, 3]), kinds)
    assert first.tolist() == [0, 1, 3]
    assert original.tolist() == [0, 1, 0, 3]


def test_pairs_of_the_most_types_and_nodes_hear_apart() -> None:
    few = Graph(torch.tensor([[0, 1, 0, 1], [1, 1, 1, 0]]), 2)
    types = torch.tensor([2**62, 0, 2**62, 5])
    (type_of_pair, of_pair), which = distinct_rows((types, few.dst), (2**62 + 1, 2**62))
    assert list(zip(type_of_pair.tolist(), of_pair.tolist(), strict=True)) == [(0, 1), (5, 0), (2**62, 1)]
    assert which.tolist() == [2, 0, 2, 1]
    made = Relations.of(few, torch.tensor([1, 0, 1, 0]), 2, forward=True, table=False)
    assert made.into_pairs.edge_index.tolist() == [[0, 1, 0, 1], [2, 1, 2, 0]]
    assert made.from_pairs.dst.tolist() == [0, 1, 1]
    assert [part.counts for part in Part.of(few, torch.tensor([1, 0, 1, 0]), 2, forward=True)]


@pytest.mark.parametrize("undirected", [False, True])
def test_pairs_of_the_largest_graphs_are_linked_or_not(undirected: bool) -> None:
    num_nodes = 2**40
    edges = torch.tensor([[num_nodes - 1, 3, 7, num_nodes - 1], [num_nodes - 2, 4, 7, num_nodes - 2]])
    if undirected:
        edges = torch.cat([edges, edges.flip(0)], dim=1)
    pairs = Pairs.of(Graph(edges, num_nodes))
    assert pairs.undirected == undirected
    wanted = [(3, 4), (num_nodes - 2, num_nodes - 1) if undirected else (num_nodes - 1, num_nodes - 2)]
    assert list(zip(*pairs.ends.tolist(), strict=True)) == wanted
    assert pairs.pair.tolist() == [1, 0, -1, 1] * (2 if undirected else 1)
    drawn = draw_unlinked(num_nodes, pairs.ends, 50, undirected=undirected, distinct=True)
    assert drawn.shape == (2, 50) and int(drawn.min()) >= 0 and int(drawn.max()) < num_nodes
    assert len(set(zip(*drawn.tolist(), strict=True))) == 50
