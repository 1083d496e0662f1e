"""Gradients at a fixed point by the implicit function, against unrolling and against linear algebra."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

import mpnn
from mpnn import EachSweep, Graph, MessagePassing, Schedule, iterate, topology
from mpnn.layer.iterate import Gradient
from tests.compare import assert_close, assert_same

NUM_NODES = 12


class Contracting(MessagePassing):
    """x_i = tanh(0.9 Σ_j w_ij x_j / d_i) W + c_i: a GCN's equation, with the same weights in each layer."""

    state = ("x",)

    def message(self, x_j: Tensor, w: Tensor) -> Tensor:
        return w[:, None] * x_j

    def update(self, inputs: Tensor, c: Tensor, weight: Tensor) -> Tensor:
        return torch.tanh(0.9 * inputs @ weight) + c


class Affine(MessagePassing):
    """x_i = c_i + Σ_j m_ij x_j."""

    state = ("x",)

    def message(self, x_j: Tensor, m: Tensor) -> Tensor:
        return m * x_j

    def update(self, inputs: Tensor, c: Tensor) -> Tensor:
        return inputs + c


class Pair(MessagePassing):
    """Two states that read each other, and one that counts."""

    state = ("x", "y", "count")

    def message(self, x_j: Tensor, y_j: Tensor, w: Tensor) -> Tensor:
        return w[:, None] * (x_j + y_j)

    def update(self, inputs: Tensor, x: Tensor, count: Tensor, c: Tensor) -> tuple[Tensor, ...]:
        return torch.tanh(inputs) + c, 0.3 * x.sin(), count.clone()


