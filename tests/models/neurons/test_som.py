"""The self-organising map against MiniSom, and on other maps against its equation as a loop."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from typing import Any

import networkx as nx
import numpy as np
import pytest
import torch
from minisom import MiniSom
from numpy.typing import NDArray
from sklearn.datasets import load_iris
from torch import Tensor

import mpnn
from mpnn import Graph, topology
from mpnn.models import SelfOrganisingMap
from mpnn.models.neurons.nearest import nearest
from mpnn.models.neurons.neighbourhood import DECAYS, NEIGHBOURHOODS, offsets_of
from tests.compare import assert_close

Array = NDArray[np.float64]
IRIS: Array = load_iris().data
IRIS = (IRIS - IRIS.mean(0)) / IRIS.std(0)
X = torch.from_numpy(IRIS)
SHAPES = [(6, 5), (5, 6), (4, 4)]


class Pair:
    """A map of MiniSom's and one of ours that begin with the same weights."""

    def __init__(self, shape: tuple[int, int], hexagonal: bool = False, **options: Any) -> None:
        self.shape, self.hexagonal = shape, hexagonal
        kind = "hexagonal" if hexagonal else "rectangular"
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of a σ that is no integer
            theirs = {"sigma": 1.5, "learning_rate": 0.5, "topology": kind, "random_seed": 0} | options
            self.theirs = MiniSom(*shape, 4, **theirs)
        self.theirs.random_weights_init(IRIS)
        columns, rows = shape
        graph = topology.lattice((rows, columns), hexagonal=True) if hexagonal else topology.lattice(shape)
        self.ours = SelfOrganisingMap(graph, 4, **({"sigma": 1.5, "learning_rate": 0.5} | options))
        self.ours.weight = self.as_ours(self.theirs.get_weights()).flatten(0, 1)

    def move(self) -> None:
        """Let no two units begin at one sample: the first of them is another one where rows are columns."""
        self.theirs._weights += 0.01 * np.random.default_rng(0).normal(size=self.theirs._weights.shape)
        self.ours.weight = self.as_ours(self.theirs.get_weights()).flatten(0, 1)

    def as_ours(self, theirs: Array) -> Tensor:
        """What MiniSom has of the units `[x, y, ...]`; it shifts columns of hexagons, from the last on."""
        found = torch.from_numpy(theirs.copy())
        if not self.hexagonal:
            return found
        return (found if self.shape[1] % 2 else found.flip(0)).transpose(0, 1)

    def assert_same(self, atol: float = 1e-12) -> None:
        expected = self.as_ours(self.theirs.get_weights()).flatten(0, 1)
        assert_close(self.ours.weight / expected.abs().max(), expected / expected.abs().max(), atol=atol)
        for name in ("quantization_error", "topographic_error"):
            assert getattr(self.ours, name)(X) == pytest.approx(getattr(self.theirs, name)(IRIS), rel=1e-12)


# Against MiniSom -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("neighbourhood", NEIGHBOURHOODS)
def test_online_it_is_minisom(shape: tuple[int, int], neighbourhood: str) -> None:
    pair = Pair(shape, neighborhood_function=neighbourhood)
    steps = 60 if neighbourhood == "mexican_hat" else 400  # it diverges
    pair.theirs.train(IRIS, steps)
    pair.ours.fit(X, steps)
    pair.assert_same()


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize(("neighbourhood", "steps"), [("gaussian", 400), ("mexican_hat", 60)])
def test_on_hexagons_it_is_minisom(shape: tuple[int, int], neighbourhood: str, steps: int) -> None:
    pair = Pair(shape, hexagonal=True, neighborhood_function=neighbourhood)
    pair.move()
    pair.theirs.train(IRIS, steps)
    pair.ours.fit(X, steps)
    pair.assert_same()


@pytest.mark.parametrize(("hexagonal", "error"), [(False, 1 / 30), (True, 4 / 150)])
def test_iris_has_the_topographic_error_of_minisom(hexagonal: bool, error: float) -> None:
    pair = Pair((6, 5), hexagonal)
    assert pair.ours.fit(X, 400).topographic_error(X) == pytest.approx(error, rel=1e-12)


@pytest.mark.parametrize("decay", ["asymptotic_decay", "inverse_decay_to_zero", "linear_decay_to_zero"])
@pytest.mark.parametrize("sigma", ["asymptotic_decay", "inverse_decay_to_one", "linear_decay_to_one"])
def test_decays_are_those_of_minisom(decay: str, sigma: str) -> None:
    pair = Pair((6, 5), decay_function=decay, sigma_decay_function=sigma)
    pair.theirs.train(IRIS, 200)
    pair.ours.fit(X, 200)
    pair.assert_same()


