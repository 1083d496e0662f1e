"""Sweeps from node to node in one kernel: the bits of a loop over nodes and edges, and when there is none."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

import mpnn
from mpnn import EachSweep, Graph, MessagePassing, Schedule, iterate, topology, uniforms
from mpnn.backends.run.in_order import Ordered
from mpnn.backends.run.plans import trace_count
from mpnn.layer.waves import waves_of
from tests.compare import assert_close


def beside(w: Tensor, x: Tensor) -> Tensor:
    return w.view(-1, *[1] * (x.dim() - 1))


class Spin(MessagePassing):
    """s_i = sign(Σ_j w_ij s_j), s_i itself where that is 0."""

    state = ("s",)

    def message(self, s_j: Tensor, w: Tensor) -> Tensor:
        return beside(w, s_j) * s_j

    def update(self, inputs: Tensor, s: Tensor) -> Tensor:
        return torch.where(inputs == 0, s, inputs.sign())


class Affine(MessagePassing):
    """Both ends of an edge, a field of every kind, a division and a number that changes."""

    state = ("x",)

    def message(self, x_i: Tensor, x_j: Tensor, p_j: Tensor, w: Tensor) -> Tensor:
        return beside(w, x_j) * (x_j + p_j) - 0.5 * x_i

    def update(self, inputs: Tensor, x: Tensor, b: Tensor, t: float) -> Tensor:
        return ((b - inputs) / t + 0.3 * x).clamp(-2, 3).relu()


class Farthest(MessagePassing):
    state = ("x",)

    def message(self, x_j: Tensor, w: Tensor) -> Tensor:
        return (x_j - beside(w, x_j)).abs()

    def update(self, inputs: Tensor, x: Tensor) -> Tensor:
        return 0.5 * inputs - x.floor()


class Pair(MessagePassing):
    """Two states."""

    state = ("x", "y")

    def message(self, x_i: Tensor, x_j: Tensor, y_j: Tensor, w: Tensor) -> Tensor:
        return beside(w, x_j) * x_j + y_j * x_i

    def update(self, inputs: Tensor, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        return 0.3 * x + 0.5 * inputs, torch.where(inputs > y, y, x - inputs)


class Gibbs(MessagePassing):
    """±1 by chance, at a temperature."""

    state = ("s",)

    def message(self, s_j: Tensor, w: Tensor) -> Tensor:
        return beside(w, s_j) * s_j

    def update(self, inputs: Tensor, u: Tensor, t: float) -> Tensor:
        return torch.where(u < torch.sigmoid(2.0 / t * inputs), 1.0, -1.0).to(inputs.dtype)


LAYERS = (Spin, Affine, Farthest, Pair, Gibbs)
SHAPES = ((), (1,), (3,), (2, 3), (65,), (130,))
ODD = torch.tensor([torch.nan, torch.inf, -torch.inf, 0.0, 1.0, -1.0])


def drawn(
    layer: type[MessagePassing],
    graph: Graph,
    shape: tuple[int, ...],
    dtype: torch.dtype,
    seed: int,
    odd: bool,
) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """States and fields of a layer."""
    generator = torch.Generator().manual_seed(seed)

    def draw(*size: int) -> Tensor:
        values = torch.randn(size, generator=generator, dtype=dtype)
        strange = ODD.to(dtype)[torch.randint(len(ODD), size, generator=generator)]
        return torch.where(torch.rand(size, generator=generator) < 0.1, strange, values) if odd else values

    at_nodes = (graph.num_nodes, *shape)
    states = {name: draw(*at_nodes) for name in layer.state}  # type: ignore[attr-defined]
    fields: dict[str, Any] = {"w": draw(graph.num_edges)}
    if layer is Affine:
        fields |= {"p": draw(*at_nodes), "b": draw(*at_nodes), "t": EachSweep(lambda sweep: 3.0 - sweep / 2)}
    if layer is Gibbs:
        states = {"s": states["s"].sign()}
        fields |= {
            "u": EachSweep(lambda sweep: uniforms(seed, sweep, at_nodes, dtype=dtype)),
            "t": EachSweep(lambda sweep: 1 + 1 / (1 + sweep)),
        }
    return states, fields


@st.composite
def graphs(draw: st.DrawFn) -> Graph:
    """With self loops, repeated edges, nodes without edges, and none at all."""
    num_nodes = draw(st.integers(1, 12))
    ends = st.tuples(st.integers(0, num_nodes - 1), st.integers(0, num_nodes - 1))
    pairs = draw(st.lists(ends, max_size=40))
    return Graph(torch.tensor(pairs, dtype=torch.int64).view(-1, 2).T.contiguous(), num_nodes)


@st.composite
def schedules(draw: st.DrawFn, num_nodes: int) -> Schedule:
    """One node after the other, or two at once here and there; some are clamped."""
    order = torch.tensor(draw(st.permutations(range(num_nodes))))
    clamped = torch.tensor(draw(st.lists(st.booleans(), min_size=num_nodes, max_size=num_nodes)))
    held = clamped if draw(st.booleans()) else None
    match draw(st.integers(0, 3)):
        case 0:
            return Schedule.asynchronous(order, clamped=held)
        case 1:
            return Schedule(order / 7 - 1, clamped=held)
        case 2:
            return Schedule(order - (order % 4 == 3).long(), clamped=held)
        case _:
            return Schedule.asynchronous(order).reverse()


@settings(max_examples=60, deadline=None)
@given(st.data(), st.sampled_from(LAYERS), st.sampled_from(["sum", "mean", "max", "min"]), st.booleans())
def test_a_sweep_has_the_bits_of_eager(
    data: st.DataObject, layer: type[MessagePassing], aggr: str, odd: bool
) -> None:
    graph = data.draw(graphs())
    schedule = data.draw(schedules(graph.num_nodes))
    shape, dtype = (
        data.draw(st.sampled_from(SHAPES)),
        data.draw(st.sampled_from([torch.float32, torch.float64])),
    )
    flow = data.draw(st.sampled_from(["source_to_target", "target_to_source"]))
    states, fields = drawn(layer, graph, shape, dtype, data.draw(st.integers(0, 99)), odd)

    def run() -> dict[str, Tensor]:
        found: dict[str, Tensor] = iterate(
            layer(aggr, flow=flow), graph, states, schedule=schedule, steps=3, **fields
        ).state
        return found

    ours = run()
    with mpnn.backend("eager"):
        theirs = run()
    for name, state in ours.items():
        same = (state == theirs[name]) | (state.isnan() & theirs[name].isnan())
        assert bool(same.all()), f"{name} is {state[~same][:4]}, and in eager {theirs[name][~same][:4]}"


def _case(layer: type[MessagePassing] = Spin, shape: tuple[int, ...] = (), **rest: Any) -> Any:
    generator = torch.Generator().manual_seed(3)
    graph = Graph(torch.randint(30, (2, 120), generator=generator), 30)
    states, fields = drawn(layer, graph, shape, rest.pop("dtype", torch.float32), 5, False)
    order = Schedule.asynchronous(torch.randperm(30, generator=generator))
    return graph, states, {"schedule": order, "steps": 3, **fields, **rest}


@pytest.mark.parametrize("layer", LAYERS)
def test_explain_says_that_it_goes_from_node_to_node(layer: type[MessagePassing]) -> None:
    graph, states, rest = _case(layer)
    found = mpnn.explain(lambda: iterate(layer(), graph, states, **rest))
    assert [step.way for step in found.steps] == ["in order"] * 3
    assert "from node to node, as a kernel in C" in str(found)
    assert "node after node" in found.source


def test_a_sweep_is_the_loop_over_nodes_and_edges() -> None:
    graph, states, rest = _case(dtype=torch.float64)
    (order,) = (rest["schedule"].rank.argsort(),)
    s, edges, w = states["s"].tolist(), graph.edge_index.T.tolist(), rest["w"].tolist()
    for _ in range(3):
        for i in order.tolist():
            total = 0.0
            for (j, k), weight in zip(edges, w, strict=True):
                total += weight * s[j] if k == i else 0.0
            s[i] = float((total > 0) - (total < 0)) if total else s[i]
    found = iterate(Spin(), graph, states, **rest).state["s"]
    assert found.tolist() == s


@pytest.mark.parametrize("name", ["tanh", "sigmoid", "exp"])
def test_smooth_functions_agree_with_eager_but_for_rounding(name: str) -> None:
    class Smooth(MessagePassing):
        state = ("x",)

        def message(self, x_j: Tensor, w: Tensor) -> Tensor:
            return torch.tanh(beside(w, x_j) * x_j)

        def update(self, inputs: Tensor, x: Tensor) -> Tensor:
            return getattr(torch, name)(-inputs.abs()) - 0.1 * x

    graph, states, rest = _case(shape=(70,), dtype=torch.float64)
    states = {"x": states["s"]}
    run = lambda: iterate(Smooth(), graph, states, **rest).state["x"]  # noqa: E731
    assert mpnn.explain(run).steps[0].way == "in order"
    ours = run()
    with mpnn.backend("eager"):
        assert_close(ours, run(), atol=1e-12)


@pytest.mark.parametrize("shape", [(), (3,), (150,)])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_what_the_last_bits_of_a_function_decide_is_decided_by_pytorch(
    shape: tuple[int, ...], dtype: torch.dtype, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Uniforms at the chance itself, and just above: PyTorch is asked at every node."""
    asked: list[int] = []
    ask = Ordered.ask
    monkeypatch.setattr(Ordered, "ask", lambda *given: (asked.append(given[2]), ask(*given))[1])
    graph, states, rest = _case(Gibbs, shape, dtype=dtype)
    rest |= {"t": 1.5, "steps": 1}

    def chances(u: Tensor) -> Tensor:
        met = []

        class Watched(Gibbs):
            def update(self, inputs: Tensor, u: Tensor, t: float) -> Tensor:
                met.append(torch.sigmoid(2.0 / t * inputs))
                return super().update(inputs, u, t)

        with mpnn.backend("eager"):
            iterate(Watched(), graph, states, **rest | {"u": u})
        nodes = waves_of(rest["schedule"], graph).nodes
        return torch.empty_like(u).index_copy(0, nodes, torch.cat(met))

    u = torch.full_like(states["s"], 0.5)
    for _ in range(40):  # a chance depends on what nodes before became
        u = chances(u)
    step = (torch.arange(u.numel()) % 2).to(dtype).view(u.shape)
    u = torch.where(step == 0, u, torch.nextafter(u, u + step))
    run = lambda: iterate(Gibbs(), graph, states, **rest | {"u": u}).state["s"]  # noqa: E731
    ours = run()
    assert set(asked) == set(range(30))
    with mpnn.backend("eager"):
        theirs = run()
    # PyTorch computes the last few numbers of each tensor by another function: in float64 by the same bits.
    assert dtype == torch.float32 or torch.equal(ours, theirs)
    assert (ours != theirs).double().mean() < 0.2


