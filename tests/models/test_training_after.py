"""A layer can be trained after it ran in evaluation or inference mode: its caches suit training."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from mpnn import models
from mpnn.native import products
from tests.compare import assert_close
from tests.models.conv.test_equals_pyg import CASES, Case, inputs
from tests.models.graphs import GRAPHS, edge_input, features

GRAPH = GRAPHS["plain"]
CACHED = {
    "SG": lambda: models.SGConv(6, 4, K=2, cached=True),
    "GCN": lambda: models.GCNConv(6, 4, cached=True),
    "APPNP": lambda: models.APPNP(2, 0.1, cached=True),
}


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("name", CACHED)
def test_a_layer_that_keeps_things_can_be_trained_after_inference(name: str, weighted: bool) -> None:
    layer, given = CACHED[name]().double(), [features(GRAPH.num_nodes), GRAPH]
    given += [edge_input("edge_weight", GRAPH.num_edges)] if weighted else []
    expected = outcome(copy.deepcopy(layer), *given)
    with torch.inference_mode():
        first = layer(*given)
    for found in (outcome(layer, *given), outcome(layer, *given)):
        for ours, plain in zip(found, expected, strict=True):
            assert_close(ours, plain)
    assert_close(first.clone(), expected[0])


def outcome(layer: nn.Module, x: Any, *given: Any) -> list[Tensor]:
    """Outputs of the x that the layer has seen and of one with a gradient, and all gradients."""
    h = (2 * x).requires_grad_()
    out, other = layer(x, *given), layer(h, *given)
    return [out, other, *torch.autograd.grad((out * other).sum(), [h, *layer.parameters()])]


@pytest.mark.parametrize("large", [False, True])
@pytest.mark.parametrize("case", [c for c in CASES if not c.apart], ids=str)
def test_gradients_lie_in_memory_as_their_parameters_do(
    case: Case, large: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Or `DistributedDataParallel` copies each, and warns."""
    if large:
        monkeypatch.setattr(products, "SMALL", 0)
    layer = case.build(models)
    out = layer(*inputs(case, GRAPH).values())
    if not out.requires_grad:
        assert not list(layer.parameters())
        return
    out.square().sum().backward()
    for name, parameter in layer.named_parameters():
        if parameter.grad is not None:
            assert parameter.grad.stride() == parameter.stride(), name
