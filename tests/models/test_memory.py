"""How much memory a training step of each layer takes above its inputs, in tensors of nodes and channels."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.profiler import ProfilerActivity, profile

import mpnn
import mpnn.models

NODES, EDGES, WIDTH = 20_000, 100_000, 64


def peak(step: Callable[[], None]) -> float:
    """The most bytes that PyTorch's tensors held at once during a step, above those before."""
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as record:
        step()
    events = [e for e in record.profiler.kineto_results.events() if e.name() == "[memory]"]
    held = most = 0
    for event in sorted(events, key=lambda e: e.start_ns()):
        held += event.nbytes()
        most = max(most, held)
    return most


def network() -> nn.Module:
    return nn.Sequential(nn.Linear(2 * WIDTH, WIDTH), nn.ReLU(), nn.Linear(WIDTH, WIDTH))


# The output and the gradient of the features are two of them, and there must be room for a few small ones.
BOUNDS: dict[str, tuple[Callable[[], nn.Module], float]] = {
    "GCNConv": (lambda: mpnn.models.GCNConv(WIDTH, WIDTH), 4.3),
    "GATConv": (lambda: mpnn.models.GATConv(WIDTH, 8, heads=8), 4.5),
    "GATv2Conv": (lambda: mpnn.models.GATv2Conv(WIDTH, 8, heads=8), 5.5),
    "TransformerConv": (lambda: mpnn.models.TransformerConv(WIDTH, 8, heads=8), 7.5),
    "EdgeConv": (lambda: mpnn.models.EdgeConv(network()), 6.5),
}


@pytest.mark.parametrize("name", BOUNDS)
def test_a_step_holds_few_tensors_of_nodes_and_channels(name: str) -> None:
    torch.manual_seed(0)
    make, bound = BOUNDS[name]
    layer = make()
    graph = mpnn.Graph(torch.randint(NODES, (2, EDGES)), NODES)
    x, gradient = torch.randn(NODES, WIDTH, requires_grad=True), torch.randn(NODES, WIDTH)

    def step() -> None:
        x.grad = None
        layer(x, graph).backward(gradient)

    step()  # compile, sort, make the gradients of the parameters
    assert peak(step) < bound * x.numel() * x.element_size()


@pytest.mark.parametrize("aggr", ["sum", "mean", "max", "softmax"])
def test_a_graph_that_is_retained_goes_back_twice(aggr: str) -> None:
    torch.manual_seed(0)
    graph = mpnn.Graph(torch.randint(50, (2, 300)), 50)
    x = torch.randn(50, 4, requires_grad=True)

    def gradient(of: Tensor, retain: bool) -> Tensor:
        return torch.autograd.grad(of, x, torch.ones_like(of), retain_graph=retain)[0]

    for _ in range(2):  # from the second time on the kernels are known
        out = mpnn.propagate(graph, lambda x_i, x_j: x_j * x_i.tanh(), aggr, x=x)
        with mpnn.backend("eager"):
            expected = gradient(mpnn.propagate(graph, lambda x_i, x_j: x_j * x_i.tanh(), aggr, x=x), False)
        first, second = gradient(out, True), gradient(out, False)
        torch.testing.assert_close(first, expected)
        assert torch.equal(first, second)
        with pytest.raises(RuntimeError, match="second time"):
            gradient(out, False)


def test_a_product_that_is_summed_in_parts_is_the_product_summed() -> None:
    # More nodes than are taken at once; the gradient of the scores sums the products of a whole row.
    torch.manual_seed(0)
    graph = mpnn.Graph(torch.randint(9000, (2, 20_000)), 9000)
    x = torch.randn(9000, 2, 3, dtype=torch.float64, requires_grad=True)

    def gradient() -> Tensor:
        out = mpnn.propagate(graph, lambda x_i, x_j: ((x_i * x_j).sum(-1), x_j), "softmax", x=x)
        return torch.autograd.grad(out.square().sum(), x)[0]

    with mpnn.backend("eager"):
        expected = gradient()
    torch.testing.assert_close(gradient(), expected, atol=1e-10, rtol=0)
