"""How many waves a schedule takes, and what a wave reads."""

from __future__ import annotations

import gc
import weakref

import networkx
import pytest
import torch

from mpnn import Graph, MessagePassing, Schedule, iterate, topology
from mpnn.layer.waves import waves_of


def test_a_chessboard_takes_two_waves_and_all_at_once_takes_one() -> None:
    board = topology.lattice((6, 6), torus=True)
    colours = (torch.arange(36) // 6 + torch.arange(36) % 6) % 2
    waves = waves_of(Schedule.alternating(colours), board)
    assert waves.num_nodes == (18, 18)
    assert waves_of(Schedule.parallel(), board).is_whole


@pytest.mark.parametrize("seed", range(3))
def test_a_permutation_takes_as_many_waves_as_its_longest_path_has_nodes(seed: int) -> None:
    graph = Graph.from_networkx(networkx.gnm_random_graph(40, 90, seed=seed))
    order = torch.randperm(40, generator=torch.Generator().manual_seed(seed))
    place = order.argsort()
    forward = graph.edge_index[:, place[graph.src] < place[graph.dst]]
    dag = networkx.DiGraph(forward.T.tolist())
    waves = waves_of(Schedule.asynchronous(order), graph)
    assert len(waves.waves) == networkx.dag_longest_path_length(dag) + 1
    assert sorted(waves.nodes.tolist()) == list(range(40))
    assert sorted(waves.edges.tolist()) == list(range(graph.num_edges))


def test_waves_that_read_many_others_read_joined_blocks() -> None:
    complete = topology.complete(64, self_loops=False)
    waves = waves_of(Schedule.asynchronous(torch.arange(64)), complete).waves
    assert len(waves) == 64
    assert max(len(wave.blocks) for wave in waves) <= 1 + 6  # that before the sweep, and log2(64)
    chain = waves_of(Schedule.asynchronous(torch.arange(64)), topology.chain(64)).waves
    assert all(wave.joined == 1 for wave in chain)


def test_no_wave_waits_for_a_clamped_node() -> None:
    chain, held = topology.chain(6), torch.tensor([2])
    waves = waves_of(Schedule.asynchronous(torch.arange(6), clamped=held), chain)
    assert waves.num_nodes == (2, 2, 1)  # 0 and 3, 1 and 4, 5
    assert waves.nodes.tolist() == [0, 3, 1, 4, 5]


def test_waves_are_found_once_and_live_as_long_as_schedule_and_graph() -> None:
    graph, schedule = topology.chain(5), Schedule(torch.arange(5))
    waves = waves_of(schedule, graph)
    assert waves_of(schedule, graph) is waves
    assert waves_of(Schedule.parallel(), graph) is waves_of(Schedule.parallel(), graph)
    gone: list[weakref.ref[object]] = [weakref.ref(schedule), weakref.ref(graph), weakref.ref(waves)]
    del graph
    gc.collect()
    assert gone[1]() is None
    del schedule, waves
    gc.collect()
    assert [ref() for ref in gone] == [None] * 3


def test_waves_that_are_found_in_inference_serve_training() -> None:
    graph, schedule = topology.chain(4), Schedule(torch.arange(4))
    layer = MessagePassing()
    with torch.inference_mode():
        iterate(layer, graph, {"x": torch.ones(4)}, schedule=schedule)
    x = torch.ones(4, requires_grad=True)
    iterate(layer, graph, {"x": x}, schedule=schedule).state["x"].sum().backward()
    assert x.grad is not None
