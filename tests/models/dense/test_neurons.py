"""The linear layer on a graph of neurons."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import Tensor, nn

import mpnn
from mpnn import models, topology
from tests.compare import assert_close, assert_same


class On(nn.Module):
    """A module on a backend."""

    def __init__(self, module: nn.Module, backend: str = "auto") -> None:
        super().__init__()
        self.module, self.backend = module, backend

    def forward(self, x: Tensor) -> Tensor:
        with mpnn.backend(self.backend):
            out: Tensor = self.module(x)
        return out


@pytest.mark.parametrize("backend", ["dense", "cpu", "eager"])
@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("shape", [(6,), (5, 6), (2, 3, 6)])
def test_all_connections_equal_torch(shape: tuple[int, ...], bias: bool, backend: str) -> None:
    ours = models.Linear(6, 4, bias, dtype=torch.float64)
    theirs = nn.Linear(6, 4, bias, dtype=torch.float64)
    ours.load_state_dict(theirs.state_dict())
    assert_same(On(ours, backend), On(theirs), [torch.randn(shape, dtype=torch.float64)])


@pytest.mark.parametrize("backend", ["auto", "eager"])
def test_a_pruned_layer_is_a_masked_one(backend: str) -> None:
    theirs = nn.Linear(6, 4, dtype=torch.float64)
    keep = torch.rand(4, 6) < 0.5
    ours = models.Linear.pruned(theirs, keep)
    x = torch.randn(5, 6, dtype=torch.float64)
    with mpnn.backend(backend):
        out = ours(x)
    masked = theirs.weight * keep
    assert_close(out, nn.functional.linear(x, masked, theirs.bias))
    (gradient,) = torch.autograd.grad(out.square().sum(), [ours.weight])
    (wanted,) = torch.autograd.grad(
        nn.functional.linear(x, masked, theirs.bias).square().sum(), [theirs.weight]
    )
    assert_close(gradient, wanted[keep])


def test_all_edges_of_a_pruned_layer_run_as_a_product_of_matrices() -> None:
    layer = models.Linear(6, 4, graph=topology.complete_bipartite(6, 4), dtype=torch.float64)
    x = torch.randn(5, 6, dtype=torch.float64)
    assert_same(On(layer, "dense"), On(layer, "eager"), [x])


def test_a_layer_of_neurons_can_be_copied_and_loaded() -> None:
    x = torch.randn(5, 6)
    for layer in (models.Linear(6, 4), models.Linear.pruned(nn.Linear(6, 4), torch.rand(4, 6) < 0.5)):
        assert_close(copy.deepcopy(layer)(x), layer(x))


def test_connections_of_another_size_are_refused() -> None:
    with pytest.raises(ValueError, match=r"graph has size \(5, 4\), but must be .* = \(6, 4\)"):
        models.Linear(6, 4, graph=topology.complete_bipartite(5, 4))
    with pytest.raises(ValueError, match=r"keep must be boolean \[4, 6\]"):
        models.Linear.pruned(nn.Linear(6, 4), torch.ones(6, 4))
