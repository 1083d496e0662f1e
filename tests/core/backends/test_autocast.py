"""Under `torch.autocast` a message runs as a kernel, in the types that PyTorch gives it."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode

import mpnn
import mpnn.models
from mpnn.backends.triton import has_triton
from mpnn.plan import trace
from mpnn.plan.formula import formula
from mpnn.plan.homes import Home
from mpnn.plan.ir import Program
from mpnn.plan.plan import make_plan
from tests.core.graphs import random_graph

WIDTH = 8
WAYS = [("cpu", torch.bfloat16), ("cpu", torch.float16)]
if has_triton():  # on a GPU, else in Triton's interpreter
    WAYS.append(("triton", torch.bfloat16))


def device_of(backend: str) -> str:
    return "cuda" if backend == "triton" and torch.cuda.is_available() else "cpu"


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
    with torch.autocast(graph.device.type, dtype or torch.bfloat16, enabled=dtype is not None):
        out = layer(x, graph)
        if back_inside:
            return [out, *torch.autograd.grad(out.float().square().sum(), inputs)]
    return [out, *torch.autograd.grad(out.float().square().sum(), inputs)]


@pytest.mark.parametrize(("backend", "dtype"), WAYS)
@pytest.mark.parametrize("name", LAYERS)
def test_types_are_those_of_pytorch_and_values_as_good(name: str, backend: str, dtype: torch.dtype) -> None:
    # In float16 PNA's deviations, of sums that were rounded, are up to 4 times less exact in 4 of 24 draws.
    torch.manual_seed(1)
    device = device_of(backend)
    layer, graph = LAYERS[name]().to(device), random_graph(seed=3).to(device)
    x = torch.randn(graph.num_nodes, WIDTH).to(device)
    with mpnn.backend("eager"):
        exact = step(layer, x, graph, None, back_inside=False)
        theirs = step(layer, x, graph, dtype, back_inside=False)
    for back_inside in (False, True):
        with mpnn.backend(backend):
            ours = step(layer, x, graph, dtype, back_inside)
        assert [t.dtype for t in ours] == [t.dtype for t in theirs]
        for mine, other, true in zip(ours, theirs, exact, strict=True):
            # Both round, but not in the same places: two roundings more are allowed.
            assert error(mine, true) < 2 * error(other, true) + 2 * torch.finfo(dtype).eps


def error(found: Tensor, true: Tensor) -> float:
    """The relative error of a tensor, by its Euclidean length."""
    found, true = found.detach().float(), true.detach()
    return float((found - true).norm() / true.norm().clamp(min=1e-6))


MESSAGES: dict[str, Callable[..., Any]] = {
    "product of both ends": lambda x_i, x_j: x_i * x_j,
    "linear map of a difference": lambda x_i, x_j, w: torch.relu((x_j - x_i) @ w),
    "linear map of both ends": lambda x_i, x_j, w: torch.cat([x_i, x_j], -1) @ torch.cat([w, w]),
}


@pytest.mark.parametrize("aggr", ["sum", "mean", "max", "softmax", "std", ["mean", "max"]], ids=str)
@pytest.mark.parametrize("name", MESSAGES)
@pytest.mark.parametrize("backend", dict(WAYS))
def test_every_message_runs_as_a_kernel(backend: str, name: str, aggr: str) -> None:
    torch.manual_seed(0)
    device = device_of(backend)
    graph, message = random_graph(seed=4).to(device), MESSAGES[name]
    x, w = torch.randn(graph.num_nodes, WIDTH).to(device), torch.randn(WIDTH, WIDTH).to(device)
    fields: dict[str, Any] = {"x": x} if "w" not in message.__code__.co_varnames else {"x": x, "w": w}

    def run(casting: bool = True) -> Tensor:
        with torch.autocast(device, torch.bfloat16, enabled=casting):
            return mpnn.propagate(graph, message, aggr, **fields)

    with mpnn.backend("eager"):
        exact, theirs = run(casting=False), run()
    with mpnn.backend(backend):
        ours = run()
    assert ours.dtype == theirs.dtype
    # A variance is a difference: eager, which rounds every message, is 2 % off.
    assert error(ours, exact) < 2 * error(theirs, exact) + 2 * torch.finfo(torch.bfloat16).eps
    with mpnn.backend(backend), torch.autocast(device, torch.bfloat16):
        report = str(mpnn.explain(mpnn.propagate, graph, message, aggr, **fields))
    assert f"runs     as a kernel in {'C' if backend == 'cpu' else 'Triton'}" in report


@pytest.mark.parametrize("name", MESSAGES)
def test_a_gpu_gets_the_same_program(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    # Tensors without data: PyTorch casts on any device that they say they are on.
    monkeypatch.setattr(torch.cuda.amp.common, "amp_definitely_not_available", lambda: False)
    monkeypatch.setattr(trace, "_refuse_own_derivatives", lambda *_: None)  # there are none without CUDA
    programs = []
    for device in ("cpu", "cuda"):
        with FakeTensorMode():
            x, w = (torch.empty(n, WIDTH, device=device) for n in (9, WIDTH))
        given = {"x_i": (Home.DST, x), "x_j": (Home.SRC, x), "w": (Home.SHARED, w)}
        given = {k: given[k] for k in inspect.signature(MESSAGES[name]).parameters}
        plan = make_plan(
            MESSAGES[name],
            mpnn.aggregate.aggregators.Sum(),
            list(given),
            list(given.values()),
            {},
            torch.float16,
        )
        assert isinstance(plan.program, Program)
        programs.append(formula(plan.program))
        assert plan.program.dtype == (torch.float16 if "w" in given else torch.float32)
    assert programs[0] == programs[1]


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
