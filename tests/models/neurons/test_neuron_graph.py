"""Neurons in any directed acyclic graph: δ of every neuron against autograd, layers against torch.nn."""

from __future__ import annotations

import copy
import pickle
from itertools import pairwise

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

import mpnn
from mpnn import Graph, Schedule
from mpnn.models import NeuronGraph, layered
from tests.compare import assert_close

ACTIVATIONS = {
    "tanh": torch.tanh,
    "sigmoid": torch.sigmoid,
    "relu": torch.relu,
    "identity": lambda a: a,
    "softplus": nn.functional.softplus,
}


def acyclic(num_neurons: int, num_edges: int, seed: int) -> Graph:
    """A random graph whose edges follow a random order of the neurons; some stand there twice."""
    generator = torch.Generator().manual_seed(seed)
    ends = torch.randint(num_neurons, (2, num_edges), generator=generator).sort(0).values
    order = torch.randperm(num_neurons, generator=generator)
    return Graph(order[ends[:, ends[0] < ends[1]]], num_neurons)


def made(graph: Graph, activation: str, seed: int) -> NeuronGraph:
    """`activation` may be "drawn", another one for each neuron."""
    generator = torch.Generator().manual_seed(seed)
    drawn = torch.randint(len(ACTIVATIONS), (graph.num_nodes,), generator=generator).tolist()
    entered = (graph.in_degree > 0).tolist()
    each = [list(ACTIVATIONS)[k] if real else "identity" for k, real in zip(drawn, entered, strict=True)]
    network = NeuronGraph(graph, activation=each if activation == "drawn" else activation).double()
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=generator, dtype=torch.float64))
    return network


def by_hand(network: NeuronGraph, x: Tensor, order: list[int]) -> tuple[list[Tensor], list[Tensor]]:
    """The a and h of each neuron, by loops over neurons and edges; an input's are its x."""
    graph, inputs = network.graph, network.inputs.tolist()
    a: list[Tensor] = [x.new_zeros(())] * graph.num_nodes
    h = list(a)
    for i in order:
        if i in inputs:
            a[i] = h[i] = x[inputs.index(i)]
            continue
        edges = (graph.dst == i).nonzero().flatten().tolist()
        total = [network.weight[e] * h[int(graph.src[e])] for e in edges]
        a[i] = torch.stack(total).sum(0) + network.bias[i]
        h[i] = ACTIVATIONS[network.activations[int(network.kind[i])]](a[i])
    return a, h


@given(
    num_neurons=st.integers(2, 14),
    num_edges=st.integers(1, 40),
    num_samples=st.sampled_from([0, 1, 3]),
    activation=st.sampled_from([*ACTIVATIONS, "drawn"]),
    seed=st.integers(0, 2**20),
)
@settings(max_examples=60, deadline=None)
def test_the_delta_of_every_neuron_and_the_slope_of_every_weight_are_those_of_autograd(
    num_neurons: int, num_edges: int, num_samples: int, activation: str, seed: int
) -> None:
    graph = acyclic(num_neurons, num_edges, seed)
    network = made(graph, activation, seed)
    generator = torch.Generator().manual_seed(seed + 1)
    shape = (len(network.inputs), num_samples) if num_samples else (len(network.inputs),)
    x = torch.randn(shape, generator=generator, dtype=torch.float64, requires_grad=True)
    error = torch.randn(num_neurons, *shape[1:], generator=generator, dtype=torch.float64)
    order = network.forwards.rank_of(graph).argsort().tolist()
    a, h = by_hand(network, x, order)
    with torch.no_grad():
        found_h = network(x)
    assert_close(found_h, torch.stack(h), atol=1e-12)
    loss = (torch.stack(h) * error).sum()
    of_neurons = torch.autograd.grad(loss, a, retain_graph=True)
    weight, bias = torch.autograd.grad(loss, [network.weight, network.bias], allow_unused=True)
    found = network.backpropagate(found_h, error)
    for i, delta in enumerate(of_neurons):
        assert_close(found.delta[i], delta, atol=1e-12)
    for ours, theirs in ((found.weight, weight), (found.bias, bias)):
        assert_close(ours, torch.zeros_like(ours) if theirs is None else theirs, atol=1e-12)


def test_full_layers_are_those_of_torch_and_have_their_gradients() -> None:
    torch.manual_seed(0)
    sizes, starts = [3, 5, 4, 2], [0, 3, 8, 12]
    graph = layered(*sizes)
    linears = [nn.Linear(n, m).double() for n, m in pairwise(sizes)]
    network = NeuronGraph(graph).double()
    with torch.no_grad():
        network.weight.copy_(torch.cat([lin.weight.T.flatten() for lin in linears]))
        network.bias.copy_(torch.cat([torch.zeros(3), *(lin.bias for lin in linears)]))
    x, target = torch.randn(3, 7).double(), torch.randn(2, 7).double()
    out = x.T
    for lin in linears:
        out = lin(out).tanh()
    (out.T - target).square().sum().backward()
    h = network(x)
    assert_close(h[starts[-1] :], out.T)
    error = torch.zeros_like(h)
    error[starts[-1] :] = 2 * (h[starts[-1] :] - target).detach()
    found = network.backpropagate(h, error)
    assert_close(
        found.weight,
        torch.cat([lin.weight.grad.T.flatten() for lin in linears if lin.weight.grad is not None]),
    )
    assert_close(found.bias[3:], torch.cat([lin.bias.grad for lin in linears if lin.bias.grad is not None]))
    (h[starts[-1] :] - target).square().sum().backward()  # PyTorch's own way through the same layer
    assert network.weight.grad is not None and network.bias.grad is not None
    assert_close(network.weight.grad, found.weight)
    assert_close(network.bias.grad, found.bias)


