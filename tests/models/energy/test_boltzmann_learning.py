"""The learning of Boltzmann machines against enumeration, autograd and a plain loop."""

from __future__ import annotations

from collections.abc import Callable
from itertools import product
from math import exp, log

import encoder
import networkx as nx
import pytest
import torch
from torch import Tensor

from mpnn import Graph, uniforms
from mpnn.models import BoltzmannLearning, BoltzmannMachine, noisy
from mpnn.models.energy.boltzmann_machine import Units
from tests.compare import assert_close

VISIBLE = torch.tensor([4, 0, 3])
PATTERNS = torch.tensor([[1.0, 0.0, 1.0, 1.0], [0.0, 0.0, 1.0, 1.0], [1.0, 1.0, 0.0, 1.0]]).double()


def _machine(units: Units = "binary", seed: int = 0, scale: float = 1.0) -> BoltzmannMachine:
    plain = nx.gnp_random_graph(6, 0.6, seed=seed)
    edges = torch.tensor(list(plain.edges)).T
    generator = torch.Generator().manual_seed(seed)
    half = scale * torch.randn(edges.size(1), generator=generator, dtype=torch.float64)
    bias = scale * torch.randn(6, generator=generator, dtype=torch.float64)
    graph = Graph(torch.cat([edges, edges.flip(0)], 1), num_nodes=6)
    return BoltzmannMachine(graph, units=units, weight=torch.cat([half, half]), bias=bias).double()


def _by_loop(machine: BoltzmannMachine, patterns: Tensor, temperature: float) -> tuple[list[float], Tensor]:
    """Log p of each pattern, and the gradient of their mean at each edge, all state by state."""
    edges = machine.graph.edge_index.T.tolist()
    weight, bias = machine.weight.tolist(), machine.bias.tolist()
    chances = {}
    for state in product([machine.low, machine.high], repeat=6):
        energy = -sum(w * state[j] * state[i] for w, (j, i) in zip(weight, edges, strict=True)) / 2
        energy -= sum(b * s for b, s in zip(bias, state, strict=True))
        chances[state] = exp(-energy / temperature)
    total = sum(chances.values())
    slope = torch.zeros(len(edges), dtype=torch.float64)
    logs = []
    for pattern in patterns.T.tolist():
        fits = {s: p for s, p in chances.items() if [s[k] for k in VISIBLE.tolist()] == pattern}
        logs.append(log(sum(fits.values()) / total))
        for k, (j, i) in enumerate(edges):
            clamped = sum(p * s[j] * s[i] for s, p in fits.items()) / sum(fits.values())
            free = sum(p * s[j] * s[i] for s, p in chances.items()) / total
            slope[k] += (clamped - free) / temperature / 2 / patterns.size(1)  # half for each direction
    return logs, slope


@pytest.mark.parametrize("units", ["binary", "spin"])
@pytest.mark.parametrize("temperature", [1.0, 2.5])
def test_the_exact_gradient_is_pairs_in_the_data_less_pairs_in_all_states(
    units: Units, temperature: float
) -> None:
    machine = _machine(units)
    patterns = torch.where(PATTERNS > 0, machine.high, machine.low).double()
    found = machine.log_likelihood(patterns, VISIBLE, temperature)
    logs, slope = _by_loop(machine, patterns, temperature)
    assert_close(found, torch.tensor(logs, dtype=torch.float64), atol=1e-12)
    found.mean().backward()
    assert machine.weight.grad is not None
    assert_close(machine.weight.grad, slope, atol=1e-12)
    mask = torch.zeros(6, dtype=torch.bool).index_fill(0, VISIBLE, True)
    in_order = machine.log_likelihood(patterns[VISIBLE.argsort()], mask, temperature)
    assert_close(in_order, found, atol=1e-12)


@pytest.mark.parametrize("units", ["binary", "spin"])
def test_the_sampled_gradient_is_near_the_exact_one(units: Units) -> None:
    machine = _machine(units, scale=0.5)
    patterns = torch.where(PATTERNS > 0, machine.high, machine.low).double()
    temperature = 1.5
    wanted = torch.autograd.grad(
        -machine.log_likelihood(patterns, VISIBLE, temperature).mean(), [machine.weight, machine.bias]
    )
    learning = BoltzmannLearning(machine, VISIBLE, cooling=[(10, 4.0), (20, temperature)], counted=20, seed=3)
    learning.backward(patterns.repeat(1, 1000))
    for parameter, slope in zip((machine.weight, machine.bias), wanted, strict=True):
        assert parameter.grad is not None
        assert_close(parameter.grad, slope, atol=0.02)


