"""Sweeps under every schedule, against loops over sweeps, nodes and edges."""

from __future__ import annotations

import pickle
from collections.abc import Callable, Sequence
from typing import Any

import pytest
import torch
from torch import Tensor

import mpnn
from mpnn import Graph, MessagePassing, Schedule, iterate, topology
from mpnn.layer.schedule import Topological
from mpnn.layer.waves import waves_of
from mpnn.topology.levels import topological_levels
from tests.compare import assert_close, assert_same
from tests.core.waiting import no_waiting
from tests.elsewhere import elsewhere

NUM_NODES, NUM_EDGES = 9, 26


class Pair(MessagePassing):
    """Two states, and a field of every kind: at nodes, at edges, shared."""

    state = ("x", "y")

    def message(self, x_i: Tensor, x_j: Tensor, y_j: Tensor, p_j: Tensor, w: Tensor, a: Tensor) -> Tensor:
        return torch.tanh(w[:, None] * x_j + p_j * y_j - a * x_i)

    def update(self, inputs: Tensor, x: Tensor, y: Tensor, q: Tensor) -> tuple[Tensor, Tensor]:
        return 0.3 * x + 0.5 * inputs + q, y - 0.2 * inputs.sin()


def brute_force(
    graph: Graph,
    rank: Sequence[float],
    sweeps: int,
    aggr: str,
    fields: dict[str, Any],
    clamped: Sequence[int] = (),
) -> tuple[Tensor, Tensor]:
    """The layer above by three loops: sweeps, nodes by rank, edges."""
    p, w, a, q = (fields[name] for name in "pwaq")
    x, y = list(fields["x"]), list(fields["y"])
    layer = Pair()
    edges = list(zip(graph.src.tolist(), graph.dst.tolist(), strict=True))
    for _ in range(sweeps):
        new_x, new_y = list(x), list(y)
        for i in sorted(set(range(len(x))) - set(clamped), key=lambda i: rank[i]):
            received = []
            for e, (j, k) in enumerate(edges):
                if k == i:
                    x_j, y_j = (new_x[j], new_y[j]) if rank[j] < rank[i] else (x[j], y[j])
                    rows = [row[None] for row in (x[i], x_j, y_j, p[j], w[e], a)]
                    received.append(layer.message(*rows)[0])
            total = torch.stack(received) if received else torch.zeros_like(x[i])[None]
            inputs = total.sum(0) if aggr == "sum" else total.mean(0) if aggr == "mean" else total.amax(0)
            updated = layer.update(*(row[None] for row in (inputs, x[i], y[i], q[i])))
            new_x[i], new_y[i] = updated[0][0], updated[1][0]
        x, y = new_x, new_y
    return torch.stack(x), torch.stack(y)


def _graph(acyclic: bool = False, seed: int = 0) -> Graph:
    generator = torch.Generator().manual_seed(seed)
    ends = torch.randint(NUM_NODES, (2, NUM_EDGES), generator=generator)  # repeated edges and loops too
    if acyclic:
        ends = ends.sort(0).values
        ends = ends[:, ends[0] < ends[1]]
        ends = torch.randperm(NUM_NODES, generator=generator)[ends]
    return Graph(ends, NUM_NODES)


def _fields(graph: Graph, seed: int = 1) -> dict[str, Any]:
    generator = torch.Generator().manual_seed(seed)

    def draw(*shape: int) -> Tensor:
        return torch.randn(shape, generator=generator, dtype=torch.float64)

    at_nodes = {name: draw(graph.num_nodes, 3) for name in ("x", "y", "p", "q")}
    return {**at_nodes, "w": draw(graph.num_edges), "a": draw(3)}


def _ours(
    graph: Graph, schedule: Schedule | str, steps: int, aggr: str = "sum"
) -> Callable[[dict[str, Any]], Any]:
    def run(fields: dict[str, Any]) -> Any:
        rest = {k: v for k, v in fields.items() if k not in Pair.state}
        state = {k: fields[k] for k in Pair.state}
        return tuple(iterate(Pair(aggr), graph, state, schedule=schedule, steps=steps, **rest).state.values())

    return run


ORDER = torch.tensor([4, 0, 7, 2, 8, 1, 6, 3, 5])
RANKS = torch.tensor([2, 0, 1, 2, 0, 5, 1, 1, 0])
SCHEDULES = {
    "parallel": (Schedule.parallel(), [0] * NUM_NODES),
    "alternating": (Schedule.alternating(torch.arange(NUM_NODES) % 2), [i % 2 for i in range(NUM_NODES)]),
    "asynchronous": (Schedule.asynchronous(ORDER), ORDER.argsort().tolist()),
    "of any ranks": (Schedule(RANKS), RANKS.tolist()),
    "of real ranks": (Schedule(-RANKS / 3), (-RANKS).tolist()),
    "of a function": (Schedule(lambda graph: graph.in_degree), _graph().in_degree.tolist()),
}


