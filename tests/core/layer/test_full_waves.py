"""Where all nodes of a wave read the same, the wave of a linear message is a dense product."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from typing import Any

import pytest
import torch
from torch import Tensor

import mpnn
from mpnn import Graph, MessagePassing, Schedule, iterate, topology
from mpnn.layer.waves import waves_of
from mpnn.models import BoltzmannMachine, HopfieldNetwork, NeuronGraph
from mpnn.topology import CompleteBipartite
from tests.compare import assert_close, assert_same


class Unit(MessagePassing):
    """x_i = tanh(Σ_j w_ij x_j + b_i)."""

    state = ("x",)

    def message(self, x_j: Tensor, w: Tensor) -> Tensor:
        return w[:, None] * x_j

    def update(self, inputs: Tensor, b: Tensor) -> Tensor:
        return torch.tanh(inputs + b[:, None])


def draw(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def between(*sizes: int, shuffled: bool = True) -> Graph:
    """Full layers of nodes, each linked to the next in both directions, the edges in a random order."""
    starts = torch.tensor([0, *sizes]).cumsum(0).tolist()
    parts = [torch.arange(low, high) for low, high in pairwise(starts)]
    pairs = [torch.cartesian_prod(a, b).T for a, b in pairwise(parts)]
    edges = torch.cat([*pairs, *(pair.flip(0) for pair in pairs)], 1)
    order = torch.randperm(edges.size(1), generator=torch.Generator().manual_seed(1))
    return Graph(edges[:, order] if shuffled else edges, starts[-1])


def layers(*sizes: int) -> Tensor:
    return torch.repeat_interleave(torch.arange(len(sizes)), torch.tensor(sizes))


CASES: dict[str, tuple[Graph, Schedule, int]] = {
    # the graph, the schedule, and how many waves are products
    "complete in parallel": (topology.complete(6, self_loops=False), Schedule.parallel(), 1),
    "complete with loops": (topology.complete(6), Schedule.parallel(), 1),
    "complete reversed": (topology.complete(6, self_loops=False).reverse(), Schedule.parallel(), 1),
    "two sides in turn": (between(4, 3), Schedule.alternating(1 - layers(4, 3)), 2),
    "three layers in turn": (between(3, 5, 2), Schedule.alternating(layers(3, 5, 2) % 2), 2),
    "three layers, each after the other": (between(3, 5, 2), Schedule(layers(3, 5, 2)), 3),
    "complete, in three groups": (topology.complete(7), Schedule.alternating(layers(2, 3, 2)), 3),
    "two sides, one clamped": (
        between(4, 3),
        Schedule.alternating(1 - layers(4, 3), clamped=torch.arange(4)),
        1,
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_the_products_give_the_numbers_and_gradients_of_the_sparse_way(name: str) -> None:
    graph, schedule, number = CASES[name]

    def on(backend: str, graph: Graph) -> Callable[..., Any]:
        def run(x: Tensor, w: Tensor, b: Tensor) -> Any:
            with mpnn.backend(backend):
                return iterate(Unit(), graph, x, schedule=schedule, steps=3, w=w, b=b).state

        return run

    n = graph.num_nodes
    inputs = [draw(n, 4), draw(graph.num_edges, seed=1), draw(n, seed=2)]
    listed = Graph(graph.edge_index, n)
    assert_same(on("auto", graph), on("eager", graph), inputs, atol=1e-12)
    assert_same(on("auto", graph), on("eager", listed), inputs, atol=1e-12)
    found = mpnn.explain(
        lambda: iterate(Unit(), graph, inputs[0], schedule=schedule, w=inputs[1], b=inputs[2])
    )
    products = [step for step in found.steps if step.way == "dense"]
    assert len(products) == number
    assert all("linear map" in step.reason and "matrix product" in step.reason for step in products)


def almost(graph: Graph, drop: int, double: int | None = None) -> Graph:
    """Without an edge, another one twice."""
    kept = torch.arange(graph.num_edges) != drop
    edges = graph.edge_index[:, kept]
    if double is not None:
        edges = torch.cat([edges, graph.edge_index[:, double : double + 1]], 1)
    return Graph(edges, graph.num_nodes)


@pytest.mark.parametrize("double", [None, 0, 1, 5, 9])
def test_a_wave_that_lacks_an_edge_is_no_product_and_gives_the_same_numbers(double: int | None) -> None:
    graph = almost(between(2, 3, shuffled=False), 3, double)
    schedule = Schedule.alternating(layers(2, 3))
    whole = [isinstance(wave.graph, CompleteBipartite) for wave in waves_of(schedule, graph).waves]
    assert not all(whole)
    x, w, b = draw(5, 4), draw(graph.num_edges, seed=1), draw(5, seed=2)
    found = iterate(Unit(), graph, x, schedule=schedule, steps=2, w=w, b=b).state
    matrix = torch.zeros(5, 5).double().index_put((graph.dst, graph.src), w, accumulate=True)
    for _ in range(2):
        for side in (slice(0, 2), slice(2, 5)):
            x = x.clone()
            x[side] = torch.tanh(matrix[side] @ x + b[side, None])
    assert_close(found, x, atol=1e-12)


def test_nodes_that_read_old_and_new_states_of_one_node_are_no_product() -> None:
    """Both nodes of the second rank read node 0 anew; a rank between them reads it before."""
    graph = topology.complete(5, self_loops=False)
    schedule = Schedule(torch.tensor([1, 0, 2, 1, 2]))
    x, w, b = draw(5, 4), draw(graph.num_edges, seed=1), draw(5, seed=2)
    with mpnn.backend("eager"):
        wanted = iterate(Unit(), Graph(graph.edge_index, 5), x, schedule=schedule, steps=3, w=w, b=b).state
    assert_close(iterate(Unit(), graph, x, schedule=schedule, steps=3, w=w, b=b).state, wanted, atol=1e-12)


def test_edges_with_types_keep_them() -> None:
    class Typed(Unit):
        def message(self, x_j: Tensor, edge_type: Tensor, w: Tensor) -> Tensor:
            return w[edge_type][:, None] * x_j

    plain = between(3, 2)
    types = torch.arange(plain.num_edges) % 3
    typed = Graph(plain.edge_index, 5, types)
    x, w, b, schedule = draw(5, 4), draw(3, seed=1), draw(5, seed=2), Schedule.alternating(layers(3, 2))
    found = iterate(Typed(), typed, x, schedule=schedule, w=w, b=b).state
    assert_close(found, iterate(Unit(), plain, x, schedule=schedule, w=w[types], b=b).state, atol=1e-12)


def ways(function: Callable[[], Any]) -> set[str]:
    return {step.way for step in mpnn.explain(function).steps if step.way != "levels"}


def test_hopfields_network_a_machine_of_two_sides_and_full_layers_run_as_products() -> None:
    hopfield = HopfieldNetwork(6).fit(draw(2, 6).sign())
    assert ways(lambda: hopfield.predict(draw(6, 3).sign(), mode="sync")) == {"dense"}
    assert ways(lambda: hopfield.energy(draw(6, 3).sign())) == {"dense"}
    machine = BoltzmannMachine(between(4, 3))
    assert ways(lambda: machine.sample(num_chains=5)) == {"dense"}
    down = between(3, 4, 2, shuffled=False)
    one_way = Graph(down.edge_index[:, down.src < down.dst], 9)
    network = NeuronGraph(one_way)
    assert ways(lambda: network(torch.randn(3, 8))) == {"dense"}
    assert ways(lambda: network.backpropagate(torch.randn(9, 8), torch.randn(9, 8))) <= {"dense", "eager"}


def test_messages_against_the_edges_are_products_of_the_reversed_graph() -> None:
    graph, schedule = between(4, 3), Schedule.alternating(1 - layers(4, 3))
    x, w, b = draw(7, 4), draw(graph.num_edges, seed=1), draw(7, seed=2)
    found = iterate(Unit(flow="target_to_source"), graph, x, schedule=schedule, steps=2, w=w, b=b).state
    wanted = iterate(Unit(), graph.reverse(), x, schedule=schedule, steps=2, w=w, b=b).state
    assert_close(found, wanted, atol=1e-12)
