"""How much memory a training step of each layer takes above its inputs, in tensors of nodes and channels."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch_geometric.nn
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


def pna() -> nn.Module:
    scalers = ["identity", "amplification", "attenuation"]
    deg = torch.tensor([0, 9, 9, 9, 9, 9])
    return mpnn.models.PNAConv(WIDTH, WIDTH, ["mean", "min", "max", "std"], scalers, deg)


class Typed(nn.Module):
    """An RGCN with the types of the edges."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = mpnn.models.RGCNConv(WIDTH, WIDTH, num_relations=8)
        self.edge_type = torch.randint(8, (EDGES,))

    def forward(self, x: Tensor, graph: mpnn.Graph) -> Tensor:
        out: Tensor = self.conv(x, graph, self.edge_type)
        return out


# The output and the gradient of the features are two of them, and there must be room for a few small ones.
BOUNDS: dict[str, tuple[Callable[[], nn.Module], float]] = {
    "GCNConv": (lambda: mpnn.models.GCNConv(WIDTH, WIDTH), 3.3),
    "SAGEConv": (lambda: mpnn.models.SAGEConv(WIDTH, WIDTH), 3.3),
    "SAGEConv of maxima": (lambda: mpnn.models.SAGEConv(WIDTH, WIDTH, aggr="max"), 4.3),
    "GATConv": (lambda: mpnn.models.GATConv(WIDTH, 8, heads=8), 4.3),
    "GATv2Conv": (lambda: mpnn.models.GATv2Conv(WIDTH, 8, heads=8), 4.9),
    "TransformerConv": (lambda: mpnn.models.TransformerConv(WIDTH, 8, heads=8), 5.9),
    "EdgeConv": (lambda: mpnn.models.EdgeConv(network()), 5.3),
    "PNAConv": (pna, 21.0),
    "RGCNConv": (Typed, 4.0),
}


@pytest.mark.parametrize("name", BOUNDS)
def test_a_step_holds_few_tensors_of_nodes_and_channels(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        "mpnn.native.row_blocks.ROWS_AT_ONCE", 1000
    )  # as small beside the graph as for a large one
    monkeypatch.setattr("mpnn.native.products.BLOCK", 1 << 18)
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


RGCNS: list[dict[str, Any]] = [
    {},
    {"aggr": "sum", "num_bases": 3},
    {"aggr": "max"},
    {"flow": "target_to_source"},
    {"root_weight": False, "bias": False},
]


