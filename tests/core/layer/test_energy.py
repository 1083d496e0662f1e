"""The energy of a state is that of a plain loop, and the message is minus its slope."""

from __future__ import annotations

from itertools import product
from typing import Any

import networkx as nx
import pytest
import torch
from torch import Tensor

import mpnn
from mpnn import EnergyLayer, Graph, MessagePassing, Schedule, energy, iterate
from tests.compare import assert_close


class Spin(MessagePassing):
    """The plainest message with an energy."""

    state = ("s",)

    def message(self, s_j: Tensor, w: Tensor) -> Tensor:
        return w.view(-1, *[1] * (s_j.dim() - 1)) * s_j

    def update(self, inputs: Tensor, s: Tensor) -> Tensor:
        return torch.where(inputs == 0, s, inputs.sign())


def _random(seed: int, number: int = 10) -> tuple[Graph, Tensor, list[tuple[int, int, float]]]:
    """A random graph with symmetric weights, and its pairs."""
    plain = nx.gnp_random_graph(number, 0.5, seed=seed)
    generator = torch.Generator().manual_seed(seed)
    pairs = [(i, j, float(torch.randn((), generator=generator))) for i, j in plain.edges]
    edges = torch.tensor([[i, j] for i, j, _ in pairs] + [[j, i] for i, j, _ in pairs]).T
    weight = torch.tensor([w for *_, w in pairs] * 2, dtype=torch.float64)
    return Graph(edges, num_nodes=number), weight, pairs


def _all_states(number: int) -> Tensor:
    return torch.tensor(list(product([-1.0, 1.0], repeat=number)), dtype=torch.float64).T


@pytest.mark.parametrize("seed", range(4))
def test_the_energy_of_every_state_is_that_of_a_loop_over_pairs(seed: int) -> None:
    graph, weight, pairs = _random(seed)
    states = _all_states(10)
    bias = torch.randn(10, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))
    expected = -sum(w * states[i] * states[j] for i, j, w in pairs) - (bias[:, None] * states).sum(0)
    assert_close(energy(Spin(), graph, states, bias=bias, w=weight), torch.as_tensor(expected), atol=1e-12)
    assert_close(energy(Spin(), graph, states[:, 5], bias=bias, w=weight), torch.as_tensor(expected)[5])


def test_the_message_is_minus_the_slope_of_the_energy() -> None:
    graph, weight, _ = _random(1)
    state = torch.randn(10, 3, dtype=torch.float64, requires_grad=True)
    (slope,) = torch.autograd.grad(energy(Spin(), graph, state, w=weight).sum(), state)
    received = mpnn.propagate(graph, Spin().message, "sum", s=state, w=weight)
    assert_close(-slope, received, atol=1e-12)


def test_a_flip_costs_twice_the_state_times_what_it_receives() -> None:
    graph, weight, _ = _random(2)
    state = _all_states(10)[:, 77]
    received = mpnn.propagate(graph, Spin().message, "sum", s=state, w=weight)
    for i in range(10):
        flipped = state.clone()
        flipped[i] *= -1
        cost = energy(Spin(), graph, flipped, w=weight) - energy(Spin(), graph, state, w=weight)
        assert_close(cost, 2 * state[i] * received[i], atol=1e-12)


@pytest.mark.parametrize("seed", range(6))
def test_the_energy_never_rises_one_after_the_other_or_colour_by_colour(seed: int) -> None:
    graph, weight, _ = _random(seed, 24)
    generator = torch.Generator().manual_seed(seed)
    spins = torch.randint(2, (24, 8), generator=generator) * 2.0 - 1
    orders = [
        Schedule.asynchronous(torch.randperm(24, generator=generator)),
        Schedule.alternating(mpnn.topology.colouring(graph)),
    ]
    for schedule in orders:
        found = iterate(Spin(), graph, spins.double(), schedule=schedule, until=0, record=1, w=weight)
        steps = [spins.double(), *found.record]
        levels = torch.stack([energy(Spin(), graph, state, w=weight) for state in steps])
        assert found.converged
        assert bool((levels.diff(dim=0) <= 1e-12).all())