@pytest.mark.parametrize("hexagonal", [False, True])
@pytest.mark.parametrize("rate", [1.0, 0.3])
def test_in_batches_it_is_minisom(hexagonal: bool, rate: float) -> None:
    # Its units begin at samples, and some at the same: of those the first wins.
    pair = Pair((6, 5), hexagonal, learning_rate=rate, decay_function=DECAYS["constant"])
    if hexagonal:
        pair.move()
    pair.theirs.train_batch_offline(IRIS, 10)
    pair.ours.fit_batch(X, 10, learning_rate=rate)
    pair.assert_same()


@pytest.mark.parametrize("neighbourhood", ["bubble", "triangle"])
def test_a_unit_that_nothing_reaches_keeps_its_weight(neighbourhood: str) -> None:
    constant = DECAYS["constant"]
    pair = Pair((6, 5), neighborhood_function=neighbourhood, sigma=1.0, learning_rate=1.0,
                decay_function=constant, sigma_decay_function="inverse_decay_to_one")  # fmt: skip
    before = pair.ours.weight
    pair.theirs.train_batch_offline(IRIS, 2)
    pair.ours.fit_batch(X, 2)
    pair.assert_same()
    assert bool((pair.ours.weight == before).all(1).any())


@pytest.mark.parametrize("scaling", ["sum", "mean"])
@pytest.mark.parametrize(("shape", "hexagonal"), [((6, 5), False), ((4, 4), False), ((6, 5), True)])
def test_distances_of_neighbours_are_those_of_minisom(
    shape: tuple[int, int], hexagonal: bool, scaling: Any
) -> None:
    # On hexagons with an even number of columns MiniSom's list of neighbours is that of another shift.
    pair = Pair(shape, hexagonal)
    assert_close(pair.ours.distance_map(scaling), pair.as_ours(pair.theirs.distance_map(scaling)), atol=1e-12)


def test_what_units_win_is_what_they_win_in_minisom() -> None:
    pair = Pair((6, 5))
    labels = load_iris().target
    number = {(i, j): 5 * i + j for i in range(6) for j in range(5)}
    assert pair.ours.winner(X).tolist() == [number[pair.theirs.winner(x)] for x in IRIS]
    assert torch.equal(
        pair.ours.activation_response(X).double(), pair.as_ours(pair.theirs.activation_response(IRIS))
    )
    theirs = {number[unit]: won for unit, won in pair.theirs.win_map(IRIS, return_indices=True).items()}
    assert {unit: won.tolist() for unit, won in pair.ours.win_map(X).items()} == theirs
    counts = {number[unit]: count for unit, count in pair.theirs.labels_map(IRIS, labels).items()}
    assert pair.ours.labels_map(X, torch.from_numpy(labels)) == counts


def test_it_begins_on_the_plane_of_principal_components_as_minisom_does() -> None:
    pair = Pair((6, 5))
    pair.theirs.pca_weights_init(IRIS)
    ours, theirs = (
        pair.ours.pca_weights_init(X).weight.view(6, 5, 4),
        torch.from_numpy(pair.theirs.get_weights()),
    )
    flips = [ours.flip(dims) for dims in ((), (0,), (1,), (0, 1))]  # a component has no sign
    assert min(float((flip - theirs).abs().max()) for flip in flips) < 1e-12


# Against its equation ------------------------------------------------------------------------------------


def learned(x: Array, weight: Array, distance: Array, sigma: float, steps: int) -> Array:
    """The equation, with a gaussian of these distances, and MiniSom's decays."""
    weight = weight.copy()
    for t in range(steps):
        decay = 1 + t / (steps / 2)
        sample = x[t % len(x)]
        winner = ((sample - weight) ** 2).sum(1).argmin()
        h = np.exp(-(distance[winner] ** 2) / (2 * (sigma / decay) ** 2))
        weight += 0.5 / decay * h[:, None] * (sample - weight)
    return weight