def draw(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


GRAPH = Graph(torch.randint(NUM_NODES, (2, 50), generator=torch.Generator().manual_seed(3)), NUM_NODES)
ORDER = torch.randperm(NUM_NODES, generator=torch.Generator().manual_seed(4))
SCHEDULES = {
    "parallel": Schedule.parallel(),
    "alternating": Schedule.alternating(torch.arange(NUM_NODES) % 3),
    "asynchronous": Schedule.asynchronous(ORDER),
    "clamped": Schedule.asynchronous(ORDER, clamped=torch.tensor([2, 7])),
    "clamped by a mask": Schedule.parallel(clamped=torch.arange(NUM_NODES) < 3),
}


def weights(graph: Graph = GRAPH) -> Tensor:
    """Of edges, so small that rows have an absolute sum below 0.8."""
    w = draw(graph.num_edges, seed=1)
    return 0.8 * w / torch.zeros(graph.num_nodes).double().index_add(0, graph.dst, w.abs())[graph.dst]


def matrix_of(m: Tensor, graph: Graph = GRAPH) -> Tensor:
    empty = m.new_zeros(graph.num_nodes, graph.num_nodes)
    return empty.index_put((graph.dst, graph.src), m, accumulate=True)


@pytest.mark.parametrize("backend", ["auto", "eager"])
@pytest.mark.parametrize("name", SCHEDULES)
def test_implicit_gradients_are_those_through_all_sweeps(name: str, backend: str) -> None:
    def run(gradient: Gradient) -> Any:
        def function(x: Tensor, w: Tensor, c: Tensor, weight: Tensor) -> Tensor:
            found = iterate(
                Contracting(),
                GRAPH,
                x,
                schedule=SCHEDULES[name],
                until=1e-14,
                gradient=gradient,
                w=w,
                c=c,
                weight=weight,
            )
            assert found.converged
            return found.state

        return function

    start = draw(NUM_NODES, 3, seed=6)
    orthogonal = torch.linalg.qr(draw(3, 3, seed=5)).Q
    with mpnn.backend(backend):
        inputs = [start, weights(), draw(NUM_NODES, 3, seed=2), orthogonal]
        assert_same(run("implicit"), run("sweeps"), inputs)


@pytest.mark.parametrize("name", ["parallel", "alternating", "asynchronous"])
def test_the_gradient_of_a_linear_fixed_point_is_that_of_solving(name: str) -> None:
    def ours(c: Tensor, m: Tensor) -> Any:
        zero = torch.zeros_like(c)
        return iterate(
            Affine(), GRAPH, zero, schedule=SCHEDULES[name], until=1e-15, gradient="implicit", c=c, m=m
        ).state

    def solved(c: Tensor, m: Tensor) -> Tensor:
        return torch.linalg.solve(torch.eye(NUM_NODES).double() - matrix_of(m), c)

    assert_same(ours, solved, [draw(NUM_NODES), weights()])


def test_implicit_gradients_pass_gradcheck() -> None:
    def settled(c: Tensor, m: Tensor) -> Any:
        return iterate(
            Affine(),
            GRAPH,
            torch.zeros_like(c),
            schedule=SCHEDULES["asynchronous"],
            until=1e-15,
            gradient="implicit",
            c=c,
            m=m,
        ).state.sin()

    assert torch.autograd.gradcheck(settled, [draw(NUM_NODES).requires_grad_(), weights().requires_grad_()])


def test_several_states_one_of_whole_numbers_have_the_gradients_of_all_sweeps() -> None:
    def run(gradient: Gradient) -> Any:
        def function(w: Tensor, c: Tensor) -> Any:
            zero = torch.zeros(NUM_NODES, 2).double()
            state = {"x": zero, "y": zero, "count": torch.arange(NUM_NODES)}
            found = iterate(Pair(), GRAPH, state, until=1e-15, gradient=gradient, w=w, c=c).state
            assert torch.equal(found["count"], state["count"])
            return found["x"], found["y"]

        return function

    assert_same(run("implicit"), run("sweeps"), [0.7 * weights(), draw(NUM_NODES, 2, seed=2)])


def test_the_parameters_of_a_layer_have_the_gradients_of_all_sweeps() -> None:
    class Layer(Contracting):
        def __init__(self) -> None:
            super().__init__()
            self.lin = torch.nn.Linear(3, 3, dtype=torch.float64)
            with torch.no_grad():
                self.lin.weight.copy_(torch.linalg.qr(draw(3, 3, seed=5)).Q)

        def update(self, inputs: Tensor, c: Tensor) -> Tensor:
            return torch.tanh(self.lin(inputs)) + c

    found = []
    options: tuple[Gradient, ...] = ("sweeps", "implicit")
    for gradient in options:
        torch.manual_seed(0)
        layer, zero = Layer(), torch.zeros(NUM_NODES, 3).double()
        c = draw(NUM_NODES, 3, seed=2)
        state = iterate(layer, GRAPH, zero, until=1e-14, gradient=gradient, w=weights(), c=c).state
        state.square().sum().backward()
        found.append([p.grad for p in layer.parameters()])
    for ours, theirs in zip(*found, strict=True):
        assert ours is not None and theirs is not None
        assert_close(ours, theirs)


def test_the_state_is_the_same_with_gradients_and_without() -> None:
    m, c = weights(), draw(NUM_NODES)
    with torch.no_grad():
        plain = iterate(Affine(), GRAPH, c, until=1e-9, gradient="implicit", c=c, m=m)
    found = iterate(Affine(), GRAPH, c, until=1e-9, gradient="implicit", c=c, m=m.requires_grad_())
    assert torch.equal(found.state, plain.state)
    assert (found.state.requires_grad, plain.state.requires_grad) == (True, False)


def test_where_nothing_needs_a_gradient_the_state_has_none() -> None:
    found = iterate(
        Affine(), GRAPH, draw(NUM_NODES), until=1e-9, gradient="implicit", c=draw(NUM_NODES), m=weights()
    )
    assert not found.state.requires_grad


def test_a_function_may_say_when_the_fixed_point_is_reached() -> None:
    def near(before: Tensor, after: Tensor) -> bool:
        return bool(torch.allclose(before, after, rtol=0, atol=1e-14))

    def ours(c: Tensor, m: Tensor) -> Any:
        return iterate(Affine(), GRAPH, torch.zeros_like(c), until=near, gradient="implicit", c=c, m=m).state

    def solved(c: Tensor, m: Tensor) -> Tensor:
        return torch.linalg.solve(torch.eye(NUM_NODES).double() - matrix_of(m), c)

    assert_same(ours, solved, [draw(NUM_NODES), weights()])


def saved_for(gradient: Gradient, until: float) -> tuple[int, int]:
    """How many sweeps were made, and how many numbers are kept for the backward pass."""
    sizes: dict[int, int] = {}
    kept: list[Tensor] = []  # so that no address is used twice

    def pack(tensor: Tensor) -> Tensor:
        kept.append(tensor)
        sizes[tensor.data_ptr()] = tensor.numel()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        found = iterate(
            Contracting(),
            GRAPH,
            torch.zeros(NUM_NODES, 3).double(),
            schedule=SCHEDULES["asynchronous"],
            until=until,
            gradient=gradient,
            w=weights(),
            c=draw(NUM_NODES, 3, seed=2),
            weight=torch.eye(3).double().requires_grad_(),
        )
    assert found.state.requires_grad
    return found.sweeps, sum(sizes.values())


def test_what_is_kept_for_the_backward_pass_does_not_grow_with_the_sweeps() -> None:
    saved_for("implicit", 1e-2)  # makes the kernels
    few, kept_of_few = saved_for("implicit", 1e-2)
    many, kept_of_many = saved_for("implicit", 1e-15)
    assert many > 3 * few
    assert kept_of_many == kept_of_few > 0
    assert saved_for("sweeps", 1e-15)[1] > 3 * saved_for("sweeps", 1e-2)[1]


def test_the_adjoint_is_the_same_iteration_on_the_reversed_graph() -> None:
    """λ = g + Mᵀλ, as a call of `iterate`."""
    m, c, g = weights(), draw(NUM_NODES).requires_grad_(), draw(NUM_NODES, seed=9)
    state = iterate(
        Affine(), GRAPH, torch.zeros(NUM_NODES).double(), until=1e-15, gradient="implicit", c=c, m=m
    ).state
    (ours,) = torch.autograd.grad(state, c, g)
    adjoint = iterate(Affine(), GRAPH.reverse(), torch.zeros_like(g), until=1e-15, c=g, m=m).state
    assert_close(ours, adjoint)


X = draw(NUM_NODES)


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"gradient": "exact", "until": 0}, "gradient is 'exact', but must be 'sweeps' or 'implicit'"),
        ({"gradient": "implicit"}, "that of a fixed point: say by until= when it is reached"),
        (
            {"gradient": "implicit", "until": 0, "c": EachSweep(lambda sweep: X)},
            "that of a fixed point, but c changes from sweep to sweep",
        ),
    ],
    ids=["another word", "no end", "a field that changes"],
)
def test_what_is_no_fixed_point_is_refused(options: dict[str, Any], reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        iterate(Affine(), GRAPH, X, **{"c": X, "m": weights(), **options})


def test_sweeps_that_do_not_settle_leave_a_state_whose_gradient_is_refused() -> None:
    c = X.clone().requires_grad_()
    found = iterate(Affine(), GRAPH, X, until=1e-9, steps=3, gradient="implicit", c=c, m=weights())
    assert (found.converged, found.sweeps) == (False, 3)
    with pytest.raises(RuntimeError, match=r"Affine has no implicit gradient.*still changes after 3 sweeps"):
        found.state.sum().backward()


def test_two_states_that_follow_each_other_have_no_implicit_gradient() -> None:
    pair, c = topology.complete(2, self_loops=False), torch.zeros(2).double().requires_grad_()
    start, m = torch.tensor([1.0, -2.0]).double(), torch.ones(2).double()
    found = iterate(Affine(), pair, start, until=0, gradient="implicit", c=c, m=m)
    assert found.cycle
    with pytest.raises(RuntimeError, match="two states follow each other for ever"):
        found.state.sum().backward()


def test_an_adjoint_that_does_not_settle_is_refused() -> None:
    """0 is a fixed point of x = 2 x, from which the sweeps would run away."""
    pair, m = topology.complete(2, self_loops=False), torch.full((2,), 2.0).double().requires_grad_()
    zero = torch.zeros(2).double()
    found = iterate(Affine(), pair, zero, until=0, gradient="implicit", steps=50, c=zero, m=m)
    assert found.converged
    with pytest.raises(RuntimeError, match=r"did not settle in 50 sweeps.*does not contract at this state"):
        found.state.sum().backward()
    found = iterate(Affine(), pair, zero, until=0, gradient="implicit", steps=5000, c=zero, m=m)
    with pytest.raises(RuntimeError, match="grew beyond all numbers"):
        found.state.sum().backward()


def test_a_second_derivative_is_refused() -> None:
    c = X.clone().requires_grad_()
    found = iterate(Affine(), GRAPH, X, until=1e-12, gradient="implicit", c=c, m=weights())
    (slope,) = torch.autograd.grad(found.state.square().sum(), c, create_graph=True)
    with pytest.raises(RuntimeError, match="once_differentiable"):
        slope.sum().backward()