def test_under_all_at_once_the_function_of_two_steps_never_rises() -> None:
    graph, weight, _ = _random(3, 24)
    spins = torch.randint(2, (24, 8), generator=torch.Generator().manual_seed(3)).double() * 2 - 1
    steps = [spins, *iterate(Spin(), graph, spins, steps=8, record=1, w=weight).record]
    received = [mpnn.propagate(graph, Spin().message, "sum", s=s, w=weight) for s in steps]
    level = torch.stack([-(new * old).sum(0) for new, old in zip(steps[1:], received, strict=False)])
    assert bool((level.diff(dim=0) <= 1e-12).all())


# What says the energy of its edge -------------------------------------------------------------------------


class Rotors(EnergyLayer):
    """The XY model: angles that turn towards each other (Kuramoto, 1975)."""

    def edge_energy(self, x_i: Tensor, x_j: Tensor, j: Tensor) -> Tensor:
        return -j * torch.cos(x_i - x_j)

    def message(self, x_i: Tensor, x_j: Tensor, j: Tensor) -> Tensor:
        slope: Tensor = torch.func.grad(lambda x: self.edge_energy(x, x_j, j).sum())(x_i)
        return -slope


def test_a_layer_that_says_the_energy_of_an_edge_gets_its_force() -> None:
    graph, weight, pairs = _random(4)
    angle = torch.randn(10, dtype=torch.float64, requires_grad=True)
    found = energy(Rotors(), graph, angle, j=weight)
    expected = -sum(w * torch.cos(angle[i] - angle[k]) for i, k, w in pairs)
    assert_close(found, torch.as_tensor(expected), atol=1e-12)
    (slope,) = torch.autograd.grad(found, angle)
    force = Rotors().propagate(graph, x=angle, j=weight)
    assert_close(force, -slope, atol=1e-12)
    by_hand = mpnn.propagate(graph, lambda x_i, x_j, j: j * torch.sin(x_j - x_i), "sum", x=angle, j=weight)
    assert_close(force, by_hand, atol=1e-12)


class Springs(EnergyLayer):
    """Two ends of an edge pull at each other."""

    def edge_energy(self, x_i: Tensor, x_j: Tensor) -> Tensor:
        return 0.5 * (x_i - x_j).square()


def test_a_message_follows_from_the_energy_alone() -> None:
    graph, _, _ = _random(5)
    x = torch.randn(10, 2, dtype=torch.float64)
    expected = mpnn.propagate(graph, lambda x_i, x_j: x_j - x_i, "sum", x=x)
    assert_close(Springs().propagate(graph, x=x), expected, atol=1e-12)


# What has no energy ---------------------------------------------------------------------------------------

PAIR = torch.tensor([[0, 1], [1, 0]])