@pytest.mark.parametrize("aggr", ["sum", "mean", "max"])
@pytest.mark.parametrize("name", SCHEDULES)
@pytest.mark.parametrize("backend", ["auto", "eager"])
def test_a_schedule_gives_the_numbers_and_gradients_of_a_loop_over_nodes(
    name: str, aggr: str, backend: str
) -> None:
    graph, (schedule, rank) = _graph(), SCHEDULES[name]
    with mpnn.backend(backend):
        assert_same(
            _ours(graph, schedule, 3, aggr),
            lambda fields: brute_force(graph, rank, 3, aggr, fields),
            [_fields(graph)],
        )


@pytest.mark.parametrize("seed", range(4))
def test_the_topological_schedule_gives_the_numbers_of_a_loop_in_that_order(seed: int) -> None:
    graph = _graph(acyclic=True, seed=seed)
    rank = topological_levels(graph).level.tolist()
    for schedule in (Schedule.topological(), Schedule.topological(graph), "topological"):
        assert_same(
            _ours(graph, schedule, 2),
            lambda fields: brute_force(graph, rank, 2, "sum", fields),
            [_fields(graph)],
        )


@pytest.mark.parametrize("name", ["parallel", "alternating", "asynchronous"])
@pytest.mark.parametrize("clamped", [[3, 7, 0], list(range(NUM_NODES))], ids=["some", "all"])
def test_clamped_nodes_keep_their_state_and_are_read(name: str, clamped: list[int]) -> None:
    graph, (schedule, rank) = _graph(), SCHEDULES[name]
    mask = torch.zeros(NUM_NODES, dtype=torch.bool)
    mask[clamped] = True
    # A clamped node has no rank: nothing waits for it, and its old and its new state are the same.
    for nodes in (mask, torch.tensor(clamped)):
        held = Schedule(schedule.rank, clamped=nodes, name=schedule.name)
        assert_same(
            _ours(graph, held, 2),
            lambda fields: brute_force(graph, rank, 2, "sum", fields, clamped),
            [_fields(graph)],
        )


def test_waves_that_read_joined_blocks_give_the_numbers_of_the_loop() -> None:
    graph, order = topology.complete(14, self_loops=False), torch.arange(13, -1, -1)
    schedule, rank = Schedule.asynchronous(order), order.argsort().tolist()
    assert max(wave.joined for wave in waves_of(schedule, graph).waves) == 4  # the eighth wave joins all
    assert_same(
        _ours(graph, schedule, 2),
        lambda fields: brute_force(graph, rank, 2, "sum", fields),
        [_fields(graph)],
    )


def test_messages_against_the_edges_read_the_other_end() -> None:
    graph, (schedule, rank) = _graph(), SCHEDULES["asynchronous"]
    fields = _fields(graph)
    rest = {k: fields[k] for k in "pwaq"}
    state = {k: fields[k] for k in "xy"}
    found = iterate(Pair(flow="target_to_source"), graph, state, schedule=schedule, steps=2, **rest).state
    wanted = brute_force(graph.reverse(), rank, 2, "sum", fields)
    assert_close(found["x"], wanted[0])
    assert_close(found["y"], wanted[1])


def test_messages_know_the_type_of_their_edge_in_every_wave() -> None:
    class Typed(MessagePassing):
        state = ("x",)

        def message(self, x_j: Tensor, edge_type: Tensor, scale: Tensor) -> Tensor:
            return scale[edge_type][:, None] * x_j

        def update(self, inputs: Tensor, x: Tensor) -> Tensor:
            return torch.tanh(inputs) - x

    plain = _graph()
    types = torch.arange(NUM_EDGES) % 3
    typed = Graph(plain.edge_index, NUM_NODES, types)
    generator = torch.Generator().manual_seed(7)
    x, scale = (
        torch.randn(shape, generator=generator, dtype=torch.float64) for shape in ((NUM_NODES, 2), (3,))
    )

    class Weighted(Typed):
        def message(self, x_j: Tensor, w: Tensor) -> Tensor:
            return w[:, None] * x_j

    schedule, _ = SCHEDULES["asynchronous"]

    def ours(x: Tensor, scale: Tensor) -> Any:
        return iterate(Typed(), typed, x, schedule=schedule, scale=scale).state

    def theirs(x: Tensor, scale: Tensor) -> Any:
        return iterate(Weighted(), plain, x, schedule=schedule, w=scale[types]).state

    assert_same(ours, theirs, [x, scale])