def maps() -> Iterator[tuple[Graph, Array]]:
    """Graphs, and how far their units are from each other."""
    for hexagonal in (False, True):
        lattice = topology.lattice((4, 6), hexagonal=hexagonal, torus=True)
        places = lattice.positions.double().numpy()
        places[:, 0] = np.arange(24) // 6 * (np.sqrt(3) / 2 if hexagonal else 1)
        height, width = 4 * (np.sqrt(3) / 2 if hexagonal else 1), 6
        copies = [places + np.array([a * height, b * width]) for a in (-1, 0, 1) for b in (-1, 0, 1)]
        yield lattice, np.min([np.linalg.norm(places[:, None] - copy, axis=2) for copy in copies], axis=0)
    plain = nx.connected_watts_strogatz_graph(20, 4, 0.3, seed=0)
    edges = torch.tensor(list(plain.edges)).T
    hops = np.array([[nx.shortest_path_length(plain, i, j) for j in range(20)] for i in range(20)])
    yield Graph(torch.cat([edges, edges.flip(0)], 1), 20), hops.astype(np.float64)
    directed = nx.gnp_random_graph(15, 0.1, seed=1, directed=True)
    hops = np.full((15, 15), np.inf)
    for i, row in nx.all_pairs_shortest_path_length(directed):
        hops[i, list(row)] = list(row.values())
    assert np.isinf(hops).any()
    yield Graph(torch.tensor(list(directed.edges)).T, 15), hops


@pytest.mark.parametrize(
    ("graph", "distance"), list(maps()), ids=["square torus", "hexagonal torus", "small world", "directed"]
)
def test_on_any_map_it_is_the_equation(graph: Graph, distance: Array) -> None:
    torch.manual_seed(0)
    som = SelfOrganisingMap(graph, 4, sigma=2.0).double()
    expected = learned(IRIS, som.weight.numpy(), distance, 2.0, 300)
    assert_close(som.fit(X, 300).weight, torch.from_numpy(expected), atol=1e-12)


@pytest.mark.parametrize(("graph", "distance"), list(maps()))
def test_winners_reach_as_far_as_there_are_edges(graph: Graph, distance: Array) -> None:
    found = offsets_of(graph, torch.float64).square().sum(-1).sqrt()
    assert_close(found, torch.from_numpy(distance), atol=1e-12)
    for neighbourhood in NEIGHBOURHOODS.values():
        h = neighbourhood.weigh(neighbourhood.measure(offsets_of(graph, torch.float64)), 1.5)[..., 0]
        assert bool(h.isfinite().all())
        assert bool((h[torch.from_numpy(distance == np.inf)] == 0).all())


@pytest.mark.parametrize("backend", ["eager", "dense", "auto"])
@pytest.mark.parametrize("batch", [False, True])
def test_a_step_is_message_passing_on_any_backend(backend: str, batch: bool) -> None:
    pair = Pair((6, 5))
    if batch:
        pair.theirs = MiniSom(6, 5, 4, sigma=1.5, learning_rate=1, decay_function=DECAYS["constant"])
        pair.theirs._weights = pair.ours.weight.view(6, 5, 4).numpy().copy()
        pair.theirs.train_batch_offline(IRIS, 1)
    else:
        pair.theirs.update(IRIS[7], pair.theirs.winner(IRIS[7]), 0, 400)
    with mpnn.backend(backend):
        pair.ours.learn(X if batch else X[7:8], 1.5, 1.0 if batch else 0.5, batch=batch)
    pair.assert_same()


def test_the_nearest_are_the_first_of_the_nearest() -> None:
    torch.manual_seed(0)
    for dtype in (torch.float32, torch.float64):
        points = (100 + torch.randn(12, 5, dtype=dtype)).repeat(2, 1)  # every one twice, far from the origin
        x = 100 + torch.randn(300, 5, dtype=dtype)
        exact = torch.tensor([int((row - points).square().sum(1).argmin()) for row in x])
        assert torch.equal(nearest(x, points)[:, 0], exact)
        assert torch.equal(nearest(x, points, 2), torch.stack([exact, exact + 12], 1))


def test_samples_are_drawn_from_a_seed() -> None:
    one, other, third = (
        SelfOrganisingMap((6, 5), 4, sigma=1.5)
        .random_weights_init(X, 3)
        .fit(X, 200, random_order=True, seed=seed)
        for seed in (0, 0, 1)
    )
    assert torch.equal(one.weight, other.weight)
    assert not torch.equal(one.weight, third.weight)