@pytest.mark.parametrize(
    ("edges", "weight", "words"),
    [
        ([[0, 1], [1, 2]], [1.0, 1.0], r"Spin has no energy here: the edge 0 -> 1 has no reverse"),
        ([[0, 1], [1, 0]], [1.0, 2.0], r"the edge 0 -> 1 weighs 1, but 1 -> 0 2"),
        ([[0, 1, 2], [1, 0, 2]], [1.0, 1.0, 1.0], r"without self loops only, but node 2 has one"),
    ],
)
def test_what_is_missing_is_named(edges: list[list[int]], weight: list[float], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        energy(Spin(), Graph(torch.tensor(edges), num_nodes=3), torch.ones(3), w=torch.tensor(weight))


def test_edges_that_are_there_several_times_add_up() -> None:
    edges, weight = torch.tensor([[0, 0, 1], [1, 1, 0]]), torch.tensor([1.0, 2.0, 3.0])
    assert energy(Spin(), edges, torch.tensor([1.0, -1.0]), w=weight) == 3


@pytest.mark.parametrize(
    ("message", "words"),
    [
        (lambda self, s_i, s_j: s_i * s_j, r"reads s_i, so that it has no energy by itself"),
        (lambda self, s_j: s_j.square(), r"is not linear in s_j"),
        (lambda self, s_j: s_j + 1, r"is not linear in s_j"),
    ],
)
def test_a_message_without_an_energy_is_refused(message: Any, words: str) -> None:
    layer = type("Other", (Spin,), {"message": message})()
    with pytest.raises(TypeError, match=words):
        energy(layer, PAIR, torch.ones(2))


def test_a_mean_has_no_energy() -> None:
    with pytest.raises(TypeError, match="must sum its messages"):
        energy(Spin("mean"), PAIR, torch.ones(2), w=torch.ones(2))


# Random numbers and fields of a sweep ---------------------------------------------------------------------


class Noisy(MessagePassing):
    """A state that is drawn."""

    state = ("s",)

    def message(self, s_j: Tensor) -> Tensor:
        return s_j

    def update(self, inputs: Tensor, u: Tensor, t: float) -> Tensor:
        return torch.where(u < torch.sigmoid(inputs / t), 1.0, 0.0).to(inputs.dtype)


@pytest.mark.parametrize("kind", ["parallel", "asynchronous", "alternating"])
def test_a_chain_is_that_of_a_plain_loop_bit_for_bit(kind: str) -> None:
    graph, _, _ = _random(6)
    order = torch.randperm(10, generator=torch.Generator().manual_seed(6))
    ranks = {
        "parallel": torch.zeros(10, dtype=torch.int64),
        "asynchronous": order.argsort(),
        "alternating": mpnn.topology.colouring(graph),
    }
    rank = ranks[kind]
    state = torch.zeros(10, 4)
    found = iterate(
        Noisy(),
        graph,
        state,
        schedule=Schedule(rank),
        steps=5,
        u=mpnn.EachSweep(lambda sweep: mpnn.uniforms(3, sweep, (10, 4))),
        t=mpnn.EachSweep(lambda sweep: 2.0 / (1 + sweep)),
    ).state
    neighbours = [graph.src[graph.dst == i].tolist() for i in range(10)]
    for sweep in range(5):
        u, before, new = mpnn.uniforms(3, sweep, (10, 4)), state.clone(), state.clone()
        for i in rank.argsort(stable=True).tolist():
            read = [new[j] if rank[j] < rank[i] else before[j] for j in neighbours[i]]
            total = torch.stack([*read, torch.zeros(4)]).sum(0)
            new[i] = torch.where(u[i] < torch.sigmoid(total / (2.0 / (1 + sweep))), 1.0, 0.0)
        state = new
    assert torch.equal(found, state)


def test_the_numbers_are_uniform_and_independent_of_the_order() -> None:
    u = mpnn.uniforms(5, 2, (200, 500), dtype=torch.float64)
    assert 0 <= u.min() < 1e-3
    assert 1 - 1e-3 < u.max() < 1
    # 100,000 numbers in 50 bins: the statistic has mean 49 and deviation 9.9.
    counts = torch.histc(u, 50, 0, 1)
    assert float(((counts - 2000).square() / 2000).sum()) < 100
    nodes = [*u[:2], u[:, 0].repeat(3)[:500], mpnn.uniforms(5, 3, (200, 500)).double()[0]]
    correlation = torch.corrcoef(torch.stack(nodes))
    assert float((correlation - torch.eye(4)).abs().max()) < 0.2
    assert torch.equal(u[50:60], mpnn.uniforms(5, 2, (60, 500), dtype=torch.float64)[50:])
    assert not torch.equal(u, mpnn.uniforms(6, 2, (200, 500), dtype=torch.float64))
    assert float((u - mpnn.uniforms(5, 2, (200, 500), dtype=torch.float32)).abs().max()) < 1e-6


@pytest.mark.parametrize("seed", range(3))
def test_neighbours_have_other_colours(seed: int) -> None:
    graph, _, _ = _random(seed, 40)
    colour = mpnn.topology.colouring(graph)
    assert bool((colour[graph.src] != colour[graph.dst]).all())
    assert int(colour.max()) <= int(graph.in_degree.max())
    assert mpnn.topology.colouring(mpnn.topology.lattice((6, 6), torus=True)).unique().tolist() == [0, 1]
