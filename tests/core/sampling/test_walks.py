"""Random walks take each step with the probability of the paper, in C, in Triton and in plain PyTorch."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from itertools import pairwise

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import chisquare
from torch import Tensor

import mpnn
from mpnn import Graph
from mpnn.native import toolchain
from mpnn.native import walks as compiled
from mpnn.native.gpu import has_triton
from mpnn.sampling.walks import alias_table
from tests.core.graphs import graphs, random_graph
from tests.core.waiting import no_waiting

DEVICE = "cuda" if torch.cuda.is_available() else "cpu"
# Two squares with a diagonal and a corner in common, one edge twice, a leaf and a dead end.
ENDS = [(0, 1), (1, 2), (2, 3), (3, 0), (0, 2), (3, 4), (4, 5), (5, 6), (6, 3), (6, 7), (0, 1)]
EDGES = torch.tensor([*ENDS, *((b, a) for a, b in ENDS), (5, 8)]).T
TWO_SQUARES = Graph(EDGES, 9)
SIMPLE = TWO_SQUARES.edge_subgraph(
    (torch.arange(23) % 11 < 10) & (torch.arange(23) < 22)
)  # every edge once, and its reverse
WEIGHT = torch.rand(EDGES.size(1), generator=torch.Generator().manual_seed(1)) + 0.1
BIASES = [(1.0, 1.0), (0.25, 4.0), (4.0, 0.5), (0.5, 1.0)]


@pytest.fixture(params=["compiled", "plain"])
def _way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    if request.param == "plain":
        without_compiler(monkeypatch)


def without_compiler(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compiled, "_library", lambda index_type: None)


def on_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    """The kernel in Triton, interpreted where there is no GPU."""
    monkeypatch.setattr("mpnn.sampling.walks._walks_on_gpu", lambda device: True)


def chances(
    graph: Graph, weight: Tensor | None, p: float, q: float, t: int | None, v: int
) -> dict[int, float]:
    """The probability of every next node by the paper's formula."""
    weights = torch.ones(graph.num_edges) if weight is None else weight
    edges = list(zip(*graph.edge_index.tolist(), weights.tolist(), strict=True))
    links = {(a, b) for a, b, _ in edges}
    mass: Counter[int] = Counter()
    for a, x, w in edges:
        if a == v:
            factor = 1.0 if t is None else 1 / p if x == t else 1.0 if (t, x) in links else 1 / q
            mass[x] += w * factor
    return {x: m / sum(mass.values()) for x, m in mass.items()}


@pytest.mark.usefixtures("_way")
@pytest.mark.parametrize(
    ("graph", "weight"),
    [(TWO_SQUARES, None), (TWO_SQUARES, WEIGHT), (SIMPLE, None)],
    ids=["alike", "weighted", "simple"],
)
@pytest.mark.parametrize(("p", "q"), BIASES)
def test_every_step_has_its_exact_probability(
    graph: Graph, weight: Tensor | None, p: float, q: float
) -> None:
    start = torch.arange(9).repeat(4000)
    walks = mpnn.random_walks(graph, start, 3, weight=weight, p=p, q=q, seed=3)
    taken: dict[tuple[int | None, int], Counter[int]] = {}
    for walk in walks.tolist():
        for k, (v, x) in enumerate(pairwise(walk)):
            taken.setdefault((walk[k - 1] if k else None, v), Counter())[x] += 1
    tested = 0
    for (t, v), found in taken.items():
        expected = chances(graph, weight, p, q, t, v)
        if not expected:  # a dead end repeats its node
            assert set(found) == {v}
            continue
        assert set(found) <= set(expected)
        if len(expected) > 1 and found.total() * min(expected.values()) >= 5:
            observed = [found[x] for x in expected]
            assert chisquare(observed, [found.total() * c for c in expected.values()]).pvalue > 1e-4
            tested += 1
    assert tested > 20


WAYS = [without_compiler]
if has_triton():
    WAYS.append(on_gpu)


@pytest.mark.parametrize("way", WAYS)
@settings(max_examples=30)
@given(
    graph=graphs(bipartite=False),
    bias=st.sampled_from(BIASES),
    weighted=st.booleans(),
    seed=st.integers(0, 9),
)
def test_plain_pytorch_and_a_gpu_take_the_same_steps(
    way: Callable[[pytest.MonkeyPatch], None],
    graph: Graph,
    bias: tuple[float, float],
    weighted: bool,
    seed: int,
) -> None:
    if graph.num_edges % 2:
        both = torch.cat([graph.edge_index, graph.edge_index.flip(0)], dim=1).unique(dim=1)
        graph = Graph(both, graph.num_nodes)
    weight = torch.rand(graph.num_edges, generator=torch.Generator().manual_seed(seed)) if weighted else None
    if weight is not None:
        weight[::5] = 0
    walk = lambda: mpnn.random_walks(graph, None, 7, weight=weight, p=bias[0], q=bias[1], seed=seed)  # noqa: E731
    ours = walk()
    with pytest.MonkeyPatch.context() as patch:
        way(patch)
        assert torch.equal(ours, walk())


