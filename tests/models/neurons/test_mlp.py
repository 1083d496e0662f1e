"""Neurons on directed acyclic graphs against torch.nn and autograd, δ of each of them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import mpnn
from mpnn import Graph
from mpnn.models import FeedForward, layered
from mpnn.models.neurons.mlp import ACTIVATIONS
from tests.compare import assert_close
from tests.present import present

FUNCTIONS = {
    "identity": nn.Identity(),
    "logistic": nn.Sigmoid(),
    "tanh": nn.Tanh(),
    "relu": nn.ReLU(),
    "softplus": nn.Softplus(),
}


def _random_network(seed: int) -> FeedForward:
    """Thirty neurons, an edge from each to some with higher numbers, shuffled, each with a function drawn."""
    generator = torch.Generator().manual_seed(seed)
    pairs = torch.combinations(torch.arange(30)).T
    pairs = pairs[:, torch.rand(pairs.size(1), generator=generator) < 0.15]
    edges = torch.randperm(30, generator=generator)[pairs]
    graph = Graph(edges[:, torch.randperm(edges.size(1), generator=generator)], 30)
    drawn = torch.randint(len(ACTIVATIONS), (30,), generator=generator)
    names = [
        "identity" if degree == 0 else list(ACTIVATIONS)[k]
        for k, degree in zip(drawn.tolist(), graph.in_degree.tolist(), strict=True)
    ]
    torch.manual_seed(seed)
    return FeedForward(graph, names).double()


def _one_by_one(network: FeedForward, x: Tensor) -> tuple[list[Tensor], list[Tensor]]:
    """The h and a of each neuron by a plain loop, every a a tensor of its own that autograd knows."""
    graph, names = network.graph, [network.names[k] for k in network.kind.tolist()]
    src, dst = graph.edge_index.tolist()
    inputs, hidden = network.inputs.tolist(), network.hidden.tolist()
    h: dict[int, Tensor] = {}
    a: dict[int, Tensor] = {}
    while len(h) < graph.num_nodes:
        for i in range(graph.num_nodes):
            sources = [(e, j) for e, (j, k) in enumerate(zip(src, dst, strict=True)) if k == i]
            if i in h or any(j not in h for _, j in sources):
                continue
            if i in inputs:
                a[i] = x[:, inputs.index(i)] * 1
            else:
                a[i] = network.bias[hidden.index(i)] + sum(network.weight[e] * h[j] for e, j in sources)
            a[i].retain_grad()
            h[i] = FUNCTIONS[names[i]](a[i])
    return [h[i] for i in range(graph.num_nodes)], [a[i] for i in range(graph.num_nodes)]


@pytest.mark.parametrize("backend", ["auto", "eager"])
@pytest.mark.parametrize("seed", range(4))
def test_delta_of_every_neuron_is_autograds(seed: int, backend: str) -> None:
    network = _random_network(seed)
    torch.manual_seed(seed)
    x = torch.randn(7, len(network.inputs), dtype=torch.float64, requires_grad=True)
    wanted = torch.randn(7, len(network.outputs), dtype=torch.float64)
    h, a = _one_by_one(network, x)
    outputs = torch.stack([h[i] for i in network.outputs.tolist()], 1)
    F.mse_loss(outputs, wanted).backward()
    with mpnn.backend(backend), torch.no_grad():
        our_h, our_a = network.neurons(x)
        error = 2 * (network(x) - wanted) / wanted.numel()
        deltas = network.deltas(x, error)
        by_edges, by_neurons = network.gradients(x, error)
    assert_close(our_h, torch.stack(h).detach(), atol=1e-12)
    assert_close(our_a, torch.stack(a).detach(), atol=1e-12)
    theirs = [torch.zeros(7).double() if one.grad is None else one.grad for one in a]
    assert_close(deltas, torch.stack(theirs), atol=1e-12)
    assert_close(by_edges, present(network.weight.grad), atol=1e-12)
    assert_close(by_neurons, present(network.bias.grad), atol=1e-12)
    assert_close(deltas[network.inputs].T, present(x.grad), atol=1e-12)


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_a_slope_is_the_derivative_of_its_function(name: str) -> None:
    a = torch.linspace(-3, 3, 12, dtype=torch.float64, requires_grad=True)
    function, slope = ACTIVATIONS[name]
    assert_close(function(a), FUNCTIONS[name](a), atol=1e-14)
    (found,) = torch.autograd.grad(FUNCTIONS[name](a).sum(), a)
    assert_close(slope(a).detach(), found, atol=1e-14)


def test_neurons_in_layers_are_torchs_multilayer_perceptron() -> None:
    torch.manual_seed(0)
    first, second, last = nn.Linear(5, 8), nn.Linear(8, 6), nn.Linear(6, 3)
    theirs = nn.Sequential(first, nn.Tanh(), second, nn.Tanh(), last).double()
    ours = FeedForward(layered(5, 8, 6, 3)).double()
    with torch.no_grad():
        ours.weight.copy_(torch.cat([layer.weight.T.flatten() for layer in (first, second, last)]))
        ours.bias.copy_(torch.cat([layer.bias for layer in (first, second, last)]))
    x = torch.randn(2, 4, 5, dtype=torch.float64)
    assert_close(ours(x), theirs(x), atol=1e-12)
    assert_close(ours(x[0, 0]), theirs(x[0, 0]), atol=1e-12)
    for network in (ours, theirs):
        network(x).square().sum().backward()
    gradient = torch.cat([present(layer.weight.grad).T.flatten() for layer in (first, second, last)])
    assert_close(present(ours.weight.grad), gradient, atol=1e-12)
    y = ours(x[0]).detach()
    assert_close(ours.gradients(x[0], 2 * y)[0].detach(), ours.gradients(x[0], y)[0].detach() * 2, atol=1e-12)


def test_two_hidden_neurons_learn_exclusive_or_by_their_deltas() -> None:
    torch.manual_seed(1)
    network = FeedForward(layered(2, 4, 1)).double()
    x = torch.tensor([[0, 0], [0, 1], [1, 0], [1, 1]]).double()
    wanted = torch.tensor([[0], [1], [1], [0]]).double()
    with torch.no_grad():
        for _ in range(2000):
            by_edges, by_neurons = network.gradients(x, network(x) - wanted)
            network.weight.sub_(0.2 * by_edges)
            network.bias.sub_(0.2 * by_neurons)
    assert_close(network(x).detach(), wanted, atol=1e-3)


def test_first_weights_are_drawn_as_torchs() -> None:
    network = FeedForward(layered(100, 50, 400))
    into_hidden = network.weight.detach()[network.graph.dst < 150]
    assert float(into_hidden.abs().max()) <= 0.1
    assert abs(float(into_hidden.std()) - 0.1 / 3**0.5) < 0.002


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: FeedForward(torch.tensor([[0, 1], [1, 0]])), "cycle"),
        (lambda: FeedForward(layered(2, 1), "step"), "activation is 'step', but must be one of identity, "),
        (
            lambda: FeedForward(layered(2, 1), ["tanh"]),
            "activation names 1 functions, but there are 3 neurons",
        ),
        (lambda: FeedForward(layered(1, 1), ["tanh"] * 2), r"activation\[0\] is 'tanh', but inputs have"),
        (
            lambda: FeedForward(layered(2, 1))(torch.ones(4, 3)),
            r"x must be \[num_samples, 2\], got shape \[4, 3\]",
        ),
        (
            lambda: FeedForward(layered(2, 1)).deltas(torch.ones(4, 2), torch.ones(3, 1)),
            r"error must be \[4, 1\], got shape \[3, 1\]",
        ),
        (lambda: layered(2, 0), "sizes must be at least 1, got 0"),
    ],
)
def test_a_mistake_is_one_sentence(call: Callable[[], Any], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        call()