def test_two_threads_give_the_bits_of_one() -> None:
    generator = torch.Generator().manual_seed(0)
    graph = Graph(torch.randint(200, (2, 2000), generator=generator), 200)
    states, fields = drawn(Affine, graph, (700,), torch.float32, 1, False)
    schedule = Schedule.asynchronous(torch.randperm(200, generator=generator))
    before, found = torch.get_num_threads(), []
    try:
        for threads in (1, 2, 3):
            torch.set_num_threads(threads)
            found.append(iterate(Affine(), graph, states, schedule=schedule, steps=2, **fields).state["x"])
    finally:
        torch.set_num_threads(before)
    assert torch.equal(found[0], found[1])
    assert torch.equal(found[0], found[2])


def test_a_number_that_changes_in_each_sweep_makes_one_kernel() -> None:
    graph, states, rest = _case(Gibbs)
    rest["steps"] = 2
    iterate(Gibbs(), graph, states, **rest)
    before = trace_count()
    rest |= {"steps": 60, "t": EachSweep(lambda sweep: 2.0 - sweep / 100)}
    found = mpnn.explain(lambda: iterate(Gibbs(), graph, states, **rest))
    assert {step.way for step in found.steps} == {"in order"}
    assert len(set(found.source.split("typedef struct"))) < 10  # one text, again and again
    assert trace_count() == before