@pytest.mark.skipif(not has_triton(), reason="Triton is not installed")
@pytest.mark.parametrize(("p", "q"), BIASES)
def test_many_walks_on_a_gpu_take_the_same_steps(p: float, q: float, monkeypatch: pytest.MonkeyPatch) -> None:
    graph = random_graph(40, 300)
    start, weight = torch.arange(40).repeat(3), torch.rand(300)
    ours = [mpnn.random_walks(graph, start, 6, weight=w, p=p, q=q, seed=2) for w in (None, weight)]
    on_gpu(monkeypatch)
    found = [mpnn.random_walks(graph, start, 6, weight=w, p=p, q=q, seed=2) for w in (None, weight)]
    assert torch.equal(found[0], ours[0]) and torch.equal(found[1], ours[1])


@pytest.mark.skipif(not has_triton(), reason="Triton is not installed")
@pytest.mark.parametrize(("p", "q"), BIASES[:2])
def test_on_a_gpu_only_the_first_walks_wait(p: float, q: float, monkeypatch: pytest.MonkeyPatch) -> None:
    on_gpu(monkeypatch)
    graph, start = random_graph(20, 60).to(DEVICE), torch.arange(20, device=DEVICE)
    weight = torch.rand(60, device=DEVICE)

    def walk() -> Tensor:
        mpnn.random_walks(graph, None, 2, p=p, q=q)
        mpnn.random_walks(graph, start, 2, weight=weight, p=p, q=q)
        return mpnn.random_walks(graph, start, 2, p=p, q=q)

    first = walk()
    with no_waiting():
        assert first.shape == walk().shape
    start[3] = 20
    with pytest.raises(IndexError, match=r"start\[3\] is 20"):
        walk()
    weight[3] = -1
    with pytest.raises(ValueError, match=r"weight\[3\] is -1"):
        mpnn.random_walks(graph, None, 2, weight=weight)


@pytest.mark.skipif(not has_triton(), reason="Triton is not installed")
def test_on_a_gpu_a_walk_from_no_node_reads_nothing() -> None:
    from mpnn.native import walks_gpu

    rows, start = TWO_SQUARES.to(DEVICE).by_src, torch.tensor([-3, 2, 9], device=DEVICE)
    walks = walks_gpu.launch(rows.indptr, rows.indices, None, start, 3, start.new_zeros(()), None)
    assert walks[[0, 2]].eq(-1).all() and walks[1].ge(0).all()


@pytest.mark.parametrize(("p", "q"), BIASES)
def test_walks_do_not_depend_on_the_number_of_threads(p: float, q: float) -> None:
    graph, start = random_graph(500, 3000), torch.arange(500).repeat(10)
    before, found = torch.get_num_threads(), []
    try:
        for threads in (1, 2, 5):
            torch.set_num_threads(threads)
            found.append(mpnn.random_walks(graph, start, 20, p=p, q=q, seed=1))
    finally:
        torch.set_num_threads(before)
    assert torch.equal(found[0], found[1]) and torch.equal(found[0], found[2])
    assert not torch.equal(found[0], mpnn.random_walks(graph, start, 20, p=p, q=q, seed=2))


@pytest.mark.parametrize(("p", "q"), BIASES)
def test_a_long_row_is_searched_right(p: float, q: float) -> None:
    # A complete graph with a hole in every row: all but one of a node's neighbours are linked to each other.
    adjacency = ~torch.eye(200, dtype=torch.bool) & ~torch.eye(200, dtype=torch.bool).fliplr()
    graph = Graph(adjacency.nonzero().T)
    walks = mpnn.random_walks(graph, torch.arange(200).repeat(100), 2, p=p, q=q, seed=4)
    t, _, x = walks.T
    kinds = [(x == t).sum(), ((x != t) & adjacency[t, x]).sum(), (~adjacency[t, x] & (x != t)).sum()]
    mass = torch.tensor([1 / p, 196.0, 1 / q])  # of 198 neighbours one is t, one is not linked to t
    expected = mass / mass.sum() * len(walks)
    assert chisquare([int(kind) for kind in kinds], expected.tolist(), sum_check=False).pvalue > 1e-4


