"""Convolutions equal torch.nn's, by their kernels and edge by edge; on other graphs they equal an R-GCN."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

import mpnn
from mpnn import models, topology
from mpnn.plan.typed import grouped_linear, typed_linear
from tests.compare import assert_close, assert_same
from tests.present import present

BACKENDS = ["dense", "eager"]


class On(nn.Module):
    """A module on a backend, with some arguments fixed."""

    def __init__(self, module: nn.Module, backend: str = "auto", **options: Any) -> None:
        super().__init__()
        self.module, self.backend, self.options = module, backend, options

    def forward(self, *inputs: Tensor) -> Any:
        with mpnn.backend(self.backend):
            return self.module(*inputs, **self.options)


def pair(name: str, *args: Any, **options: Any) -> tuple[Any, Any]:
    ours = getattr(models, name)(*args, **options, dtype=torch.float64)
    theirs = getattr(nn, name)(*args, **options, dtype=torch.float64)
    ours.load_state_dict(theirs.state_dict())
    return ours, theirs


FORWARD: list[tuple[str, int, dict[str, Any]]] = [
    (name, dimensions, options)
    for dimensions, name in ((1, "Conv1d"), (2, "Conv2d"), (3, "Conv3d"))
    for options in (
        {"kernel_size": 1},
        {"kernel_size": 3, "bias": False},
        {"kernel_size": 2, "stride": 2, "padding": 1},
        {"kernel_size": 3, "padding": "same", "dilation": 2, "groups": 2},
        {"kernel_size": 2, "padding": "same"},
        {"kernel_size": 3, "padding": "valid", "groups": 4},
        {"kernel_size": 3, "padding": 2, "padding_mode": "circular"},
        {"kernel_size": 2, "padding": "same", "padding_mode": "circular", "groups": 2},
        {"kernel_size": 3, "padding": 1, "padding_mode": "reflect", "stride": 2},
        {"kernel_size": 3, "padding": 2, "padding_mode": "replicate", "dilation": 2},
    )
]
FORWARD += [
    ("Conv2d", 2, {"kernel_size": (3, 1), "stride": (1, 2), "padding": (0, 1), "dilation": (2, 1)}),
    ("Conv3d", 3, {"kernel_size": (1, 2, 3), "stride": (2, 1, 1), "padding": (0, 1, 1)}),
]
TRANSPOSED: list[tuple[str, int, dict[str, Any]]] = [
    (name, dimensions, options)
    for dimensions, name in ((1, "ConvTranspose1d"), (2, "ConvTranspose2d"), (3, "ConvTranspose3d"))
    for options in (
        {"kernel_size": 3, "bias": False},
        {"kernel_size": 3, "stride": 2, "padding": 1, "output_padding": 1},
        {"kernel_size": 2, "stride": 3, "groups": 2},
        {"kernel_size": 3, "stride": 1, "dilation": 3, "padding": 2, "output_padding": 2, "groups": 4},
        {"kernel_size": 1, "stride": 2},
    )
]


@pytest.mark.filterwarnings("ignore:Using padding='same' with even kernel lengths")
@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize(("name", "dimensions", "options"), FORWARD + TRANSPOSED, ids=str)
def test_every_option_equals_torch(name: str, dimensions: int, options: dict[str, Any], backend: str) -> None:
    ours, theirs = pair(name, 4, 8, **options)
    shape = (6, 5, 4)[:dimensions]
    for lead in ((2, 4), (4,)):
        assert_same(On(ours, backend), On(theirs), [torch.randn(*lead, *shape, dtype=torch.float64)])


@pytest.mark.parametrize("backend", BACKENDS)
def test_an_output_size_equals_torch(backend: str) -> None:
    ours, theirs = pair("ConvTranspose2d", 2, 3, 3, stride=3)
    x = [torch.randn(2, 2, 4, 4, dtype=torch.float64)]
    for size in ([12, 13], [14, 14], [2, 3, 13, 12]):
        assert_same(On(ours, backend, output_size=size), On(theirs, output_size=size), x)


@pytest.mark.parametrize("backend", BACKENDS)
def test_nodes_of_a_grid_are_pixels(backend: str) -> None:
    ours, theirs = pair("Conv2d", 2, 3, (2, 3), stride=2, padding=1)
    x = torch.randn(4, 2, 5, 6, dtype=torch.float64)
    grid = topology.grid((5, 6), (2, 3), stride=2, padding=1, batch=4)
    rows = x.movedim(1, -1).reshape(-1, 2)
    with mpnn.backend(backend):
        assert_close(ours(rows, graph=grid), theirs(x).movedim(1, -1).reshape(-1, 3))


def test_its_own_message_is_lowered_forwards_and_backwards() -> None:
    for graph, groups in ((topology.grid((5, 5), 3), 1), (topology.grid((5, 5), 3, stride=2).reverse(), 2)):
        name = "ConvTranspose2d" if graph.is_reversed else "Conv2d"
        layer = getattr(models, name)(4, 4, 3, groups=groups)
        with mpnn.backend("dense"):
            assert layer(torch.randn(graph.num_src, 4), graph=graph).shape == (graph.num_dst, 4)


def test_pixels_of_a_hole_neither_send_nor_receive() -> None:
    """Submanifold convolution: only the pixels that exist send and receive."""
    ours, theirs = pair("Conv2d", 2, 3, 3, padding=1)
    x = torch.randn(36, 2, dtype=torch.float64)
    there = torch.rand(36) < 0.7
    square = topology.grid((6, 6), 3, padding=1)
    nodes = there.nonzero().squeeze(1)
    position = torch.full((36,), -1)
    position[nodes] = torch.arange(len(nodes))
    kept = there[square.src] & there[square.dst]
    edges = position[square.edge_index[:, kept]]
    holed = mpnn.Graph(edges, (len(nodes), len(nodes)), present(square.edge_type)[kept], num_edge_types=9)
    image = (x * there[:, None]).T.reshape(1, 2, 6, 6)
    wanted = theirs(image).flatten(2)[0].T[nodes]
    assert_close(ours(x[nodes], graph=holed), wanted)


def test_on_any_graph_it_is_a_relational_convolution() -> None:
    from torch_geometric.nn import RGCNConv

    edge_index, edge_type = torch.randint(8, (2, 30)), torch.randint(4, (30,))
    theirs = RGCNConv(3, 5, 4, aggr="add", root_weight=False).double()
    ours = models.Conv2d(3, 5, (2, 2), dtype=torch.float64)
    with torch.no_grad():
        ours.weight.copy_(theirs.weight.permute(2, 1, 0).reshape(5, 3, 2, 2))
        present(ours.bias).copy_(theirs.bias)
    x = torch.randn(8, 3, dtype=torch.float64)
    assert_close(ours(x, graph=mpnn.Graph(edge_index, 8, edge_type)), theirs(x, edge_index, edge_type))


def test_a_subclass_with_another_message_runs_its_message() -> None:
    class Squared(models.Conv1d):
        def message(self, x_j: Tensor, edge_type: Tensor) -> Tensor:
            return typed_linear(x_j * x_j, self.matrices(), edge_type)

    squared, theirs = Squared(2, 3, 3, dtype=torch.float64), nn.Conv1d(2, 3, 3, dtype=torch.float64)
    squared.load_state_dict(theirs.state_dict())
    x = torch.randn(4, 2, 7, dtype=torch.float64)
    assert_close(squared(x), theirs(x * x))


def test_typed_products_are_products_with_the_matrix_of_the_type() -> None:
    x, weight = torch.randn(20, 2, 3, dtype=torch.float64), torch.randn(5, 2, 3, 4, dtype=torch.float64)
    types = torch.randint(4, (20,))
    assert_same(typed_linear, lambda x, w, t: torch.einsum("egi,egio->ego", x, w[t]), [x, weight, types])
    assert_same(
        typed_linear, lambda x, w, t: torch.einsum("ei,eio->eo", x, w[t]), [x[:, 0], weight[:, 0], types]
    )
    types[3] = 4  # a write is noticed
    assert_same(typed_linear, lambda x, w, t: torch.einsum("egi,egio->ego", x, w[t]), [x, weight, types])
    with pytest.raises(IndexError, match="edge_type goes up to 4, but there are 3 matrices"):
        typed_linear(x, weight[:3], types)


@pytest.mark.skipif(not hasattr(F, "grouped_mm"), reason="this PyTorch has no grouped product")
def test_one_grouped_product_equals_a_product_for_each_type(monkeypatch: pytest.MonkeyPatch) -> None:
    x, weight = torch.randn(20, 8), torch.randn(5, 8, 16)
    types = torch.randint(4, (20,))
    monkeypatch.setattr("mpnn.plan.typed._suits_one_kernel", lambda x, weight: True)
    assert_same(typed_linear, lambda x, w, t: torch.einsum("ei,eio->eo", x, w[t]), [x, weight, types], 1e-5)
    x.requires_grad_()
    (gradient,) = torch.autograd.grad(grouped_linear(x, weight, [4, 0, 9, 7, 0]).sum(), x)
    assert_close(
        gradient, weight[torch.tensor([0, 2, 3])].sum(-1).repeat_interleave(torch.tensor([4, 9, 7]), 0), 1e-5
    )


def test_what_does_not_fit_is_refused() -> None:
    conv = models.Conv2d(2, 3, 3)
    with pytest.raises(ValueError, match="needs a Graph whose edges have types"):
        conv(torch.zeros(4, 2), graph=topology.complete(4))
    with pytest.raises(ValueError, match=r"16 edge types, but the kernel \[3, 3\] has 9 places"):
        conv(torch.zeros(25, 2), graph=topology.grid((5, 5), 4))
    with pytest.raises(ValueError, match=r"needs nodes \[num_nodes, 2\], got shape \[25, 3\]"):
        conv(torch.zeros(25, 3), graph=topology.grid((5, 5), 3))
    wide = models.ConvTranspose1d(2, 3, 3, output_padding=1)
    with mpnn.backend("eager"), pytest.raises(ValueError, match="output_padding is 1, but must be below"):
        wide(torch.zeros(2, 5))
    with mpnn.backend("eager"), pytest.raises(ValueError, match=r"needs \[batch, 2, \*, \*\]"):
        conv(torch.zeros(3, 5, 5))
