"""The oracles of networks of neurons for docs/unification.md: scikit-learn's, plain loops, and autograd."""

from __future__ import annotations

from typing import Any

import torch
from oracles import WIDTH, Case, against_equation, incoming, normal
from sklearn.linear_model import Perceptron
from torch import Tensor

from mpnn import Schedule, iterate, models, propagate, topology
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


def neuron_graph() -> list[Case]:
    edge_index = torch.combinations(torch.arange(9)).T
    edge_index = edge_index[:, torch.rand(edge_index.size(1)) < 0.4]
    network = models.NeuronGraph(edge_index, 9)
    inputs = network.inputs.tolist()

    def equation(x: Tensor) -> Tensor:
        h: list[Tensor] = []
        for i in range(9):
            total = sum((network.weight[e] * h[j] for e, j in incoming(edge_index, i)), network.bias[i])
            h.append(x[inputs.index(i)] if i in inputs else torch.tanh(total))
        return torch.stack(h)

    return [against_equation(network, network, equation, normal(len(inputs), 5))]
