"""Reductions: their laws, the kernels that follow from these, and a user's own."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import pytest
import torch
from torch import Tensor

import mpnn
from mpnn import Graph, propagate
from mpnn.aggregate import PerNode, Reduction
from mpnn.aggregate.reduction import State, folded, named
from mpnn.aggregate.reductions import LOGSUMEXP, MAX, MEAN, MIN, MUL, SOFTMAX, SUM
from mpnn.backends.c.kernel import HEAVY_DEGREE
from mpnn.backends.triton import has_triton, tiles
from tests.compare import assert_close, assert_same
from tests.core.graphs import random_graph
from tests.core.running import CHUNKS, KERNEL, assert_like_eager, assert_runs, ways

DTYPE = torch.float64
INF, NAN = torch.inf, torch.nan
BACKENDS = ["cpu", pytest.param("triton", marks=pytest.mark.skipif(not has_triton(), reason="no Triton"))]
graph = random_graph(9, 40)


class SecondLargest(Reduction):
    """The largest message but one; a law, and no gradient."""

    name = "runner-up"
    identity = (-INF, -INF)

    def lift(self, *message: Tensor) -> State:
        return message[0], torch.full_like(message[0], -INF)

    def merge(self, one: State, other: State) -> State:
        (a, b), (c, d) = one, other
        return torch.maximum(a, c), torch.maximum(torch.minimum(a, c), torch.maximum(b, d))

    def finish(self, state: State, count: Tensor) -> State:
        return (torch.where(count < 2, 0.0, state[1]),)


class Norm(Reduction):
    """√Σ m²: a law and a gradient."""

    name = "norm"
    identity = (0.0,)
    saves = 1  # 1 / the norm
    reads = (PerNode.GRADIENT, PerNode.SAVED)

    def lift(self, *message: Tensor) -> State:
        return (message[0].square(),)

    def merge(self, one: State, other: State) -> State:
        return (one[0] + other[0],)

    def finish(self, state: State, count: Tensor) -> State:
        norm = state[0].sqrt()
        return norm, torch.where(count > 0, 1 / norm, 0.0)

    def gradients(self, *arguments: Tensor) -> State:
        gradient, share, value = arguments
        return (gradient * share * value,)


class Middle(Reduction):
    """The lower median, which has no law."""

    name = "middle"

    def reduce(self, tensors: Any, index: Tensor, num_rows: int, dim: int) -> Tensor:
        values = tensors[0].movedim(dim, 0)
        rows = [values[index == row] for row in range(num_rows)]
        found = [m.median(0).values if len(m) else m.new_zeros(m.shape[1:]) for m in rows]
        return torch.stack(found).movedim(0, dim)


def product(x_i: Tensor, x_j: Tensor) -> Tensor:
    return x_i * x_j


def sent(x_j: Tensor) -> Tensor:
    return x_j


def star(*leaves: float) -> tuple[Graph, Tensor]:
    """The messages of one node, from nodes with one number each."""
    x = torch.tensor([[0.0], *[[v] for v in leaves]], dtype=DTYPE)
    edges = torch.tensor([[k + 1 for k in range(len(leaves))], [0] * len(leaves)])
    return Graph(edges, len(x)), x


def run(aggr: Any, graph: Graph, x: Tensor, backend: str) -> tuple[Tensor, Tensor]:
    """What a node makes of what is sent to it, and the gradient of the sum of all that."""
    own = x.clone().requires_grad_()
    with mpnn.backend(backend):
        out = propagate(graph, sent, aggr, x=own)
    return out.detach(), torch.autograd.grad(out.sum(), own)[0]


# Laws ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("reduction", [SUM, MEAN, MAX, MIN, MUL, LOGSUMEXP, SOFTMAX], ids=str)
@pytest.mark.parametrize("dim", [0, 1])
def test_the_law_of_a_reduction_folds_messages_to_its_aggregate(reduction: Reduction, dim: int) -> None:
    index = torch.tensor([4, 0, 0, 2, 4, 0, 4, 4, 4, 0, 4, 4])  # of seven, five, one and no messages
    shape = (12, 3) if dim == 0 else (2, 12, 3)
    tensors = {f"t{k}": torch.randn(shape, dtype=DTYPE) for k in range(reduction.arity)}
    assert_same(
        lambda *t: folded(reduction, t, index, 6, dim),
        lambda *t: reduction.reduce(t, index, 6, dim),
        tensors,
    )


@pytest.mark.parametrize("reduction", [SUM, MEAN, MAX, MIN, MUL, LOGSUMEXP, SOFTMAX], ids=str)
def test_the_identity_of_a_reduction_changes_no_state(reduction: Reduction) -> None:
    messages = [torch.randn(20, dtype=DTYPE) for _ in range(reduction.arity)]
    state = reduction.lift(*messages)
    nothing = tuple(torch.full_like(s, start) for s, start in zip(state, reduction.identity, strict=True))
    for merged in (reduction.merge(state, nothing), reduction.merge(nothing, state)):
        assert all(map(torch.equal, merged, state))


def test_instances_of_one_reduction_are_equal_and_found_by_name() -> None:
    assert Norm() == Norm() and hash(Norm()) == hash(Norm()) and Norm() != SecondLargest()
    assert named("norm") == Norm() and named("sum") == SUM
    with pytest.raises(ValueError, match="the reduction 'none such' is not defined: import the module"):
        named("none such")


def test_a_reduction_needs_a_name_that_no_other_has() -> None:
    with pytest.raises(TypeError, match="Named has no name of its own"):
        type("Named", (type(MAX),), {})
    with pytest.raises(TypeError, match=r"the name of Named is 'max', which is that of mpnn.*reductions.Max"):
        type("Named", (Reduction,), {"name": "max"})
    assert named("max") == MAX
    again = type("Norm", (Norm,), {"name": "norm", "__qualname__": "Norm", "__module__": Norm.__module__})
    assert type(named("norm")) is again  # as where the cell of a notebook runs twice


# Products and logarithms of sums --------------------------------------------------------------------------


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize(
    "leaves",
    [(2.0, 3.0, -4.0), (2.0, 0.0, -4.0), (0.0, 0.0, 3.0), (0.0, 0.0, 0.0), (0.0,), (INF, 2.0), (INF, 0.0),
     (INF, -INF, 0.0, 0.0), (NAN, 2.0), (NAN, 0.0, 3.0), (NAN, 0.0, 0.0), (1e-200, 1e-200, 5.0), (-0.0, 3.0)],
    ids=str,
)  # fmt: skip
def test_products_and_their_gradients_are_autograds_at_zeros_and_infinities(
    leaves: tuple[float, ...], backend: str
) -> None:
    graph, x = star(*leaves)
    graph = Graph(torch.cat([graph.edge_index, torch.tensor([[0], [1]])], 1), graph.num_nodes)  # two edges
    assert_runs(KERNEL, lambda: run("mul", graph, x, backend))
    for ours, theirs in zip(run("mul", graph, x, backend), run("mul", graph, x, "eager"), strict=True):
        assert torch.allclose(ours, theirs, rtol=1e-12, atol=0, equal_nan=True), (ours, theirs)


def test_a_zero_gets_the_product_of_the_others_as_from_torchs_prod() -> None:
    for leaves in ((2.0, 0.0, -4.0), (0.0, 0.0, 3.0), (2.0, 5.0)):
        graph, x = star(*leaves)
        values = torch.tensor(leaves, dtype=DTYPE, requires_grad=True)
        (wanted,) = torch.autograd.grad(values.prod(), values)
        assert_close(run("mul", graph, x, "cpu")[1][1:, 0], wanted)


@pytest.mark.parametrize("backend", [*BACKENDS, "eager"])
@pytest.mark.parametrize(
    "leaves",
    [(2.0, 3.0, -4.0), (1e8, 1e8, 1e8), (-1e8, 1e8), (-INF, 1.0), (INF, 2.0), (INF, -INF), (NAN, 2.0, 3.0),
     (2.0, NAN), (800.0, 801.0), (-800.0, -801.0)],
    ids=str,
)  # fmt: skip
def test_logsumexp_and_its_gradient_are_torchs(leaves: tuple[float, ...], backend: str) -> None:
    graph, x = star(*leaves)
    values = torch.tensor(leaves, dtype=DTYPE, requires_grad=True)
    wanted = values.logsumexp(0)
    out, gradient = run("logsumexp", graph, x, backend)
    assert torch.allclose(out[0, 0], wanted, rtol=1e-12, atol=0, equal_nan=True)
    (theirs,) = torch.autograd.grad(wanted, values)
    assert torch.allclose(gradient[1:, 0], theirs, rtol=1e-7, atol=1e-12, equal_nan=True)


@pytest.mark.parametrize("backend", [*BACKENDS, "eager"])
def test_messages_of_minus_infinity_alone_give_it_and_get_no_gradient(backend: str) -> None:
    graph, x = star(-INF, -INF, -INF)
    out, gradient = run("logsumexp", graph, x, backend)
    assert out.flatten().tolist() == [-INF, 0.0, 0.0, 0.0]  # and 0 where there is no message
    assert not gradient.any()


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("aggr", ["mul", "logsumexp", ["mul", "logsumexp", "max"], Norm()], ids=str)
@pytest.mark.parametrize(
    ("dtype", "atol"), [(torch.float64, 1e-10), (torch.float32, 1e-4), (torch.bfloat16, 0.1)], ids=str
)
def test_kernels_of_laws_equal_float64_in_every_type(
    aggr: Any, dtype: torch.dtype, atol: float, backend: str
) -> None:
    drawn = torch.Generator().manual_seed(1)
    x = (torch.rand(9, 5, generator=drawn, dtype=DTYPE) + 0.5).to(dtype)
    exact = run(aggr, graph, x.double(), "eager")
    found = run(aggr, graph, x, backend)
    with mpnn.backend(backend):
        assert_runs(KERNEL, lambda: propagate(graph, sent, aggr, x=x.requires_grad_()))
    assert found[0].dtype == dtype
    for ours, theirs in zip(found, exact, strict=True):
        assert ((ours.double() - theirs).abs() <= atol * (1 + theirs.abs())).all()


@pytest.mark.parametrize("threads", [1, 3])
@pytest.mark.parametrize("aggr", ["mul", "logsumexp", Norm()], ids=str)
def test_a_row_in_parts_of_several_threads_is_the_same(aggr: Any, threads: int) -> None:
    degree = 2 * HEAVY_DEGREE + 5
    others = torch.randint(9, (2, 3000))
    hub = torch.stack([torch.arange(degree) % 9, torch.full((degree,), 4)])
    big = Graph(torch.cat([hub, others], 1), 9)
    x = 1 + 1e-4 * torch.randn(9, 300, dtype=DTYPE)  # wide enough for more than one thread
    x[2, :7] = 0
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        assert_like_eager(big, product, aggr, {"x": x}, atol=1e-7)
    finally:
        torch.set_num_threads(before)


@pytest.mark.skipif(not has_triton(), reason="no Triton")
@pytest.mark.parametrize("aggr", ["mul", "logsumexp", Norm()], ids=str)
def test_a_hub_of_a_gpu_is_the_same(aggr: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tiles, "HUB", 64)
    hub = torch.stack([torch.arange(150) % 9, torch.full((150,), 4)])
    big = Graph(torch.cat([hub, graph.edge_index], 1), 9)
    x = 1 + 0.01 * torch.randn(9, 2, dtype=DTYPE)
    x[2, 0] = 0
    assert_like_eager(big, product, aggr, {"x": x}, backend="triton", atol=1e-9)


@pytest.mark.parametrize("aggr", ["mul", "logsumexp"])
def test_no_tensor_has_a_message_for_every_edge(aggr: str) -> None:
    nodes, edges, width = 50, 20_000, 64
    big = Graph(torch.randint(nodes, (2, edges)), nodes)
    x = (1 + 1e-3 * torch.randn(nodes, width)).requires_grad_()
    propagate(big, product, aggr, x=x).sum().backward()  # compiles, and fills what the graph keeps
    with torch.profiler.profile(profile_memory=True) as seen:
        propagate(big, product, aggr, x=x).sum().backward()
    largest = max(event.cpu_memory_usage for event in seen.events())
    assert 0 < largest < edges * width * 4 / 10


@pytest.mark.parametrize(
    "message", [product, lambda x_i, x_j: (x_i - x_j) * x_j], ids=["product", "difference"]
)
def test_zeros_are_the_same_messages_on_the_way_back(message: Any) -> None:
    x = torch.randint(-1, 2, (9, 6)).to(torch.float32) * torch.rand(9, 1)
    assert_like_eager(graph, message, "mul", {"x": x}, atol=1e-5)


# A user's own --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("backend", BACKENDS)
def test_ones_own_law_becomes_a_kernel_both_ways(backend: str) -> None:
    x = torch.randn(9, 3, dtype=DTYPE) + 3
    assert_like_eager(graph, product, Norm(), {"x": x}, backend=backend)
    assert_like_eager(graph, product, ["sum", Norm(), "max"], {"x": x}, backend=backend)
    theirs = torch.zeros(9, 3, dtype=DTYPE).index_add(0, graph.dst, (x[graph.dst] * x[graph.src]).square())
    with mpnn.backend(backend):
        assert_close(propagate(graph, product, Norm(), x=x), theirs.sqrt())


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_law_without_a_gradient_has_a_kernel_where_none_is_asked_for(backend: str) -> None:
    x = torch.randn(9, 3, dtype=DTYPE)
    wanted = torch.stack(
        [m.sort(0).values[-2] if len(m) > 1 else m.new_zeros(3) for m in _messages(x[graph.src])]
    )
    with mpnn.backend(backend):
        assert ways(lambda: propagate(graph, sent, SecondLargest(), x=x)) == [KERNEL]
        assert_close(propagate(graph, sent, SecondLargest(), x=x), wanted)
    assert_like_eager(graph, product, SecondLargest(), {"x": x}, backend=backend, way=CHUNKS)
    said = str(mpnn.explain(lambda: propagate(graph, sent, SecondLargest(), x=x.requires_grad_())))
    assert "its gradient has no kernel: the reduction 'runner-up' defines no gradients()" in said
    assert "per edge runner-up of x_j" in said


def _messages(values: Tensor) -> Iterator[Tensor]:
    return (values[graph.dst == row] for row in range(9))


def test_what_has_no_law_runs_in_pytorch_and_explain_says_so() -> None:
    x = torch.randn(9, 3, dtype=DTYPE)
    assert_like_eager(graph, product, Middle(), {"x": x}, way=CHUNKS)
    said = str(mpnn.explain(lambda: propagate(graph, sent, Middle(), x=x)))
    assert "in PyTorch: the reduction 'middle' has no law that a kernel can follow" in said


def test_ones_own_reduction_runs_in_a_compiled_function() -> None:
    x = torch.randn(9, 3, dtype=DTYPE) + 3
    for aggr in (Norm(), Middle()):
        step = torch.compile(lambda x, aggr=aggr: propagate(graph, product, aggr, x=x), fullgraph=True)
        assert_same(step, lambda x, aggr=aggr: propagate(graph, product, aggr, x=x), {"x": x})


class Sorted(SecondLargest):
    """A law that is more than arithmetic."""

    name = "sorted"

    def merge(self, one: State, other: State) -> State:
        return torch.stack([*one, *other], -1).sort(-1).values.unbind(-1)[:2]


class Short(SecondLargest):
    """A law whose end is a tensor too few."""

    name = "short"
    saves = 1


@pytest.mark.parametrize(
    ("aggr", "text"),
    [(Sorted(), "sort has no kernel"), (Short(), "finish.. of the reduction 'short' gives 1 tensors, not 2")],
    ids=["sorted", "short"],
)
def test_a_law_that_no_kernel_can_follow_says_why(aggr: Reduction, text: str) -> None:
    said = mpnn.explain(lambda: propagate(graph, sent, aggr, x=torch.randn(9, 3)))
    assert said.steps[0].way == CHUNKS
    assert re.search(text, said.steps[0].reason)
