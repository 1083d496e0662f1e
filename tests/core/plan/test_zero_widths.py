"""Dimensions of length 0: no loop runs over them, and nothing is read or written."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

import mpnn
from mpnn import propagate
from mpnn.backends.triton import has_triton
from mpnn.native import products
from tests.compare import assert_same
from tests.core.graphs import random_graph
from tests.core.running import assert_like_eager

NUM_NODES, NUM_EDGES = 9, 30
graph = random_graph(NUM_NODES, NUM_EDGES)
generator = torch.Generator().manual_seed(4)
AGGREGATORS = ["sum", "mean", "max", "min", "mul", "logsumexp", "var", "std", "softmax", ["mean", "max"]]


def nodes(*shape: int) -> Tensor:
    return torch.randn(NUM_NODES, *shape, dtype=torch.float64, generator=generator)


def edges(*shape: int) -> Tensor:
    return torch.randn(NUM_EDGES, *shape, dtype=torch.float64, generator=generator)


def weights(*shape: int) -> Tensor:
    return torch.randn(*shape, dtype=torch.float64, generator=generator)


Fields = Mapping[str, Tensor]
# Each a message and its fields; what is left over of an empty dimension meets a number of every edge.
MESSAGES: dict[str, tuple[Callable[..., Any], Fields]] = {
    "product": (lambda x_j, e: x_j * e, {"x": nodes(0), "e": edges(1)}),
    "tanh": (lambda x_i, x_j, e: ((x_i - x_j) * e).tanh(), {"x": nodes(0), "e": edges(1)}),
    "an empty part": (lambda x_i, x_j, e: torch.cat([x_i, x_j, e], -1), {"x": nodes(3), "e": edges(0)}),
    "only empty parts": (lambda x_j, e: torch.cat([x_j, e], -1), {"x": nodes(0), "e": edges(0)}),
    "no inputs": (lambda x_j, e, w: F.linear(x_j * e, w), {"x": nodes(0), "e": edges(1), "w": weights(3, 0)}),
    "no outputs": (lambda x_i, x_j, w: F.linear(x_i * x_j, w), {"x": nodes(4), "w": weights(0, 4)}),
    "nothing between": (
        lambda x_i, x_j, w, v: F.linear(F.linear((x_i * x_j).tanh(), w).relu(), v),
        {"x": nodes(4), "w": weights(0, 4), "v": weights(3, 0)},
    ),
    "softmax of nothing": (lambda x_i, x_j: (x_i * x_j).softmax(-1), {"x": nodes(0)}),
    "layer norm": (lambda x_i, x_j: F.layer_norm(x_i * x_j, (0,)), {"x": nodes(0)}),
    "einsum": (lambda x_i, x_j: torch.einsum("ehc,ekc->ehk", x_i, x_j), {"x": nodes(2, 0)}),
    "bmm": (lambda x_i, x_j: torch.bmm(x_i, x_j.transpose(1, 2)), {"x": nodes(0, 3)}),
    "a slice": (lambda x_i, x_j, e: (x_i * x_j)[:, 1:1] * e, {"x": nodes(3), "e": edges(1)}),
    "sum": (lambda x_i, x_j, e: (x_i * x_j).sum(-1, keepdim=True) + e, {"x": nodes(0), "e": edges(2)}),
    "2-norm": (lambda x_i, x_j, e: (x_i * x_j).norm(2, -1, keepdim=True) + e, {"x": nodes(0), "e": edges(2)}),
    "1-norm": (lambda x_i, x_j, e: (x_i - x_j).norm(1, -1, keepdim=True) + e, {"x": nodes(0), "e": edges(2)}),
    "logsumexp": (
        lambda x_i, x_j, e: torch.where((x_i * x_j).logsumexp(-1, keepdim=True) < 0, e, -e),
        {"x": nodes(0), "e": edges(2)},
    ),
    "any": (
        lambda x_i, x_j, e: torch.where((x_i > x_j).any(-1, keepdim=True), e, -e),
        {"x": nodes(0), "e": edges(2)},
    ),
}  # fmt: skip
# Their results are no numbers where the dimension is empty.
UNDEFINED: dict[str, Callable[..., Tensor]] = {
    "mean": lambda x_i, x_j, e: (x_i * x_j).mean(-1, keepdim=True) + e,
    "variance": lambda x_i, x_j, e: (x_i * x_j).var(-1, keepdim=True) + e,
    "deviation": lambda x_i, x_j, e: (x_i * x_j).std(-1, keepdim=True, correction=0) + e,
}
SCORED: dict[str, tuple[Callable[..., Any], Fields]] = {
    "no heads": (lambda x_i, x_j: ((x_i * x_j).sum(-1), x_j), {"x": nodes(0, 4)}),
    "no channels": (lambda x_i, x_j: ((x_i * x_j).sum(-1), x_j), {"x": nodes(2, 0)}),
    "nothing to weigh": (lambda s, x_j: (s, x_j), {"s": edges(2), "x": nodes(2, 0)}),
}
BACKENDS = ["cpu", pytest.param("triton", marks=pytest.mark.skipif(not has_triton(), reason="no Triton"))]


def assert_right(backend: str, message: Callable[..., Any], aggr: Any, fields: Fields) -> None:
    device = "cuda" if backend == "triton" and torch.cuda.is_available() else "cpu"
    given = {name: value.to(device) for name, value in fields.items()}
    # Products of messages have no kernel, as elsewhere.
    assert_like_eager(graph.to(device), message, aggr, given, backend=backend, way=None)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("aggr", ["sum", "max"])
@pytest.mark.parametrize("name", MESSAGES)
def test_a_message_with_an_empty_dimension_equals_plain_pytorch(name: str, aggr: str, backend: str) -> None:
    assert_right(backend, MESSAGES[name][0], aggr, MESSAGES[name][1])


@pytest.mark.parametrize("aggr", AGGREGATORS, ids=str)
def test_every_aggregator_takes_messages_of_no_numbers(aggr: Any) -> None:
    message, fields = MESSAGES["product"]
    assert_right("cpu", message, aggr, fields)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("name", SCORED)
def test_attention_without_heads_or_channels_equals_plain_pytorch(name: str, backend: str) -> None:
    assert_right(backend, SCORED[name][0], "softmax", SCORED[name][1])


@pytest.mark.filterwarnings("ignore:.*degrees of freedom.*")
@pytest.mark.parametrize("name", UNDEFINED)
def test_moments_of_nothing_are_those_of_plain_pytorch(name: str) -> None:
    assert_right("cpu", UNDEFINED[name], "sum", {"x": nodes(0), "e": edges(2)})


@pytest.mark.filterwarnings("ignore:.*degrees of freedom.*")
def test_the_variance_of_one_number_is_that_of_plain_pytorch() -> None:
    assert_right("cpu", UNDEFINED["variance"], "sum", {"x": nodes(1), "e": edges(2)})


def test_the_largest_of_nothing_raises_as_in_plain_pytorch() -> None:
    with pytest.raises(IndexError, match="non-zero size"):
        propagate(graph, lambda x_i, x_j: (x_i * x_j).amax(-1, keepdim=True), x=nodes(0))


def test_layers_take_nodes_without_features() -> None:
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Initializing zero-element tensors")
        gine = mpnn.models.GINEConv(torch.nn.Linear(0, 3, dtype=torch.float64))
    for layer, given in ((gine, [nodes(0), edges(0)]), (mpnn.models.APPNP(3, 0.1), [nodes(0)])):

        def eager(*inputs: Tensor, layer: Any = layer) -> Tensor:
            with mpnn.backend("eager"):
                return layer(inputs[0], graph, *inputs[1:])

        assert_same(lambda *inputs, layer=layer: layer(inputs[0], graph, *inputs[1:]), eager, given)


@pytest.mark.parametrize("given", [(nodes(4),), (nodes(4), edges(0))], ids=["no edges' features", "empty"])
def test_crystal_graph_convolution_with_its_default_equals_pyg(given: tuple[Tensor, ...]) -> None:
    from torch_geometric.nn import CGConv

    theirs = CGConv(4, dim=0).double()
    ours = mpnn.accelerate(theirs)
    arguments = [given[0], graph.edge_index, *given[1:]]
    assert_same(ours, theirs, arguments)


@pytest.mark.parametrize("sizes", [(70_000, 0, 64), (70_000, 64, 0), (0, 64, 32)])
def test_products_without_rows_or_columns_equal_plain_pytorch(sizes: tuple[int, int, int]) -> None:
    rows, inputs, outputs = sizes
    given = [torch.randn(rows, inputs), torch.randn(outputs, inputs), torch.randn(outputs)]
    assert_same(products.linear, F.linear, given, 1e-5)