def test_both_phases_draw_what_a_plain_loop_draws() -> None:
    machine = _machine(scale=0.5)
    learning = BoltzmannLearning(machine, VISIBLE, cooling=[(2, 3.0), (1, 2.0)], counted=2, seed=9)
    learning.backward(PATTERNS)
    wide, width, colours = machine.graph, PATTERNS.size(1), learning.free.rank_of(machine.graph)
    matrix = torch.zeros(6, 6).double().index_put((wide.dst, wide.src), machine.weight.detach())

    def pairs(state: Tensor, seed: int, frozen: list[int]) -> Tensor:
        total = torch.zeros(wide.num_edges, dtype=torch.float64)
        for sweep, temperature in enumerate([3.0, 3.0, 2.0, 2.0, 2.0]):
            u = uniforms(seed, sweep, (6, width), dtype=torch.float64)
            for i in sorted(range(6), key=colours.tolist().__getitem__):
                if i not in frozen:
                    chance = torch.sigmoid((matrix[i] @ state + machine.bias[i].detach()) / temperature)
                    state[i] = (u[i] < chance).double()
            if sweep >= 3:
                total += (state[wide.src] * state[wide.dst]).mean(1) / 2
        return total

    start = (uniforms(9 + (1 << 32), -1, (6, width), dtype=torch.float64) >= 0.5).double()
    given = start.clone()
    given[VISIBLE] = PATTERNS
    clamped = pairs(given, 9 + (2 << 32), VISIBLE.tolist())
    free = pairs(start, 9 + (3 << 32), [])
    assert machine.weight.grad is not None
    assert_close(machine.weight.grad, -(clamped - free) / 2 / 2, atol=1e-12)


def test_noise_turns_bits_over_with_its_chances() -> None:
    patterns = torch.cat([torch.ones(20_000), torch.zeros(20_000)])[None]
    found = noisy(patterns, seed=4)
    assert abs(float(found[:, :20_000].mean()) - 0.85) < 0.01
    assert abs(float(found[:, 20_000:].mean()) - 0.05) < 0.01
    assert torch.equal(noisy(patterns, off=0, on=0), patterns)
    assert torch.equal(noisy(patterns, off=1, on=1), 1 - patterns)


def test_encoders_are_learned() -> None:
    assert len(encoder.run(starts=10, cycles=150)) >= 2  # of 40 within 2,000 cycles: benchmarks/encoder.py


def test_what_is_solved_is_found_from_weights_that_solve_it() -> None:
    machine = BoltzmannMachine(encoder.encoder(2))
    code = torch.tensor([[0.0, 0.0], [0.0, 1.0], [1.0, 0.0], [1.0, 1.0]]) * 2 - 1
    matrix = torch.zeros(10, 10)
    matrix[:8, 8:] = 60 * code.repeat(2, 1)  # a unit is for its code, the hidden units are for their patterns
    matrix = matrix + matrix.T
    for group in (slice(0, 4), slice(4, 8)):
        matrix[group, group] = -200 * (1 - torch.eye(4))
    src, dst = machine.graph.edge_index % 10
    first = machine.graph.dst < 10
    machine.weight.data.copy_(torch.where(first, matrix[src, dst], 0.0))
    machine.bias.data[:8] = -30 * code.sum(1).repeat(2)  # so that it is the code that counts, not its ones
    assert encoder.solved(machine).tolist() == [True, False]


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda m: BoltzmannLearning(m, VISIBLE, counted=0), "counted must be at least 1, got 0"),
        (lambda m: BoltzmannLearning(m, VISIBLE, cooling=[]), "cooling is empty, but must be pairs"),
        (
            lambda m: BoltzmannLearning(m, VISIBLE, cooling=[(1, 0.0)]),
            "cooling has the temperature 0.0, but must",
        ),
        (
            lambda m: BoltzmannLearning(m, VISIBLE).backward(PATTERNS[:2]),
            r"patterns must be \[3, num_patterns\]",
        ),
        (
            lambda m: BoltzmannLearning(m, VISIBLE).backward(0.5 * PATTERNS),
            "is 0.5, but binary units are 0 or 1",
        ),
        (lambda m: m.log_likelihood(PATTERNS[:2], VISIBLE), r"patterns must be \[3, num_patterns\]"),
        (lambda m: m.log_likelihood(0.5 * PATTERNS, VISIBLE), "is 0.5, but binary units are 0 or 1"),
        (lambda m: noisy(PATTERNS, off=1.5), "off must be a probability"),
    ],
)
def test_a_mistake_is_one_sentence(call: Callable[[BoltzmannMachine], object], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        call(_machine())
