"""Layers under other default devices, on fake and meta tensors, in traces, and with batches of gradients."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator

import pytest
import torch
from torch import Tensor, nn
from torch._subclasses import FakeTensorMode

import mpnn
from mpnn import Graph, models
from tests.compare import assert_close
from tests.core.graphs import random_graph
from tests.core.running import EAGER, KERNEL, ways

WIDTH, OUT = 4, 3
LAYERS: dict[str, Callable[[], nn.Module]] = {
    "GCN": lambda: models.GCNConv(WIDTH, OUT),
    "SAGE max": lambda: models.SAGEConv(WIDTH, OUT, aggr="max"),
    "GAT": lambda: models.GATConv(WIDTH, OUT, heads=2),
    "EdgeConv": lambda: models.EdgeConv(nn.Sequential(nn.Linear(2 * WIDTH, 5), nn.ReLU(), nn.Linear(5, OUT))),
    "PNA": lambda: models.PNAConv(
        WIDTH, OUT, ["mean", "max", "std"], ["identity", "amplification"], torch.tensor([2, 3, 4, 2, 1])
    ),
    "Transformer": lambda: models.TransformerConv(WIDTH, OUT, heads=2),
}


@pytest.fixture(params=LAYERS)
def layer(request: pytest.FixtureRequest) -> Iterator[nn.Module]:
    yield LAYERS[request.param]().double()


@pytest.fixture
def x() -> Tensor:
    return torch.randn(9, WIDTH, dtype=torch.float64)


def step(layer: nn.Module, x: Tensor, graph: Graph | Tensor) -> list[Tensor]:
    x = x.detach().requires_grad_()
    out = layer(x, graph)
    return [out, *torch.autograd.grad(out.sin().sum(), [x, *layer.parameters()])]


def expected(layer: nn.Module, x: Tensor, graph: Graph | Tensor) -> list[Tensor]:
    with mpnn.backend("eager"):
        return step(layer, x, graph)


def assert_all_close(ours: list[Tensor], theirs: list[Tensor]) -> None:
    for one, other in zip(ours, theirs, strict=True):
        assert_close(one, other)


def both(graph: Graph) -> list[Graph | Tensor]:
    return [graph, graph.edge_index.clone()]


@pytest.mark.parametrize("device", ["meta", "cuda"])
def test_another_default_device_changes_nothing(layer: nn.Module, x: Tensor, device: str) -> None:
    for graph in both(random_graph()):
        theirs = expected(layer, x, random_graph())
        with torch.device(device):
            ours = step(layer, x, graph)
            assert_all_close(step(layer, x, graph), ours)
            assert set(ways(lambda graph=graph: step(layer, x, graph))) == {KERNEL}  # type: ignore[misc]
        assert_all_close(ours, theirs)


def test_a_default_device_set_before_the_import_changes_nothing() -> None:
    code = """
