"""Under `torch.autocast` a message runs as a kernel, in the types that PyTorch gives it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import mpnn
import mpnn.models
from tests.core.graphs import random_graph

WIDTH = 8
HALF = [torch.bfloat16, torch.float16]


def network() -> nn.Module:
    return nn.Sequential(nn.Linear(2 * WIDTH, WIDTH), nn.ReLU(), nn.Linear(WIDTH, WIDTH))


def pna() -> nn.Module:
    scalers = ["identity", "amplification"]
    return mpnn.models.PNAConv(WIDTH, WIDTH, ["mean", "max", "std"], scalers, deg=torch.tensor([1, 2, 9, 4]))


LAYERS: dict[str, Callable[[], nn.Module]] = {
    "GCNConv": lambda: mpnn.models.GCNConv(WIDTH, WIDTH),
    "SAGEConv mean": lambda: mpnn.models.SAGEConv(WIDTH, WIDTH),
    "SAGEConv max": lambda: mpnn.models.SAGEConv(WIDTH, WIDTH, aggr="max"),
    "GINConv": lambda: mpnn.models.GINConv(nn.Linear(WIDTH, WIDTH)),
    "GATConv": lambda: mpnn.models.GATConv(WIDTH, 4, heads=2),
    "GATv2Conv": lambda: mpnn.models.GATv2Conv(WIDTH, 4, heads=2),
    "TransformerConv": lambda: mpnn.models.TransformerConv(WIDTH, 4, heads=2),
    "EdgeConv": lambda: mpnn.models.EdgeConv(network()),
    "PNAConv": pna,
}


def step(
    layer: nn.Module, x: Tensor, graph: mpnn.Graph, dtype: torch.dtype | None, back_inside: bool
) -> list[Tensor]:
    """The output of a layer, maybe under autocast, and the gradients of its features and parameters."""
    x = x.clone().requires_grad_()
    inputs = [x, *layer.parameters()]
    with torch.autocast("cpu", dtype or torch.bfloat16, enabled=dtype is not None):
        out = layer(x, graph)
        if back_inside:
            return [out, *torch.autograd.grad(out.float().square().sum(), inputs)]
    return [out, *torch.autograd.grad(out.float().square().sum(), inputs)]


@pytest.mark.parametrize("dtype", HALF, ids=str)
@pytest.mark.parametrize("name", LAYERS)
def test_types_are_those_of_pytorch_and_values_as_good(name: str, dtype: torch.dtype) -> None:
    torch.manual_seed(0)
    layer, graph = LAYERS[name](), random_graph(seed=3)
    x = torch.randn(graph.num_nodes, WIDTH)
    exact = step(layer, x, graph, None, back_inside=False)
    with mpnn.backend("eager"):
        theirs = step(layer, x, graph, dtype, back_inside=False)
    for back_inside in (False, True):
        ours = step(layer, x, graph, dtype, back_inside)
        assert [t.dtype for t in ours] == [t.dtype for t in theirs]
        for mine, other, true in zip(ours, theirs, exact, strict=True):
            # Both round, but not in the same places: two roundings more are allowed.
            assert error(mine, true) < 2 * error(other, true) + 2 * torch.finfo(dtype).eps


def error(found: Tensor, true: Tensor) -> float:
    """How far off a tensor is, as a share of its length."""
    found, true = found.detach().float(), true.detach()
    return float((found - true).norm() / true.norm().clamp(min=1e-6))


MESSAGES: dict[str, Callable[..., Any]] = {
    "product of both ends": lambda x_i, x_j: x_i * x_j,
    "linear map of a difference": lambda x_i, x_j, w: torch.relu((x_j - x_i) @ w),
    "linear map of both ends": lambda x_i, x_j, w: torch.cat([x_i, x_j], -1) @ torch.cat([w, w]),
}


@pytest.mark.parametrize("aggr", ["sum", "mean", "max", "softmax", "std", ["mean", "max"]], ids=str)
@pytest.mark.parametrize("name", MESSAGES)
def test_every_message_runs_as_a_kernel(name: str, aggr: str) -> None:
    torch.manual_seed(0)
    graph, message = random_graph(seed=4), MESSAGES[name]
    x, w = torch.randn(graph.num_nodes, WIDTH), torch.randn(WIDTH, WIDTH)
    fields: dict[str, Any] = {"x": x} if "w" not in message.__code__.co_varnames else {"x": x, "w": w}

    def run() -> Tensor:
        with torch.autocast("cpu", torch.bfloat16):
            return mpnn.propagate(graph, message, aggr, **fields)

    with mpnn.backend("eager"):
        theirs = run()
    ours = run()
    assert ours.dtype == theirs.dtype
    torch.testing.assert_close(
        ours.float(), theirs.float(), atol=0.05 * float(theirs.detach().abs().max()), rtol=0
    )
    with torch.autocast("cpu", torch.bfloat16):
        report = str(mpnn.explain(mpnn.propagate, graph, message, aggr, **fields))
    assert "runs     as a kernel in C" in report


def test_outside_of_autocast_the_types_are_the_given_ones() -> None:
    graph, x, w = random_graph(seed=5), torch.randn(9, WIDTH), torch.randn(WIDTH, WIDTH)

    def run() -> Tensor:
        return mpnn.propagate(graph, lambda x_j, w: x_j @ w, "sum", x=x, w=w)

    before = run()
    with torch.autocast("cpu", torch.bfloat16):
        assert run().dtype == torch.bfloat16
    after = run()
    assert after.dtype == torch.float32
    assert torch.equal(before, after)


def test_pyg_layers_run_on_kernels_too() -> None:
    from torch_geometric.nn import GATv2Conv

    torch.manual_seed(0)
    graph = random_graph(seed=6)
    x, layer = torch.randn(graph.num_nodes, WIDTH), GATv2Conv(WIDTH, 4, heads=2)

    def run() -> Tensor:
        with torch.autocast("cpu", torch.bfloat16):
            out: Tensor = layer(x, graph.edge_index)
            return out

    theirs = run()
    mpnn.accelerate(layer)
    ours = run()
    assert ours.dtype == theirs.dtype
    torch.testing.assert_close(
        ours.float(), theirs.float(), atol=0.05 * float(theirs.detach().abs().max()), rtol=0
    )


def test_a_maximum_in_half_precision_beside_float32_runs_without_a_kernel() -> None:
    graph, x = random_graph(seed=7), torch.randn(9, WIDTH).bfloat16()
    own = torch.randn(graph.num_edges, WIDTH, requires_grad=True)

    def run() -> list[Tensor]:
        out = mpnn.propagate(graph, lambda x_j, own: x_j * own.sin().bfloat16(), "max", x=x, own=own)
        return [out, *torch.autograd.grad(out, own, torch.ones_like(out))]

    with mpnn.backend("eager"):
        expected = run()
    for ours, theirs in zip(run(), expected, strict=True):
        assert ours.dtype == theirs.dtype
        torch.testing.assert_close(ours, theirs)
    assert "is mixed with torch.float32" in str(mpnn.explain(run))