def test_a_topological_layer_runs_under_other_schedules_too() -> None:
    class Path(Topological):
        state = ("count",)

        def prepare(self, fields: Any) -> dict[str, Any]:
            return {"begin": 2 * fields["start"]}

        def message(self, count_j: Tensor) -> Tensor:
            return count_j

        def update(self, inputs: Tensor, begin: Tensor) -> tuple[Tensor]:
            return (inputs + begin,)

    graph = _graph(acyclic=True)
    start = torch.rand(NUM_NODES, dtype=torch.float64, generator=torch.Generator().manual_seed(8))
    (wanted,) = Path().propagate(graph, start=start)
    for schedule in ("parallel", Schedule.asynchronous(ORDER)):
        found = iterate(Path(), graph, torch.zeros_like(start), schedule=schedule, until=0, start=start)
        assert found.converged
        assert_close(found.state, wanted)


def test_on_a_graph_without_nodes_or_edges_there_is_nothing_to_read() -> None:
    for nodes in (0, 3):
        graph = Graph(torch.empty(2, 0, dtype=torch.int64), nodes)
        for schedule in (
            Schedule.parallel(),
            Schedule.asynchronous(torch.arange(nodes)),
            Schedule.topological(),
        ):
            fields = _fields(graph)
            found = _ours(graph, schedule, 2)(fields)
            wanted = (
                brute_force(graph, range(nodes), 2, "sum", fields) if nodes else (fields["x"], fields["y"])
            )
            for ours, theirs in zip(found, wanted, strict=True):
                assert_close(ours, theirs)


def test_in_parallel_it_compiles_as_one_piece() -> None:
    graph, fields = _graph(), _fields(_graph())
    ours = _ours(graph, "parallel", 2)
    compiled = torch.compile(ours, backend="aot_eager", fullgraph=True)
    assert_same(compiled, ours, [fields])


@pytest.mark.parametrize("name", ["alternating", "asynchronous"])
def test_waves_stay_on_the_device_of_the_graph_and_wait_for_nothing(name: str) -> None:
    schedule, fields = SCHEDULES[name][0], _fields(_graph())
    wanted = _ours(_graph(), schedule, 2)(fields)
    with torch.no_grad(), elsewhere() as device:
        assert isinstance(schedule.rank, Tensor)
        there = _ours(_graph().to(device), Schedule(schedule.rank.to(device)), 2)
        moved = {k: v.to(device) for k, v in fields.items()}
        there(moved)
        with no_waiting(on_cpu=False):
            found = there(moved)
        for ours, theirs in zip(found, wanted, strict=True):
            assert ours.device == device
            assert_close(ours.cpu(), theirs)


def test_a_schedule_travels_by_pickle() -> None:
    graph, fields = _graph(), _fields(_graph())
    for schedule in (Schedule.parallel(sweeps=2), Schedule.asynchronous(ORDER, clamped=torch.tensor([1]))):
        again = pickle.loads(pickle.dumps(schedule))
        for ours, theirs in zip(
            _ours(graph, again, 2)(fields), _ours(graph, schedule, 2)(fields), strict=True
        ):
            assert torch.equal(ours, theirs)


def test_the_destinations_of_a_bipartite_graph_have_the_state_and_its_sources_fields() -> None:
    class Towards(MessagePassing):
        state = ("x",)

        def message(self, x_i: Tensor, k_j: Tensor, w: Tensor) -> Tensor:
            return w[:, None] * torch.tanh(k_j - x_i)

        def update(self, inputs: Tensor, x: Tensor, b: Tensor) -> Tensor:
            return x + 0.3 * inputs + b

    generator = torch.Generator().manual_seed(8)

    def draw(*shape: int) -> Tensor:
        return torch.randn(shape, generator=generator, dtype=torch.float64)

    graph = Graph(torch.stack([torch.randint(n, (11,), generator=generator) for n in (6, 4)]), (6, 4))

    def ours(x: Tensor, k: Tensor, w: Tensor, b: Tensor) -> Any:
        return iterate(Towards(), graph, x, steps=3, k=(k, None), w=w, b=b).state

    def loop(x: Tensor, k: Tensor, w: Tensor, b: Tensor) -> Tensor:
        for _ in range(3):
            a = [torch.zeros_like(row) for row in x]
            for e, (j, i) in enumerate(graph.edge_index.T.tolist()):
                a[i] = a[i] + w[e] * torch.tanh(k[j] - x[i])
            x = torch.stack([x[i] + 0.3 * a[i] + b[i] for i in range(4)])
        return x

    assert_same(ours, loop, [draw(4, 2), draw(6, 2), draw(11), draw(4, 2)])
