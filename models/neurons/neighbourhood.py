"""How far a winner's influence reaches over a map of units, and how it shrinks."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from mpnn import Graph, MessagePassing, iterate
from mpnn.topology import Lattice

Decay = Callable[[float, int, int], float]

# The value at step t of T, with the names of MiniSom (Vettigli, 2018).
DECAYS: dict[str, Decay] = {
    "asymptotic_decay": lambda value, t, steps: value / (1 + t / (steps / 2)),
    "inverse_decay_to_zero": lambda value, t, steps: value * (steps / 100) / (steps / 100 + t),
    "linear_decay_to_zero": lambda value, t, steps: value * (1 - t / steps),
    "inverse_decay_to_one": lambda value, t, steps: value / (1 + t * (value - 1) / steps),
    "linear_decay_to_one": lambda value, t, steps: value + t * (1 - value) / steps,
    "constant": lambda value, t, steps: value,
}


class Neighbourhood(NamedTuple):
    """h(c, k), how much unit k learns when unit c wins.

    Args:
        measure: what does not depend on σ, of the offsets `[..., axes]` of k from c.
        weigh: h, `[..., 1]`, of what was measured and σ.
    """

    measure: Callable[[Tensor], Tensor]
    weigh: Callable[[Tensor, float], Tensor]


def _squared(offsets: Tensor) -> Tensor:
    # Finite where there is no way: then 0 times it is 0.
    return offsets.square().sum(-1, keepdim=True).clamp(max=1e30)


def _gaussian(squared: Tensor, sigma: float) -> Tensor:
    return torch.exp(squared * (-0.5 / sigma**2))


def _mexican_hat(squared: Tensor, sigma: float) -> Tensor:
    power = squared * (-0.5 / sigma**2)
    bump = power.exp()
    return torch.addcmul(bump, bump, power, value=2)  # (1 - d² / σ²) exp(-d² / 2σ²)


NEIGHBOURHOODS: dict[str, Neighbourhood] = {
    "gaussian": Neighbourhood(_squared, _gaussian),
    "mexican_hat": Neighbourhood(_squared, _mexican_hat),
    "bubble": Neighbourhood(
        lambda offsets: offsets.amax(-1, keepdim=True), lambda far, sigma: (far < sigma).to(far.dtype)
    ),
    "triangle": Neighbourhood(
        lambda offsets: offsets, lambda offsets, sigma: (sigma - offsets).clamp(min=0).prod(-1, keepdim=True)
    ),
}


class _Hops(MessagePassing):
    """d_i = min(d_i, min_j d_j + 1): the fewest edges from one node to another (Bellman, 1958)."""

    state = ("d",)

    def __init__(self) -> None:
        super().__init__("min")

    def message(self, d_j: Tensor) -> Tensor:
        return d_j + 1

    def update(self, inputs: Tensor, d: Tensor) -> Tensor:  # type: ignore[override]
        return torch.minimum(inputs, d)


def offsets_of(graph: Graph, dtype: torch.dtype) -> Tensor:
    """How far each unit is from each other, `[num_units, num_units, axes]`, from 0 on.

    On a rectangular lattice the axes are its dimensions; on a hexagonal one the only axis is the distance in
    the plane; on another graph it is the number of edges from the first unit to the second, infinite where
    there is no way.

    >>> offsets_of(Graph(torch.tensor([[0, 1], [1, 2]]), 3), torch.float32)[0, :, 0]
    tensor([0., 1., 2.])
    """
    if isinstance(graph, Lattice):
        offsets = graph.offsets(dtype=dtype)
        return offsets.square().sum(-1, keepdim=True).sqrt() if graph.hexagonal else offsets
    number = graph.num_nodes
    alone = torch.full((number, number), torch.inf, dtype=dtype, device=graph.device).fill_diagonal_(0)
    # A node that no edge enters would receive 0: with loops every node receives something.
    found: Tensor = iterate(_Hops(), graph.with_self_loops(), alone, until=0, steps=number).state
    return found.T[..., None]