def test_a_state_that_was_given_is_not_written_into() -> None:
    graph, states, rest = _case()
    kept = states["s"].clone()
    found = iterate(Spin(), graph, states, record=1, **rest)
    assert torch.equal(states["s"], kept)
    steps = [iterate(Spin(), graph, states, **rest | {"steps": k}).state["s"] for k in (1, 2, 3)]
    for one, wanted in zip(found.record, steps, strict=True):
        assert torch.equal(one["s"], wanted)


class Flipped(Spin):
    def message(self, s_j: Tensor, w: Tensor) -> Tensor:
        return beside(w, s_j) * s_j.flip(-1)


class OfItsFirst(Spin):
    def update(self, inputs: Tensor, s: Tensor) -> Tensor:
        return inputs.sign() + s[:, :1]


class Summed(Spin):
    def update(self, inputs: Tensor, s: Tensor) -> Tensor:
        return inputs - inputs.sum(-1, keepdim=True)


class OfTanh(Spin):
    def update(self, inputs: Tensor, s: Tensor) -> Tensor:
        return torch.tanh(inputs).sub(0.5).sign()


class Looking(Spin):
    def update(self, inputs: Tensor, s: Tensor) -> Tensor:
        return inputs if bool(inputs.isfinite().all()) else s


class InFloat64(Spin):
    def update(self, inputs: Tensor, s: Tensor) -> Tensor:
        return (1.1 * inputs.double()).float()


class InOneRounding(Spin):
    def update(self, inputs: Tensor, s: Tensor) -> Tensor:
        return torch.add(s, inputs, alpha=0.3).sign()


