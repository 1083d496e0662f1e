"""The oracles of networks with an energy, for docs/unification.md: their equations in matrices."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from oracles import Case, against_equation, normal
from torch import Tensor

from mpnn import Graph, models
from mpnn.models import DBN, RBM

VISIBLE, HIDDEN = 6, 4


def rbm() -> list[Case]:
    return _cases(RBM(VISIBLE, HIDDEN))


def sparse_rbm() -> list[Case]:
    pairs = (torch.rand(VISIBLE, HIDDEN) < 0.5).nonzero().T
    return _cases(RBM(VISIBLE, HIDDEN, graph=Graph(pairs, (VISIBLE, HIDDEN))))


def dbn() -> list[Case]:
    network = DBN([VISIBLE, 5, HIDDEN])
    _draw(network)

    def equation(v: Tensor) -> Tensor:
        for layer in network.layers:
            v = torch.sigmoid(F.linear(v, layer.weight, layer.hidden_bias))
        return v

    case = against_equation(network, network, equation, torch.rand(7, VISIBLE).double())
    return [case._replace(our_parameters=_upward(network), their_parameters=_upward(network))]


def _cases(machine: RBM) -> list[Case]:
    """What either side is given the other, and the energy without the hidden units."""
    _draw(machine)

    def matrix() -> Tensor:
        if machine.is_complete:
            return machine.weight
        empty = machine.weight.new_zeros(HIDDEN, VISIBLE)
        return empty.index_put((machine.graph.dst, machine.graph.src), machine.weight)

    def hidden(v: Tensor) -> Tensor:
        return torch.sigmoid(v @ matrix().T + machine.hidden_bias)

    def visible(h: Tensor) -> Tensor:
        return torch.sigmoid(h @ matrix() + machine.visible_bias)

    def free_energy(v: Tensor) -> Tensor:
        received = v @ matrix().T + machine.hidden_bias
        return -v @ machine.visible_bias - torch.logaddexp(torch.zeros_like(received), received).sum(1)

    v, h = torch.rand(7, VISIBLE).double(), torch.rand(7, HIDDEN).double()
    return [
        against_equation(machine, machine.hidden, hidden, v),
        against_equation(machine, machine.visible, visible, h),
        against_equation(machine, machine.free_energy, free_energy, v),
    ]


def _draw(module: torch.nn.Module) -> None:
    for parameter in module.double().parameters():
        parameter.data = normal(*parameter.shape)


def _upward(network: DBN) -> list[Tensor]:
    return [parameter for layer in network.layers for parameter in (layer.weight, layer.hidden_bias)]


def pairs(number: int) -> Graph:
    """Some pairs, each in both directions."""
    one = torch.tensor([[0, 0, 1, 2, 3, 4], [1, 3, 2, 4, 5, 5]])
    return Graph(torch.cat([one, one.flip(0)], 1), num_nodes=number)


def matrix(graph: Graph, weight: Tensor) -> Tensor:
    return torch.zeros(graph.num_dst, graph.num_src, dtype=weight.dtype).index_put(
        (graph.dst, graph.src), weight, accumulate=True
    )


def hopfield() -> list[Case]:
    graph, half = pairs(6), normal(6)
    network = models.HopfieldNetwork(6, graph)
    network.weight = torch.cat([half, half])
    dense = matrix(graph, network.weight)
    states = normal(6, 5).sign()
    return [
        against_equation(network, network, lambda s: torch.sign(dense @ s), states),
        against_equation(network, network.energy, lambda s: -0.5 * (s * (dense @ s)).sum(0), states),
    ]


def boltzmann_machine() -> list[Case]:
    graph, half = pairs(6), normal(6)
    machine = models.BoltzmannMachine(graph, weight=torch.cat([half, half]), bias=normal(6)).double()

    def equation(s: Tensor) -> Tensor:
        coupled = matrix(graph, machine.weight) @ s
        return -0.5 * (s * coupled).sum(0) - machine.bias @ s

    return [against_equation(machine, machine.energy, equation, (normal(6, 5) > 0).double())]


def modern_hopfield() -> list[Case]:
    network, patterns = models.ModernHopfieldNetwork(0.7), normal(7, 4)
    network.fit(patterns)

    def attention(q: Tensor) -> Tensor:
        return F.scaled_dot_product_attention(q[None], patterns[None], patterns[None], scale=0.7)[0]

    return [against_equation(network, network, attention, normal(5, 4))]