import torch
torch.set_default_device("meta")
import mpnn
ring = torch.tensor([[0, 1, 2], [1, 2, 0]], device="cpu")
x = torch.tensor([[1.0], [5.0], [2.0]], device="cpu", requires_grad=True)
out = mpnn.propagate(ring, lambda x_i, x_j: (x_i - x_j).relu() * x_j, "max", x=x)
out.sum().backward()
assert out.flatten().tolist() == [0.0, 4.0, 0.0] and x.grad.flatten().tolist() == [3.0, 1.0, 0.0]
"""
    command = [sys.executable, "-W", "error::RuntimeWarning", "-c", code]
    done = subprocess.run(command, env={**os.environ}, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_after_fake_tensors_a_layer_computes_as_ever(layer: nn.Module, x: Tensor) -> None:
    for graph in both(random_graph()):
        theirs = expected(layer, x, random_graph())
        mode = FakeTensorMode(allow_non_fake_inputs=True)
        with mode:
            out = layer(mode.from_tensor(x), graph)
            assert isinstance(out, torch._subclasses.FakeTensor) and out.shape == theirs[0].shape
        assert_all_close(step(layer, x, graph), theirs)
        assert set(ways(lambda graph=graph: step(layer, x, graph))) == {KERNEL}  # type: ignore[misc]


def test_fake_edges_give_fake_nodes(layer: nn.Module, x: Tensor) -> None:
    theirs, mode = expected(layer, x, random_graph()), FakeTensorMode(allow_non_fake_inputs=True)
    with mode:
        edge_index = mode.from_tensor(random_graph().edge_index)
        assert layer(mode.from_tensor(x), edge_index).shape == theirs[0].shape


class Traced(nn.Module):
    """A layer with its graph, or for one that is given."""

    def __init__(self, layer: nn.Module, graph: Graph) -> None:
        super().__init__()
        self.layer, self.graph = layer, graph

    def forward(self, x: Tensor, *edge_index: Tensor) -> Tensor:
        out: Tensor = self.layer(x, *(edge_index or (self.graph,)))
        return out


# A trace takes sizes for constants, and says so.
@pytest.mark.filterwarnings("ignore::torch.jit.TracerWarning")
def test_a_trace_by_torch_jit_holds_for_other_features_and_other_edges(layer: nn.Module, x: Tensor) -> None:
    graph, y = random_graph(), torch.randn_like(x)
    other = graph.edge_index.flip(0).contiguous()  # with as many loops, whose number is a size
    for _ in range(2):
        trace = torch.jit.trace(Traced(layer, graph), (x,))
        assert_close(trace(y), expected(layer, y, random_graph())[0])
    for _ in range(2):
        edge_index = graph.edge_index.clone()
        trace = torch.jit.trace(Traced(layer, graph), (x, edge_index))
        assert_close(trace(y, edge_index), expected(layer, y, random_graph())[0])
        assert_close(trace(y, other), expected(layer, y, other)[0])
    assert_all_close(step(layer, x, graph), expected(layer, x, random_graph()))


def test_several_gradients_at_once_are_those_one_by_one(layer: nn.Module, x: Tensor) -> None:
    graph = random_graph()
    at_once = torch.autograd.functional.jacobian(lambda x: layer(x, graph), x, vectorize=True)
    with mpnn.backend("eager"):
        one_by_one = torch.autograd.functional.jacobian(lambda x: layer(x, graph), x)
    assert_close(at_once, one_by_one)
    inputs = [x.requires_grad_(), *layer.parameters()]
    out = layer(x, graph)
    received = torch.randn(3, *out.shape, dtype=out.dtype)
    batched = torch.autograd.grad(out, inputs, received, is_grads_batched=True)
    with mpnn.backend("eager"):
        each = [torch.autograd.grad(layer(x, graph), inputs, one) for one in received]
    for ours, *theirs in zip(batched, *each, strict=True):
        assert_close(ours, torch.stack(theirs))


LARGE: dict[str, Callable[[], nn.Module]] = {
    "GAT": lambda: models.GATConv(WIDTH, OUT, heads=2),
    "EdgeConv": LAYERS["EdgeConv"],
    "R-GCN": lambda: models.RGCNConv(WIDTH, OUT, 3),
}


@pytest.mark.parametrize("name", LARGE)
def test_several_gradients_at_once_where_a_graph_is_taken_in_blocks(name: str) -> None:
    graph = random_graph(17_000, 20_000)
    given = [torch.arange(graph.num_edges) % 3] if name == "R-GCN" else []
    layer, x = LARGE[name]().double(), torch.randn(17_000, WIDTH, dtype=torch.float64, requires_grad=True)
    inputs, out = [x, *layer.parameters()], layer(x, graph, *given)
    received = torch.randn(2, *out.shape, dtype=out.dtype)
    batched = torch.autograd.grad(out, inputs, received, is_grads_batched=True)
    with mpnn.backend("eager"):
        each = [torch.autograd.grad(layer(x, graph, *given), inputs, one) for one in received]
    for ours, *theirs in zip(batched, *each, strict=True):
        assert_close(ours, torch.stack(theirs))


def test_on_the_meta_device_layers_tell_shapes(layer: nn.Module, x: Tensor) -> None:
    theirs = expected(layer, x, random_graph())
    layer, x = layer.to("meta"), x.to("meta")
    graph = Graph(random_graph().edge_index.to("meta"), 9)
    for place in both(graph):
        for ours, other in zip(step(layer, x, place), theirs, strict=True):
            assert ours.is_meta and ours.shape == other.shape
    with torch.autocast("cpu"):
        assert layer(x, graph).shape == theirs[0].shape
    assert set(ways(lambda: layer(x, graph))) == {EAGER}