class AtRandom(Spin):
    def update(self, inputs: Tensor, s: Tensor) -> Tensor:
        return (inputs + torch.rand_like(inputs)).sign()


class Joined(Spin):
    def update(self, inputs: Tensor, s: Tensor) -> Tensor:
        return torch.cat([inputs[:, :2].sign(), s[:, 2:]], 1)


class InPlace(Spin):
    def update(self, inputs: Tensor, s: Tensor) -> Tensor:
        inputs += 2 * s
        return inputs.sign()


class Counted(Spin):
    calls = 0

    def update(self, inputs: Tensor, s: Tensor) -> Tensor:
        self.calls += 1
        return inputs.sign()


@pytest.mark.parametrize(
    ("layer", "why"),
    [
        (InFloat64(), "computed in float64 beside states in float32"),
        (InOneRounding(), "the last bits of a product with a sum may decide"),
        (AtRandom(), "draws random numbers"),
        (Joined(), "a concatenation is not arithmetic"),
        (InPlace(), "in-place"),
        (Counted(), "writes 'calls'"),
        (Flipped(), "follows from other numbers of the states"),
        (OfItsFirst(), "follows from other numbers of the states"),
        (Summed(), "the sum of features is not arithmetic"),
        (OfTanh(), "sign decides by the last bits"),
        (Looking(), "cannot be traced"),
        (Spin("var"), "more than one reduction"),
        (Spin("mul"), "'mul' has no kernel in order"),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, Spin) else "",
)
def test_other_sweeps_go_wave_by_wave_and_explain_says_why(layer: Spin, why: str) -> None:
    graph, states, rest = _case(shape=(130,))

    def run() -> Tensor:
        torch.manual_seed(0)
        found: Tensor = iterate(layer, graph, states, **rest).state["s"]
        return found

    first = mpnn.explain(run).steps[0]
    assert first.way == "levels"
    assert why in first.reason
    ours = run()
    with mpnn.backend("eager"):
        assert_close(ours, run(), atol=1e-4)


def test_sweeps_of_many_nodes_at_once_and_whole_numbers_go_wave_by_wave() -> None:
    graph, states, rest = _case()
    run = lambda **more: mpnn.explain(lambda: iterate(Spin(), graph, states, **rest | more)).steps[0]  # noqa: E731
    assert run().way == "in order"
    colours = run(schedule=Schedule.alternating(torch.arange(30) % 3))
    assert "30 nodes have 3 ranks: many are updated at once" in colours.reason
    whole = mpnn.explain(
        lambda: iterate(Spin(), graph, {"s": states["s"].long()}, **rest | {"w": rest["w"].long()})
    ).steps[0]
    assert whole.way == "levels"


def test_gradients_go_wave_by_wave() -> None:
    graph, states, rest = _case(Affine, dtype=torch.float64)
    w = rest["w"].requires_grad_()
    run = lambda: iterate(Affine(), graph, states, **rest).state["x"]  # noqa: E731
    assert "gradients go wave by wave" in mpnn.explain(run).steps[0].reason
    (ours,) = torch.autograd.grad(run().sum(), w)
    assert ours.abs().sum() > 0
    with torch.no_grad():
        assert mpnn.explain(run).steps[0].way == "in order"
        assert_close(run(), run().detach())


def test_a_layer_whose_weights_are_replaced_reads_the_new_ones() -> None:
    class Biased(Spin):
        def __init__(self) -> None:
            super().__init__()
            self.bias = torch.nn.Parameter(torch.zeros(()))

        def update(self, inputs: Tensor, s: Tensor) -> Tensor:
            return (inputs + self.bias).sign()

    graph, states, rest = _case()
    layer = Biased()
    with torch.no_grad():
        first = iterate(layer, graph, states, **rest).state["s"]
        layer.bias = torch.nn.Parameter(torch.tensor(100.0))
        second = iterate(layer, graph, states, **rest).state["s"]
    assert not torch.equal(first, second)
    assert bool((second == 1).all())


def test_a_chain_in_topological_order_goes_from_node_to_node() -> None:
    class Running(MessagePassing):
        state = ("x",)

        def update(self, inputs: Tensor, b: Tensor) -> Tensor:
            return inputs + b

    b = torch.randn(50, dtype=torch.float64, generator=torch.Generator().manual_seed(0))

    def run() -> Tensor:
        chain, zero = topology.chain(50), torch.zeros_like(b)
        found: Tensor = iterate(Running(), chain, zero, schedule="topological", b=b).state
        return found

    assert mpnn.explain(run).steps[0].way == "in order"
    assert_close(run(), b.cumsum(0))
