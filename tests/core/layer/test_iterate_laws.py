"""What is known of iterations: linear systems, energies, acyclic graphs, alternation, backpropagation."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import scipy.sparse
import torch
from torch import Tensor

from mpnn import Graph, MessagePassing, Schedule, iterate, topology
from mpnn.topology.levels import topological_levels
from tests.compare import assert_close, assert_same


def _acyclic(seed: int = 0) -> Graph:
    generator = torch.Generator().manual_seed(seed)
    ends = torch.randint(9, (2, 26), generator=generator).sort(0).values
    return Graph(torch.randperm(9, generator=generator)[ends[:, ends[0] < ends[1]]], 9)


class Linear(MessagePassing):
    """x_i = (b_i - Σ_j a_ij x_j) / a_ii."""

    state = ("x",)

    def message(self, x_j: Tensor, a: Tensor) -> Tensor:
        return a * x_j

    def update(self, inputs: Tensor, b: Tensor, diagonal: Tensor) -> Tensor:
        return (b - inputs) / diagonal


def _system() -> tuple[scipy.sparse.csr_array, Graph, dict[str, Any]]:
    matrix = scipy.sparse.random_array((30, 30), density=0.2, rng=np.random.default_rng(2)).tolil()
    matrix.setdiag(0)
    matrix = matrix.tocsr()
    matrix = (matrix + scipy.sparse.diags_array(np.asarray(matrix.sum(1)) + 1)).tocsr()
    off = (matrix - scipy.sparse.diags_array(matrix.diagonal())).tocoo()
    off.eliminate_zeros()
    graph = Graph(torch.from_numpy(np.stack([off.col, off.row]).astype(np.int64)), 30)
    b = torch.from_numpy(np.random.default_rng(3).standard_normal(30))
    return (
        matrix,
        graph,
        {"a": torch.from_numpy(off.data), "b": b, "diagonal": torch.from_numpy(matrix.diagonal())},
    )


def test_in_order_a_sweep_is_gauss_and_seidels_and_in_parallel_jacobis() -> None:
    matrix, graph, fields = _system()
    lower, upper = scipy.sparse.tril(matrix).tocsr(), scipy.sparse.triu(matrix, 1).tocsr()
    b, diagonal = fields["b"].numpy(), matrix.diagonal()
    seidel = jacobi = np.zeros(30)
    in_order = Schedule.asynchronous(torch.arange(30))
    zero = torch.zeros(30, dtype=torch.float64)
    for steps in range(1, 5):
        seidel = scipy.sparse.linalg.spsolve_triangular(lower, b - upper @ seidel)
        jacobi = (b - (matrix @ jacobi - diagonal * jacobi)) / diagonal
        found = iterate(Linear(), graph, zero, schedule=in_order, steps=steps, **fields).state
        assert_close(found, torch.from_numpy(seidel))
        assert_close(iterate(Linear(), graph, zero, steps=steps, **fields).state, torch.from_numpy(jacobi))


def test_until_nothing_changes_the_fixed_point_is_the_solution() -> None:
    matrix, graph, fields = _system()
    solution = torch.from_numpy(scipy.sparse.linalg.spsolve(matrix.tocsc(), fields["b"].numpy()))
    used = {}
    for name, schedule in {
        "jacobi": Schedule.parallel(until=1e-13),
        "seidel": Schedule.asynchronous(torch.arange(30), until=1e-13),
    }.items():
        found = iterate(Linear(), graph, torch.zeros(30, dtype=torch.float64), schedule=schedule, **fields)
        assert found.converged
        assert_close(found.state, solution)
        used[name] = found.sweeps
    assert used["seidel"] < used["jacobi"]


class Spin(MessagePassing):
    """s_i = sign(Σ_j w_ij s_j), s_i itself where that is 0: Hopfield's network."""

    state = ("s",)

    def message(self, s_j: Tensor, w: Tensor) -> Tensor:
        return w * s_j

    def update(self, inputs: Tensor, s: Tensor) -> Tensor:
        return torch.where(inputs == 0, s, inputs.sign())


def test_how_the_sweeps_ended_is_said() -> None:
    pair, one = Graph(torch.tensor([[0, 1], [1, 0]])), torch.ones(2)
    spins = torch.tensor([1.0, -1.0])
    found = iterate(Spin(), pair, spins, steps=3, w=one)
    assert (found.state.tolist(), found.sweeps, found.converged, found.cycle) == ([-1, 1], 3, None, False)
    # At once, both take the other's state for ever; one after the other, they agree.
    found = iterate(Spin(), pair, spins, until=0, w=one)
    assert (found.sweeps, found.converged, found.cycle) == (2, False, True)
    found = iterate(Spin(), pair, spins, until=0, steps=1, w=one)
    assert (found.sweeps, found.converged, found.cycle) == (1, False, False)
    in_order = Schedule.asynchronous(torch.arange(2), until=0)
    found = iterate(Spin(), pair, spins, schedule=in_order, w=one)
    assert (found.state.tolist(), found.sweeps, found.converged) == ([-1, -1], 2, True)
    turned = iterate(
        Spin(), pair, {"s": spins}, until=lambda old, new: torch.equal(old["s"], -new["s"]), w=one
    )
    assert (turned.state["s"].tolist(), turned.sweeps, turned.converged) == ([-1, 1], 1, True)
    assert iterate(Spin(), pair, spins, steps=0, w=one).state is spins


