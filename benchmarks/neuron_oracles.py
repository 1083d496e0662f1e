"""The oracles of networks of neurons for docs/unification.md: scikit-learn's, plain loops, and autograd."""

from __future__ import annotations

from typing import Any

import torch
from oracles import WIDTH, Case, against_equation, normal
from sklearn.linear_model import Perceptron
from torch import Tensor

from mpnn import Graph, Schedule, iterate, models, propagate, topology
from mpnn.models.neurons.kernels import PolynomialKernel

SAMPLES = 9


def learned_perceptron() -> list[Case]:
    """Scikit-learn's, trained on the same samples in the same order."""
    x, y = normal(60, WIDTH), torch.arange(60) % 3
    target = torch.where(y[:, None] == torch.arange(3), 1.0, -1.0).double()
    ours = models.Perceptron(WIDTH, 3, dtype=torch.float64).fit(x, target, epochs=5)
    theirs = Perceptron(max_iter=5, tol=None, shuffle=False).fit(x.numpy(), y.numpy())
    weight, bias = torch.from_numpy(theirs.coef_), torch.from_numpy(theirs.intercept_)
    return [Case(ours.decision, lambda x: x @ weight.T + bias, [normal(5, WIDTH)], [], [])]


def kernel_perceptron() -> list[Case]:
    """Two epochs, and then what every sample receives."""
    layer = models.KernelPerceptron(PolynomialKernel(2))
    graph, in_order = topology.complete(SAMPLES), Schedule.asynchronous(torch.arange(SAMPLES))
    start = torch.zeros(SAMPLES, 2, dtype=torch.float64)

    def ours(x: Tensor, t: Tensor) -> tuple[Tensor, Tensor]:
        alpha = iterate(layer, graph, start, schedule=in_order, steps=2, x=x, t=t).state
        return alpha, propagate(graph, layer.message, "sum", alpha=alpha, x=x, t=t)

    def theirs(x: Tensor, t: Tensor) -> tuple[Tensor, Tensor]:
        gram, alpha = (x @ x.T + 1) ** 2, start.clone()
        for i in [*range(SAMPLES)] * 2:
            alpha[i] += t[i] * (gram[i] @ (alpha * t)) <= 0
        return alpha, gram @ (alpha * t)

    return [Case(ours, theirs, [normal(SAMPLES, WIDTH), normal(SAMPLES, 2).sign()], [], [])]


def rbf_network() -> list[Case]:
    """Gaussians of distances, as a matrix."""
    network, graph = models.RBFNetwork(WIDTH, 2, 7, epsilon=0.5), topology.complete_bipartite(7, 5)

    def equation(x: Tensor) -> Any:
        squared = (x[:, None] - network.centers).square().sum(-1)
        return torch.exp(-0.25 * squared) @ network.weight

    return [against_equation(network, lambda x: network(x, graph), equation, normal(5, WIDTH))]


def feed_forward() -> list[Case]:
    """Neuron by neuron, and δ of each by autograd."""
    edge_index = torch.combinations(torch.arange(9)).T
    edge_index = edge_index[:, torch.rand(edge_index.size(1)) < 0.5]
    network = models.FeedForward(Graph(edge_index, 9), "tanh").double()
    src, dst = edge_index.tolist()

    def neuron_by_neuron(x: Tensor) -> list[Tensor]:
        inputs, hidden = network.inputs.tolist(), network.hidden.tolist()
        sums: list[Tensor] = []
        for i in range(9):
            if i in inputs:
                sums.append(x[:, inputs.index(i)] * 1)
                continue
            edges = [(e, src[e]) for e in range(len(src)) if dst[e] == i]
            received = [network.weight[e] * output(j, sums) for e, j in edges]
            sums.append(torch.stack(received).sum(0) + network.bias[hidden.index(i)])
        return sums

    def output(i: int, sums: list[Tensor]) -> Tensor:
        is_end = i in network.inputs.tolist() or i in network.outputs.tolist()
        return sums[i] if is_end else torch.tanh(sums[i])

    def outputs(x: Tensor) -> Tensor:
        sums = neuron_by_neuron(x)
        return torch.stack([output(i, sums) for i in network.outputs.tolist()], 1)

    def deltas(x: Tensor, error: Tensor) -> Tensor:
        sums = neuron_by_neuron(x)
        ends = torch.stack([output(i, sums) for i in network.outputs.tolist()], 1)
        found = torch.autograd.grad(ends, sums, error, create_graph=True, allow_unused=True)
        return torch.stack([x.new_zeros(len(x)) if one is None else one for one in found])

    x, error = normal(4, len(network.inputs)), normal(4, len(network.outputs))
    return [
        against_equation(network, network, outputs, x),
        against_equation(network, network.deltas, deltas, x, error),
    ]
