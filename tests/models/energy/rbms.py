"""RBMs of tests: all connections, or some of them, with numbers that are drawn."""

from __future__ import annotations

import torch
from torch import Tensor

from mpnn import Graph
from mpnn.models import RBM
from mpnn.models.energy.units import Kind


def complete(visible: int = 5, hidden: int = 4, *, units: Kind = "binary", seed: int = 0) -> RBM:
    """An RBM with all connections."""
    return _drawn(RBM(visible, hidden, units=units).double(), seed)


def sparse(visible: int = 5, hidden: int = 4, *, units: Kind = "binary", seed: int = 0) -> RBM:
    """An RBM with about half of the connections, in any order."""
    generator = torch.Generator().manual_seed(seed)
    edges = (torch.rand(visible, hidden, generator=generator) < 0.5).nonzero().T
    edges = edges[:, torch.randperm(edges.size(1), generator=generator)]
    graph = Graph(edges, (visible, hidden))
    return _drawn(RBM(visible, hidden, graph=graph, units=units).double(), seed)


def filled(rbm: RBM) -> RBM:
    """The same machine with all connections, of which some weigh 0."""
    other = RBM(rbm.num_visible, rbm.num_hidden, units=rbm.units).double()
    other.load_state_dict(rbm.state_dict() | {"weight": matrix(rbm).detach()})
    return other


def matrix(rbm: RBM) -> Tensor:
    """The weights, `[num_hidden, num_visible]`."""
    if rbm.is_complete:
        return rbm.weight
    found = rbm.weight.new_zeros(rbm.num_hidden, rbm.num_visible)
    return found.index_put((rbm.graph.dst, rbm.graph.src), rbm.weight)


def all_bits(number: int) -> Tensor:
    """Every state of some units, `[2 ** number, number]`."""
    return torch.cartesian_prod(*[torch.tensor([0.0, 1.0]).double()] * number).view(-1, number)


def _drawn(rbm: RBM, seed: int) -> RBM:
    generator = torch.Generator().manual_seed(seed + 1)
    for parameter in rbm.parameters():
        parameter.data.copy_(torch.randn(parameter.shape, generator=generator, dtype=torch.float64))
    return rbm