@given(weights=st.lists(st.lists(st.floats(0.01, 100), min_size=1, max_size=6), min_size=1, max_size=4))
def test_an_alias_table_holds_exactly_the_weights(weights: list[list[float]]) -> None:
    ends = torch.tensor([(row, slot) for row, values in enumerate(weights) for slot in range(len(values))]).T
    graph = Graph(ends, (len(weights), 6))
    flat = torch.tensor([value for values in weights for value in values], dtype=torch.float64)
    threshold, own, other = alias_table(graph.by_src, flat).long().unbind(1)
    below = (threshold & (2**32 - 1)).double() / 2**32
    mass = torch.zeros(len(weights), 6, dtype=torch.float64)
    mass.index_put_((ends[0], own), below, accumulate=True)
    mass.index_put_((ends[0], other), 1 - below, accumulate=True)
    expected = torch.zeros_like(mass)
    expected[ends[0], ends[1]] = flat
    torch.testing.assert_close(mass / mass.sum(1, True), expected / expected.sum(1, True), atol=1e-9, rtol=0)


def test_wide_indices_walk_as_narrow_ones() -> None:
    graph, start = random_graph(50, 300), torch.arange(50)
    rows = graph.by_src
    wide = rows.indptr.long(), rows.indices.long()
    ours = compiled.walk(rows.indptr, rows.indices, None, start, 5, 7, None, None)
    assert ours is not None and torch.equal(ours, compiled.walk(*wide, None, start, 5, 7, None, None))  # type: ignore[arg-type]


def test_torchs_seed_decides_where_none_is_given() -> None:
    walk: Callable[[], Tensor] = lambda: mpnn.random_walks(EDGES, None, 9)  # noqa: E731
    torch.manual_seed(5)
    first, second = walk(), walk()
    torch.manual_seed(5)
    assert torch.equal(first, walk()) and not torch.equal(first, second)


@pytest.fixture
def _no_c(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    def fail(source: str, *, exact: bool = False) -> None:
        raise toolchain.CompilerError("none")

    compiled._library.cache_clear()
    monkeypatch.setattr("mpnn.native.library.load", fail)
    yield
    compiled._library.cache_clear()


@pytest.mark.usefixtures("_no_c")
def test_without_a_compiler_walks_go_on() -> None:
    assert mpnn.random_walks(TWO_SQUARES, None, 3, weight=WEIGHT, p=2.0).shape == (9, 4)


def test_no_steps_no_walks_no_nodes() -> None:
    assert mpnn.random_walks(TWO_SQUARES, None, 0, q=2.0).tolist() == [[node] for node in range(9)]
    assert mpnn.random_walks(TWO_SQUARES, torch.tensor([], dtype=torch.long), 4).shape == (0, 5)
    assert mpnn.random_walks(torch.zeros(2, 0, dtype=torch.long), None, 4, p=3.0).shape == (0, 5)


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"start": torch.tensor([3, 9])}, r"start\[1\] is 9, but the graph has 9 nodes \(0..8\)"),
        ({"start": torch.tensor([0.5])}, r"start must be an integer tensor \[num_walks\], got torch.float32"),
        (
            {"start": torch.zeros(2, 2, dtype=torch.int64)},
            r"start must have shape \[num_walks\], got \[2, 2\]",
        ),
        ({"length": -1}, "length is -1, but should be at least 0"),
        ({"p": 0.0}, "p is 0.0, but should be above 0"),
        ({"q": 1e9}, "q is 1000000000.0, but should make no step more than 10,000 times as likely"),
        ({"weight": torch.ones(3)}, r"weight must have shape \[23\], got \[3\]"),
        ({"weight": torch.ones(23, dtype=torch.int64)}, "weight must be a floating-point tensor"),
        ({"weight": torch.full((23,), -1.0)}, r"weight\[0\] is -1.0, but should be finite and at least 0"),
        ({"graph": Graph(torch.tensor([[0], [1]]), (1, 2))}, "needs one set of nodes"),
    ],
    ids=str,
)
def test_a_mistake_gets_one_sentence(change: dict[str, object], sentence: str) -> None:
    arguments = {"graph": TWO_SQUARES, "start": None, "length": 2} | change
    with pytest.raises((ValueError, TypeError, IndexError), match=sentence):
        mpnn.random_walks(**arguments)  # type: ignore[arg-type]