@pytest.mark.parametrize("options", RGCNS, ids=str)
@pytest.mark.parametrize("out_channels", [6, 4])
def test_rgcn_on_a_large_graph_is_as_on_a_small_one(
    options: dict[str, Any], out_channels: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    torch.manual_seed(0)
    layer = mpnn.models.RGCNConv(6, out_channels, num_relations=5, **options).double()
    graph = mpnn.Graph(torch.randint(90, (2, 300)), 90)
    edge_type = torch.randint(4, (300,))  # one relation has no edges
    x = torch.randn(90, 6, dtype=torch.float64, requires_grad=True)
    inputs = [x, *layer.parameters()]

    def derivatives() -> list[Tensor]:
        out = layer(x, graph, edge_type)
        first = torch.autograd.grad(out.square().sum(), inputs, retain_graph=True)
        (slope,) = torch.autograd.grad(out.square().sum(), x, create_graph=True)
        return [out, *first, *torch.autograd.grad(slope.square().sum(), inputs, materialize_grads=True)]

    small = derivatives()
    monkeypatch.setattr("mpnn.layer.typed.MANY", 1)
    monkeypatch.setattr("mpnn.layer.typed.PAIRS_AT_ONCE", 30)
    monkeypatch.setattr("mpnn.layer.typed.SENDERS_AT_ONCE", 40)
    for ours, theirs in zip(derivatives(), small, strict=True):
        torch.testing.assert_close(ours, theirs, atol=1e-10, rtol=1e-10)


# Senders, receivers, edges, types: many parts; fewer receivers than parts; few edges; none.
BIPARTITE = [(70, 90, 400, 5), (20, 2, 60, 9), (40, 40, 3, 2), (5, 4, 0, 2)]


@pytest.mark.parametrize("sizes", BIPARTITE, ids=str)
@pytest.mark.parametrize("kind", ["RGCNConv", "FastRGCNConv"])
def test_rgcn_in_parts_is_that_of_pyg(
    sizes: tuple[int, int, int, int], kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mpnn.layer.typed.MANY", 1)
    torch.manual_seed(0)
    num_src, num_dst, num_edges, num_types = sizes
    edge_index = torch.stack([torch.randint(num_src, (num_edges,)), torch.randint(num_dst, (num_edges,))])
    edge_type = torch.randint(num_types, (num_edges,))
    ours = mpnn.models.RGCNConv((6, 4), 5, num_types).double()
    theirs = getattr(torch_geometric.nn, kind)((6, 4), 5, num_types).double()
    theirs.load_state_dict(ours.state_dict())
    pair = (
        torch.randn(num_src, 6, dtype=torch.float64, requires_grad=True),
        torch.randn(num_dst, 4, dtype=torch.float64, requires_grad=True),
    )
    gradient = torch.randn(num_dst, 5, dtype=torch.float64)
    found = []
    for layer in (ours, theirs):
        out = layer(pair, edge_index, edge_type)
        inputs = [*pair, *(parameter for _, parameter in sorted(layer.named_parameters()))]
        found.append([out, *torch.autograd.grad(out, inputs, gradient, materialize_grads=True)])
    for one, other in zip(*found, strict=True):
        torch.testing.assert_close(one, other, atol=1e-10, rtol=1e-10)


def test_rgcn_with_a_message_of_its_own_listens_for_all_nodes(monkeypatch: pytest.MonkeyPatch) -> None:
    class Squared(mpnn.models.RGCNConv):
        def message(self, x_j: Tensor) -> Tensor:
            return x_j * x_j

    monkeypatch.setattr("mpnn.layer.typed.MANY", 1)
    torch.manual_seed(0)
    graph = mpnn.Graph(torch.randint(9, (2, 60)), 9, torch.randint(3, (60,)))
    ours, plain = Squared(4, 4, 3).double(), mpnn.models.RGCNConv(4, 4, 3, root_weight=False).double()
    plain.load_state_dict(ours.state_dict(), strict=False)
    x = torch.randn(9, 4, dtype=torch.float64, requires_grad=True)
    assert ours.root is not None
    expected = plain(x * x, graph) + x @ ours.root
    for one, other in zip(
        (ours(x, graph), *torch.autograd.grad(ours(x, graph).sum(), x)),
        (expected, *torch.autograd.grad(expected.sum(), x)),
        strict=True,
    ):
        torch.testing.assert_close(one, other, atol=1e-10, rtol=1e-10)


def test_rgcn_in_parts_has_the_same_bits_on_any_number_of_threads() -> None:
    torch.manual_seed(0)
    graph = mpnn.Graph(torch.randint(NODES, (2, EDGES)), NODES)
    layer, x, threads = Typed(), torch.randn(NODES, WIDTH, requires_grad=True), torch.get_num_threads()
    found = []
    try:
        for count in (1, 2):
            torch.set_num_threads(count)
            out = layer(x, graph)
            found.append([out, *torch.autograd.grad(out.square().sum(), [x, *layer.parameters()])])
    finally:
        torch.set_num_threads(threads)
    assert all(torch.equal(one, other) for one, other in zip(*found, strict=True))


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


@pytest.mark.parametrize("options", [{"train_norm": True}, {"towers": 2, "post_layers": 2}], ids=str)
def test_pna_on_more_nodes_than_it_takes_at_once_is_as_on_few(
    options: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    torch.manual_seed(0)
    layer = mpnn.models.PNAConv(6, 4, ["mean", "max", "std"], ["linear"], torch.tensor([1, 3, 5]), **options)
    layer.double()
    graph = mpnn.Graph(torch.randint(90, (2, 300)), 90)
    x = torch.randn(90, 6, dtype=torch.float64, requires_grad=True)
    inputs = [x, *layer.parameters()]

    def derivatives() -> list[Tensor | None]:
        out = layer(x, graph)
        first = torch.autograd.grad(out.square().sum(), inputs, retain_graph=True, allow_unused=True)
        (slope,) = torch.autograd.grad(out.square().sum(), x, create_graph=True)
        second = torch.autograd.grad(slope.square().sum(), inputs, allow_unused=True)
        return [out, *first, *second]

    few = derivatives()
    monkeypatch.setattr("mpnn.backends.run.by_rows.ROWS_AT_ONCE", 40)
    for ours, theirs in zip(derivatives(), few, strict=True):
        assert (ours is None) == (theirs is None)
        if ours is not None:
            torch.testing.assert_close(ours, theirs, atol=1e-10, rtol=1e-10)


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
