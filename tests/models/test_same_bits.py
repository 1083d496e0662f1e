"""With two threads a layer's gradients have the same bits in every run."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from mpnn import models

NODES, EDGES, RUNS = 5000, 50_000, 20
generator = torch.Generator().manual_seed(0)
EDGE_INDEX = torch.randint(NODES, (2, EDGES), generator=generator)
X = torch.randn(NODES, 8, generator=generator)
WEIGHT = torch.rand(EDGES, generator=generator) + 0.5
NUMBERS = torch.randint(200, (NODES,), generator=generator)


@pytest.fixture(autouse=True)
def two_threads() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(before)


def bits(run: Callable[[], list[Tensor]]) -> int:
    """The number of different results in several runs."""
    return len({b"".join(t.numpy().tobytes() for t in run()) for _ in range(RUNS)})


def gradients(layer: nn.Module, *inputs: Any) -> list[Tensor]:
    inputs = tuple(t.clone().requires_grad_() if _real(t) else t for t in inputs)
    out = layer(*inputs)
    wanted = [*layer.parameters(), *[t for t in inputs if _real(t)]]
    return [g for g in torch.autograd.grad(out.square().sum(), wanted, allow_unused=True) if g is not None]


def _real(value: Any) -> bool:
    return isinstance(value, Tensor) and value.is_floating_point()


WEIGHTED: dict[str, Callable[[], nn.Module]] = {
    "GCN": lambda: models.GCNConv(8, 4),
    "GCN, against the edges": lambda: models.GCNConv(8, 4, flow="target_to_source"),
    "APPNP": lambda: models.APPNP(2, 0.1),
    "SG": lambda: models.SGConv(8, 4, 2),
    "TAG": lambda: models.TAGConv(8, 4, 2),
    "Cheb": lambda: models.ChebConv(8, 4, 3),
    "Cheb, random walk": lambda: models.ChebConv(8, 4, 3, normalization="rw"),
    "Graph": lambda: models.GraphConv(8, 4),
    "gated": lambda: models.GatedGraphConv(8, 2),
}


@pytest.mark.parametrize("name", WEIGHTED)
def test_gradients_of_edge_weights_have_the_same_bits_in_every_run(name: str) -> None:
    layer = WEIGHTED[name]()
    assert bits(lambda: gradients(layer, X, EDGE_INDEX, WEIGHT)) == 1


def test_gradients_of_the_weights_of_numbered_nodes_have_the_same_bits_in_every_run() -> None:
    layer = models.RGCNConv(NODES, 8, 2)
    types = NUMBERS % 2
    edge_index, types = EDGE_INDEX[:, :NODES], types[:NODES]
    assert bits(lambda: gradients(layer, NUMBERS, edge_index, types)) == 1