def test_a_state_that_is_no_number_has_not_converged() -> None:
    class Worse(MessagePassing):
        state = ("x",)

        def update(self, inputs: Tensor, x: Tensor) -> Tensor:
            return x * torch.nan

    ring = Graph(torch.tensor([[0, 1], [1, 0]]))
    found = iterate(Worse(), ring, torch.ones(2), until=1.0, steps=4)
    assert (found.sweeps, found.converged) == (4, False)


@pytest.mark.parametrize("seed", range(5))
def test_hopfields_energy_never_rises_one_after_the_other_and_ends_in_a_fixed_point(seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    weights = torch.randn(12, 12, generator=generator, dtype=torch.float64)
    weights = (weights + weights.T) * (1 - torch.eye(12, dtype=torch.float64))
    graph = topology.complete(12, self_loops=False)
    w, spins = weights[graph.dst, graph.src], torch.randn(12, generator=generator, dtype=torch.float64).sign()
    order = Schedule.asynchronous(torch.randperm(12, generator=generator), until=0)
    energies = [-0.5 * spins @ weights @ spins]
    while not (ended := iterate(Spin(), graph, spins, schedule=order, steps=1, w=w)).converged:
        spins = ended.state
        energies.append(-0.5 * spins @ weights @ spins)
        assert energies[-1] < energies[-2]
    assert len(energies) > 1
    assert torch.equal((weights @ spins).sign(), spins)


def test_in_an_acyclic_graph_one_sweep_in_order_is_as_many_in_parallel_as_it_has_levels() -> None:
    class Sum(MessagePassing):
        state = ("x",)

        def update(self, inputs: Tensor, source: Tensor) -> Tensor:
            return 0.5 * inputs + source

    graph = _acyclic()
    source = torch.randn(9, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(4))
    depth = len(topological_levels(graph))

    def under(schedule: str, steps: int) -> Callable[..., Tensor]:
        def run(source: Tensor) -> Tensor:
            state: Tensor = iterate(
                Sum(), graph, torch.zeros_like(source), schedule=schedule, steps=steps, source=source
            ).state
            return state

        return run

    assert depth > 2
    assert_same(under("topological", 1), under("parallel", depth), [source])
    one_less = under("parallel", depth - 1)(source)
    assert not torch.allclose(under("topological", 1)(source), one_less)


def test_alternating_between_two_layers_is_two_matrix_products() -> None:
    class Logistic(MessagePassing):
        state = ("s",)

        def message(self, s_j: Tensor, w: Tensor) -> Tensor:
            return w[:, None] * s_j

        def update(self, inputs: Tensor, bias: Tensor) -> Tensor:
            return torch.sigmoid(inputs + bias[:, None])

    generator = torch.Generator().manual_seed(6)
    visible, hidden = 5, 3
    v, h = torch.arange(visible), torch.arange(visible, visible + hidden)
    down, up = torch.cartesian_prod(h, v).T, torch.cartesian_prod(v, h).T
    graph = Graph(torch.cat([down, up], 1), visible + hidden)
    weight = torch.randn(hidden, visible, generator=generator, dtype=torch.float64)
    bias = torch.randn(visible + hidden, generator=generator, dtype=torch.float64)
    start = torch.rand(visible + hidden, 4, generator=generator, dtype=torch.float64)

    def ours(weight: Tensor, bias: Tensor, start: Tensor) -> Any:
        both = torch.cat([weight.flatten(), weight.T.flatten()])
        hidden_first = Schedule.alternating(torch.tensor([1] * visible + [0] * hidden))
        return iterate(Logistic(), graph, start, schedule=hidden_first, steps=2, w=both, bias=bias).state

    def theirs(weight: Tensor, bias: Tensor, start: Tensor) -> Tensor:
        v = start[:visible]
        for _ in range(2):
            h = torch.sigmoid(weight @ v + bias[visible:, None])
            v = torch.sigmoid(weight.T @ h + bias[:visible, None])
        return torch.cat([v, h])

    assert_same(ours, theirs, [weight, bias, start])


def test_backpropagation_is_the_reversed_rank_on_the_reversed_graph() -> None:
    class Neuron(MessagePassing):
        state = ("h",)

        def message(self, h_j: Tensor, w: Tensor) -> Tensor:
            return w * h_j

        def update(self, inputs: Tensor, b: Tensor) -> Tensor:
            return torch.tanh(inputs + b)

    class Delta(MessagePassing):
        """δ_j = f'(a_j) (e_j + Σ_k w_kj δ_k)."""

        state = ("delta",)

        def message(self, delta_j: Tensor, w: Tensor) -> Tensor:
            return w * delta_j

        def update(self, inputs: Tensor, slope: Tensor, error: Tensor) -> Tensor:
            return slope * (error + inputs)

    graph, generator = _acyclic(seed=2), torch.Generator().manual_seed(5)
    w, b, error = (
        torch.randn(n, generator=generator, dtype=torch.float64, requires_grad=True)
        for n in (graph.num_edges, 9, 9)
    )
    depth = topological_levels(graph).level
    h = iterate(Neuron(), graph, torch.zeros_like(b), schedule=Schedule(depth), w=w, b=b).state
    wanted = torch.autograd.grad((h * error).sum(), [b, w])
    delta = iterate(
        Delta(),
        graph.reverse(),
        torch.zeros_like(b),
        schedule=Schedule(-depth),
        w=w,
        slope=1 - h**2,
        error=error,
    ).state
    assert_close(delta, wanted[0])
    assert_close(h[graph.src] * delta[graph.dst], wanted[1])