def test_on_another_backend_the_deltas_are_the_same() -> None:
    network = made(acyclic(12, 40, 3), "tanh", 4)
    x, error = torch.randn(len(network.inputs), 5).double(), torch.randn(12, 5).double()
    found = network.backpropagate(network(x), error)
    with mpnn.backend("eager"):
        wanted = network.backpropagate(network(x), error)
    for ours, theirs in zip(found, wanted, strict=True):
        assert_close(ours, theirs, atol=1e-13)


def test_neurons_without_edges_are_inputs() -> None:
    network = NeuronGraph(torch.empty(2, 0, dtype=torch.int64), 3)
    x = torch.tensor([1.0, 2.0, 3.0])
    assert torch.equal(network(x), x)
    assert torch.equal(network.backpropagate(x, x).delta, x)


def test_it_learns_exclusive_or() -> None:
    """With one hidden neuron, for the inputs reach the output themselves."""
    torch.manual_seed(1)
    edges = torch.tensor([[0, 1, 0, 1, 2], [2, 2, 3, 3, 3]])
    network = NeuronGraph(edges)
    x, wanted = torch.tensor([[0.0, 0, 1, 1], [0, 1, 0, 1]]), torch.tensor([-0.8, 0.8, 0.8, -0.8])
    optimizer = torch.optim.Adam(network.parameters(), 0.1)
    for _ in range(300):
        h = network(x).detach()
        error = torch.zeros_like(h)
        error[3] = h[3] - wanted
        found = network.backpropagate(h, error)
        network.weight.grad, network.bias.grad = found.weight, found.bias
        optimizer.step()
    assert_close(network(x)[3].detach(), wanted, atol=0.05)


def test_copies_and_pickles_compute_the_same() -> None:
    network = made(acyclic(8, 20, 5), "sigmoid", 6)
    x = torch.randn(len(network.inputs)).double()
    for other in (copy.deepcopy(network), pickle.loads(pickle.dumps(network))):
        assert torch.equal(other(x), network(x))


def test_a_reversed_schedule_has_the_nodes_from_the_last_to_the_first() -> None:
    graph = acyclic(9, 20, 7)
    assert Schedule.parallel().reverse().rank_of(graph).tolist() == [0] * 9
    order = torch.randperm(9, generator=torch.Generator().manual_seed(1))
    forward, backward = Schedule.asynchronous(order, sweeps=3), Schedule.asynchronous(order.flip(0))
    assert torch.equal(forward.reverse().rank_of(graph).argsort(), backward.rank_of(graph).argsort())
    assert repr(forward.reverse()) == "Schedule(reversed asynchronous, sweeps=3)"
    # Ranks of a function are those of the graph that is reversed; those of bytes have no negative.
    by_degree = Schedule(lambda graph: graph.in_degree.to(torch.uint8)).reverse()
    turned = by_degree.rank_of(graph.reverse())
    assert torch.equal(turned.argsort(stable=True), (-graph.in_degree).argsort(stable=True))


TWO = torch.tensor([[0, 1], [1, 2]])


@pytest.mark.parametrize(
    ("call", "reason"),
    [
        (lambda: NeuronGraph(torch.tensor([[0, 1], [1, 0]])), "cycle"),
        (
            lambda: NeuronGraph(TWO, activation="gelu"),
            "activation is 'gelu', but must be one of identity, tanh",
        ),
        (lambda: NeuronGraph(TWO, activation=["tanh"]), "names 1 functions, but there are 3 neurons"),
        (lambda: NeuronGraph(TWO, activation=["tanh"] * 3), r"activation\[0\] is 'tanh', but inputs have"),
        (lambda: NeuronGraph(Graph(TWO, 3), 4), "num_neurons is 4, but the graph has 3 nodes"),
        (lambda: NeuronGraph(TWO)(torch.ones(2)), r"x must be \[1\] or \[1, num_samples\].*got shape \[2\]"),
        (lambda: NeuronGraph(TWO)(torch.ones(1, 2, 3)), "x must be"),
        (
            lambda: NeuronGraph(TWO).backpropagate(torch.ones(3), torch.ones(3, 2)),
            r"error must be \[3\].*got shape \[3, 2\]",
        ),
        (lambda: NeuronGraph(TWO).backpropagate(torch.ones(2), torch.ones(2)), r"h must be \[3\]"),
    ],
    ids=[
        "a cycle",
        "another activation",
        "few",
        "of an input",
        "another number",
        "two inputs",
        "three dimensions",
        "error",
        "h",
    ],
)
def test_what_does_not_fit_is_named(call: object, reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        call()  # type: ignore[operator]
