"""The Boltzmann machine against enumeration, and the Ising model against its exact solution."""

from __future__ import annotations

from collections.abc import Callable
from math import acosh, cos, cosh, log, pi, prod, sinh, tanh

import networkx as nx
import pytest
import torch
from torch import Tensor

from mpnn import Graph, topology, uniforms
from mpnn.models import BoltzmannMachine
from mpnn.models.energy.boltzmann_machine import Units
from tests.compare import assert_close


def _machine(units: Units, seed: int = 0, number: int = 8) -> BoltzmannMachine:
    plain = nx.gnp_random_graph(number, 0.5, seed=seed)
    edges = torch.tensor(list(plain.edges)).T
    generator = torch.Generator().manual_seed(seed)
    half = torch.randn(edges.size(1), generator=generator, dtype=torch.float64)
    graph = Graph(torch.cat([edges, edges.flip(0)], 1), num_nodes=number)
    bias = torch.randn(number, generator=generator, dtype=torch.float64)
    return BoltzmannMachine(graph, units=units, weight=torch.cat([half, half]), bias=bias).double()


def _transfer(side: int, coupling: float) -> float:
    """Log Z of the Ising model on a square torus by transfer matrices: another way to count."""
    rows = torch.tensor([[1 - 2 * (k >> b & 1) for b in range(side)] for k in range(2**side)]).double()
    within = (rows * rows.roll(1, 1)).sum(1)
    matrix = torch.exp(coupling * (rows @ rows.T + 0.5 * (within[:, None] + within[None, :])))
    return float(torch.linalg.eigvalsh(matrix).pow(side).sum().log())


def _by_formula(rows: int, columns: int, coupling: float) -> float:
    """Log Z of the torus by Kaufman's four products (1949): neither states nor matrices."""
    k = coupling

    def gamma(j: int) -> float:
        if j == 0:
            return 2 * k + log(tanh(k))
        return acosh(cosh(2 * k) / tanh(2 * k) - cos(pi * j / columns))

    halves = [rows / 2 * gamma(j) for j in range(2 * columns)]
    parts = [f(x) for f in (cosh, sinh) for x in halves]
    odd, even = slice(1, None, 2), slice(0, None, 2)
    of_cosh, of_sinh = parts[: 2 * columns], parts[2 * columns :]
    products = [prod(2 * x for x in part[which]) for part in (of_cosh, of_sinh) for which in (odd, even)]
    return log(0.5 * (2 * sinh(2 * k)) ** (rows * columns / 2) * sum(products))


def test_log_z_of_the_ising_torus_is_that_of_the_transfer_matrix() -> None:
    torus = topology.lattice((4, 4), torus=True)
    for coupling in (0.2, 0.4407, 0.6):
        machine = BoltzmannMachine(torus, units="spin", weight=coupling).double()
        machine.weight.data.fill_(coupling)
        found = float(machine.log_partition().detach())
        for other in (_transfer(4, coupling), _by_formula(4, 4, coupling)):
            assert abs(found / other - 1) < 1e-12
    machine.weight.data.fill_(1.0)
    levels, counts = machine.energy(machine.all_states()).detach().round().unique(return_counts=True)
    expected = {32: 2, 24: 32, 20: 64, 16: 424, 12: 1728, 8: 6688, 4: 13568, 0: 20524}
    assert dict(zip(levels.abs().int().tolist(), counts.tolist(), strict=True)) == expected


def _always(u: float) -> Callable[[int], Tensor]:
    return lambda sweep: torch.full((8,), u, dtype=torch.float64)


@pytest.mark.parametrize("units", ["binary", "spin"])
def test_a_unit_is_drawn_with_its_chance_given_the_others(units: Units) -> None:
    machine = _machine(units)
    states = machine.all_states()
    weights = torch.softmax(-machine.energy(states), 0).detach()
    for i in range(8):
        for state in states.T[::37]:
            others = (state == states.T).index_fill(1, torch.tensor([i]), True).all(1)
            up = others & (states[i] == machine.high)
            chance = weights[up].sum() / weights[others].sum()
            threshold = float(chance)
            for u, value in ((threshold - 1e-9, machine.high), (threshold + 1e-9, machine.low)):
                rest = torch.tensor([k for k in range(8) if k != i])
                assert float(machine.sample(state, clamped=rest, uniform=_always(u))[i]) == value


@pytest.mark.parametrize("units", ["binary", "spin"])
def test_the_mean_of_many_chains_is_that_of_all_states(units: Units) -> None:
    machine = _machine(units, 1)
    states = machine.all_states()
    weights = torch.softmax(-machine.energy(states), 0).detach()
    chains = machine.sample(sweeps=40, num_chains=10_000, seed=1)
    spread = machine.high - machine.low
    assert float((chains.mean(1) - (states * weights).sum(1)).abs().max()) < 0.03 * spread
    moments = (states * weights) @ states.T
    assert float((chains @ chains.T / 10_000 - moments).abs().max()) < 0.03 * spread


