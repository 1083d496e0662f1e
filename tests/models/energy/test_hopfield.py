"""Hopfield's network against enumeration, and against the theory of many neurons."""

from __future__ import annotations

from itertools import product
from math import erfc, sqrt

import networkx as nx
import pytest
import torch
from torch import Tensor

from mpnn import Graph, iterate
from mpnn.models import HopfieldNetwork
from tests.compare import assert_close


def _patterns(count: int, number: int, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(2, (count, number), generator=generator).double() * 2 - 1


def _matrix(network: HopfieldNetwork) -> Tensor:
    graph = network.graph
    matrix = torch.zeros(network.num_neurons, network.num_neurons, dtype=torch.float64)
    matrix[graph.dst, graph.src] = network.weight
    return matrix


def test_weights_are_those_of_hebb_and_of_the_pseudo_inverse() -> None:
    patterns = _patterns(3, 12)
    diagonal = torch.eye(12, dtype=torch.bool)
    hebb = (patterns.T @ patterns / 12).masked_fill(diagonal, 0)
    assert_close(_matrix(HopfieldNetwork(12).fit(patterns)), hebb, atol=1e-12)
    projection = (torch.linalg.pinv(patterns) @ patterns).masked_fill(diagonal, 0)
    found = _matrix(HopfieldNetwork(12).fit(patterns, "pseudo-inverse"))
    assert_close(found, projection, atol=1e-12)


def test_the_states_that_stay_are_the_minima_of_the_energy() -> None:
    network = HopfieldNetwork(12).fit(_patterns(2, 12, 5))
    states = torch.tensor(list(product([-1.0, 1.0], repeat=12)), dtype=torch.float64).T
    matrix = _matrix(network)
    levels = network.energy(states)
    assert_close(levels, -0.5 * (states * (matrix @ states)).sum(0), atol=1e-12)
    ended = network.predict(states, seed=3)
    assert ended.converged
    stays = (ended.state == states).all(0)
    flips = torch.stack(
        [network.energy(states * (1 - 2 * torch.eye(12)[i].double())[:, None]) for i in range(12)]
    )
    assert torch.equal(stays, (flips >= levels - 1e-12).all(0))
    assert bool((network.energy(ended.state) <= levels + 1e-12).all())


def test_all_at_once_two_states_may_follow_each_other() -> None:
    network = HopfieldNetwork(2).fit(torch.tensor([[1.0, 1.0]]))
    found = network.predict(torch.tensor([1.0, -1.0]), mode="sync")
    assert (found.converged, found.cycle, found.sweeps) == (False, True, 2)
    assert network.predict(torch.tensor([1.0, -1.0])).converged


@pytest.mark.parametrize("load", [0.138, 0.37])
def test_the_share_of_unstable_bits_is_that_of_the_theory(load: float) -> None:
    # Hertz, Krogh and Palmer, 1991, section 2.2: ½ erfc(√(1 / 2α)), for many neurons.
    number = 500
    patterns = _patterns(int(load * number), number, 1).float()
    network = HopfieldNetwork(number).fit(patterns)
    unstable = float((network(patterns.T) != patterns.T).double().mean())
    expected = 0.5 * erfc(sqrt(1 / (2 * len(patterns) / number)))
    deviation = sqrt(expected / patterns.numel())
    assert abs(unstable - expected) < 4 * deviation + 0.05 * expected


@pytest.mark.parametrize(("load", "remembers"), [(0.10, True), (0.20, False)])
def test_patterns_are_remembered_up_to_a_load(load: float, remembers: bool) -> None:
    number = 1000
    patterns = _patterns(int(load * number), number, 2).float()
    network = HopfieldNetwork(number).fit(patterns)
    found = network.predict(patterns[:4].T, mode="sync", steps=60).state
    overlap = float((found * patterns[:4].T).mean())
    assert overlap > 0.99 if remembers else overlap < 0.7


def test_under_the_pseudo_inverse_many_patterns_stay() -> None:
    patterns = _patterns(60, 200, 3)
    network = HopfieldNetwork(200).fit(patterns, "pseudo-inverse")
    assert torch.equal(network(patterns.T), patterns.T)


def test_the_same_class_remembers_on_a_sparse_graph() -> None:
    plain = nx.connected_watts_strogatz_graph(300, 40, 0.3, seed=0)
    edges = torch.tensor(list(plain.edges)).T
    graph = Graph(torch.cat([edges, edges.flip(0)], 1), num_nodes=300)
    patterns = _patterns(2, 300, 4).float()
    network = HopfieldNetwork(300, graph).fit(patterns)
    noisy = patterns[0].clone()
    noisy[:45] *= -1
    found = network.predict(noisy)
    assert found.converged
    assert float((found.state * patterns[0]).mean()) > 0.98


def test_a_sweep_is_that_of_any_layer() -> None:
    network = HopfieldNetwork(30).fit(_patterns(3, 30, 6))
    state = _patterns(1, 30, 7)[0]
    assert torch.equal(network(state), iterate(network, network.graph, state, w=network.weight).state)


def test_weights_are_saved_with_the_network() -> None:
    network = HopfieldNetwork(12).fit(_patterns(2, 12).float())
    other = HopfieldNetwork(12)
    other.load_state_dict(network.state_dict())
    state = _patterns(1, 12, 9)[0].float()
    assert torch.equal(other(state), network(state))


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda n: n.fit(torch.zeros(2, 4)), r"patterns\[0, 0\] is 0.0, but must be 1 or -1"),
        (lambda n: n.fit(torch.ones(2, 5)), r"patterns must be \[num_patterns, 4\], got shape \[2, 5\]"),
        (lambda n: n.fit(torch.ones(0, 4)), "patterns must be"),
        (lambda n: n.fit(torch.ones(2, 4), "oja"), "rule is 'oja', but must be 'hebb' or 'pseudo-inverse'"),
        (lambda n: n.predict(torch.full((4,), 0.5)), r"state\[0\] is 0.5, but must be 1 or -1"),
        (lambda n: n.predict(torch.ones(4), mode="both"), "mode is 'both', but must be 'async' or 'sync'"),
        (lambda n: HopfieldNetwork(0), "num_neurons"),
    ],
)
def test_a_mistake_is_one_sentence(call: object, words: str) -> None:
    assert callable(call)
    with pytest.raises(ValueError, match=words):
        call(HopfieldNetwork(4))