def test_the_same_class_unfolds_on_a_line_a_ring_and_a_tree() -> None:
    torch.manual_seed(0)
    angle = torch.rand(400) * 2 * torch.pi
    circle = torch.stack([angle.cos(), angle.sin()], 1)
    tree = topology.tree([-1, 0, 0, 1, 1, 2, 2])
    both = Graph(torch.cat([tree.edge_index, tree.edge_index.flip(0)], 1), 7)
    for graph in (topology.lattice(8), topology.lattice(8, torus=True), both):
        som = SelfOrganisingMap(graph, 2, sigma=3.0, sigma_decay_function="linear_decay_to_one")
        som.random_weights_init(circle).fit_batch(circle, 20)
        assert som.quantization_error(circle) < 0.55
    ring = SelfOrganisingMap(topology.lattice(8, torus=True), 2, sigma=3.0).random_weights_init(circle)
    assert ring.fit(circle, 2000).topographic_error(circle) == 0.0


def test_a_map_of_any_graph_has_distances_of_its_neighbours() -> None:
    torch.manual_seed(0)
    path = Graph(torch.tensor([[0, 1, 1, 2], [1, 0, 2, 1]]), 3)
    som = SelfOrganisingMap(path, 2).double()
    w = som.weight
    apart = torch.stack([(w[0] - w[1]).norm(), (w[1] - w[2]).norm()])
    expected = torch.stack([apart[0], apart.mean(), apart[1]])
    assert_close(som.distance_map("mean"), expected / expected.max(), atol=1e-12)
    assert som.component_planes().shape == (2, 3)
    assert som.activation_response(w).tolist() == [1, 1, 1]


def test_one_unit_is_a_mean_and_has_no_topographic_error() -> None:
    som = SelfOrganisingMap(1, 4, sigma=2.0).double().fit_batch(X, 3)
    assert_close(som.weight[0], X.mean(0), atol=1e-12)
    assert np.isnan(som.topographic_error(X))
    assert som.distance_map().tolist() == [0.0]


def test_weights_are_saved_with_the_map_and_moved_to_its_type() -> None:
    som = SelfOrganisingMap((6, 5), 4).fit(X.float(), 50)
    assert som.weight.dtype == torch.float32
    other = SelfOrganisingMap((6, 5), 4)
    other.load_state_dict(som.state_dict())
    assert torch.equal(other(X.float()), som(X.float()))
    assert_close(som(X), torch.cdist(X, som.weight.double()), atol=1e-12)


_WRONG: Any = "max"


def _som(**options: Any) -> SelfOrganisingMap:
    return SelfOrganisingMap((3, 3), 4, **options)


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: _som(sigma=0.0), "sigma must be above 0, got 0.0"),
        (lambda: _som(sigma=float("nan")), "sigma must be a finite"),
        (lambda: _som(learning_rate=-1.0), "learning_rate must be a finite number of at least 0"),
        (lambda: _som(neighborhood_function="cone"), "neighborhood_function is 'cone', but must be one"),
        (lambda: _som(decay_function="never"), "decay_function is 'never', but must be a function"),
        (lambda: SelfOrganisingMap(Graph(torch.tensor([[0], [0]]), (1, 2)), 4), r"graph has size \(1, 2\)"),
        (lambda: SelfOrganisingMap((3, 3), 0), "in_features must be at least 1, got 0"),
        (lambda: _som().fit(X[:, :3], 5), r"x must be floating point \[num_samples, 4\], got"),
        (lambda: _som().fit(X[:0], 5), r"got torch.float64 of shape \[0, 4\]"),
        (lambda: _som().winner(X.long()), "x must be floating point .*, got torch.int64"),
        (lambda: _som().winner(X.index_fill(0, torch.tensor(2), torch.nan)), r"x\[2, 0\] is nan, but"),
        (lambda: _som().fit(X, 0), "steps must be at least 1, got 0"),
        (lambda: _som().fit_batch(X, 0), "epochs must be at least 1, got 0"),
        (lambda: _som(sigma=1.2).fit_batch(X, 9), "sigma ends at 0.432, but must be at least 0.5"),
        (lambda: _som(sigma_decay_function=lambda s, t, n: s - t).fit(X, 9), "sigma must stay finite"),
        (lambda: _som(decay_function=lambda r, t, n: torch.nan).fit(X, 9), "learning_rate must stay finite"),
        (lambda: _som().distance_map(_WRONG), "scaling is 'max', but must be 'sum'"),
        (lambda: _som().labels_map(X, [1, 2]), "labels must be 150, one for each sample, got 2"),
        (lambda: SelfOrganisingMap(9, 4).pca_weights_init(X), "needs a map of two dimensions"),
    ],
)  # fmt: skip
def test_a_mistake_is_one_sentence(call: Any, words: str) -> None:
    with pytest.raises(ValueError, match=words) as raised:
        call()
    assert "\n" not in str(raised.value)