def test_the_slope_of_log_z_is_the_mean_of_what_is_coupled() -> None:
    machine = _machine("binary", 2)
    states = machine.all_states()
    weights = torch.softmax(-machine.energy(states), 0).detach()
    machine.log_partition().backward()
    graph = machine.graph
    pairs = (states[graph.src] * states[graph.dst] * weights).sum(1)
    assert machine.weight.grad is not None
    assert machine.bias.grad is not None
    assert_close(machine.weight.grad, pairs / 2, atol=1e-12)  # of each direction
    assert_close(machine.bias.grad, (states * weights).sum(1), atol=1e-12)


@pytest.mark.parametrize(
    ("coupling", "energy", "magnetisation"), [(0.3, -0.704499, None), (0.5, -1.745565, 0.911319)]
)
def test_the_ising_model_has_onsagers_energy_and_magnetisation(
    coupling: float, energy: float, magnetisation: float | None
) -> None:
    side = 32
    machine = BoltzmannMachine(topology.lattice((side, side), torus=True), units="spin", weight=coupling)
    state = torch.ones(side * side, 16)
    state = machine.sample(state, sweeps=200, seed=2)
    found, size = [], []
    for first in range(200, 600, 10):
        state = machine.sample(state, sweeps=10, seed=2, first=first)
        found.append(float(machine.energy(state).detach().mean()) / coupling / side**2)
        size.append(float(state.mean(0).abs().mean()))
    assert abs(sum(found) / len(found) - energy) < 0.006
    if magnetisation is not None:
        assert abs(magnetisation - (1 - sinh(2 * coupling) ** -4) ** 0.125) < 1e-6
        assert abs(sum(size) / len(size) - magnetisation) < 0.004


def test_a_chain_that_is_cut_goes_on_as_if_it_had_not_been() -> None:
    machine = _machine("binary", 3)
    begin = machine.sample(num_chains=5, sweeps=0)
    whole = machine.sample(begin, sweeps=9, seed=4)
    half = machine.sample(begin, sweeps=4, seed=4)
    assert torch.equal(machine.sample(half, sweeps=5, seed=4, first=4), whole)
    given = machine.sample(begin, sweeps=9, uniform=lambda t: uniforms(4, t, (8, 5), dtype=torch.float64))
    assert torch.equal(given, whole)


def test_a_machine_that_cools_ends_in_the_lowest_states() -> None:
    machine = _machine("spin", 5, 12)
    lowest = float(machine.energy(machine.all_states()).detach().min())

    def cooling(sweep: int) -> float:
        return float(3.0 * 0.95**sweep + 0.05)

    ends = machine.energy(machine.sample(sweeps=120, num_chains=50, seed=5, temperature=cooling))
    assert float((ends < lowest + 1e-9).double().mean()) > 0.5


def test_clamped_units_keep_their_value() -> None:
    machine = _machine("binary", 6)
    state = torch.ones(8, 40, dtype=torch.float64)
    drawn = machine.sample(state, sweeps=3, clamped=torch.tensor([2, 5]))
    assert bool((drawn[[2, 5]] == 1).all())
    assert bool((drawn == 0).any())


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: BoltzmannMachine(torch.tensor([[0], [1]]), 2), "the edge 0 -> 1 has no reverse"),
        (lambda: BoltzmannMachine(torch.tensor([[0], [0]]), 2), "node 0 has one"),
        (lambda: BoltzmannMachine(_PAIR, units="both"), "units is 'both', but must be one of binary, spin"),  # type: ignore[arg-type]
        (lambda: BoltzmannMachine(_PAIR, weight=torch.ones(3)), r"weight must be \[2\], got shape \[3\]"),
        (lambda: BoltzmannMachine(_PAIR, weight=torch.tensor([1.0, 2.0])), "weighs 1, but 1 -> 0 2"),
        (
            lambda: BoltzmannMachine(_PAIR).sample(torch.tensor([0.5, 0])),
            r"state\[0\] is 0.5, but binary units",
        ),
        (lambda: BoltzmannMachine(topology.lattice(30)).log_partition(), "has 30 units, but at most 20"),
    ],
)
def test_a_mistake_is_one_sentence(call: object, words: str) -> None:
    assert callable(call)
    with pytest.raises(ValueError, match=words):
        call()


_PAIR: Tensor = torch.tensor([[0, 1], [1, 0]])


def test_on_a_torus_with_a_side_of_2_both_neighbours_are_one_and_have_one_edge() -> None:
    # Transfer matrices and Kaufman's formula count the bond twice, once round either side.
    torus = topology.lattice((2, 4), torus=True)
    assert torus.num_edges == 2 * (4 + 8)
    weight = torch.full((torus.num_edges,), 0.3, dtype=torch.float64)
    across = (torus.src - torus.dst).abs() == 4
    machine = BoltzmannMachine(torus, units="spin", weight=weight).double()
    twice = BoltzmannMachine(torus, units="spin", weight=torch.where(across, 2 * weight, weight)).double()
    wanted = _by_formula(2, 4, 0.3)
    assert abs(float(twice.log_partition().detach()) / wanted - 1) < 1e-12
    assert abs(float(machine.log_partition().detach()) / wanted - 1) > 1e-2
