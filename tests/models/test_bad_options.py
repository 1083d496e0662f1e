"""Options that a layer cannot be built with, and edge values of another type, are errors of one sentence."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import scipy.sparse
import torch
from torch import nn

from mpnn import Graph, models
from mpnn.models.parts.linear import Projection

X = torch.ones(4, 6)
GRAPH, WEIGHT = Graph.from_scipy(scipy.sparse.coo_array((np.ones(3), ([0, 1, 2], [1, 2, 3])), shape=(4, 4)))
HISTOGRAM = torch.tensor([1, 3])

WIDTHS: dict[str, Callable[..., nn.Module]] = {
    "GCNConv": models.GCNConv,
    "GraphConv": models.GraphConv,
    "SAGEConv": models.SAGEConv,
    "GATConv": models.GATConv,
    "GATv2Conv": models.GATv2Conv,
    "TransformerConv": models.TransformerConv,
    "RGCNConv": lambda i, o: models.RGCNConv(i, o, 3),
    "NNConv": lambda i, o: models.NNConv(i, o, nn.Linear(3, 24)),
    "PNAConv": lambda i, o: models.PNAConv(i, o, ["mean"], ["identity"], HISTOGRAM),
    "ChebConv": lambda i, o: models.ChebConv(i, o, 2),
    "SGConv": models.SGConv,
    "TAGConv": models.TAGConv,
    "MPNNConv": models.MPNNConv,
    "GNNConv": models.GNNConv,
    "Linear": Projection,
}
PAIRED = ("GraphConv", "SAGEConv", "GATConv", "GATv2Conv", "TransformerConv", "RGCNConv", "NNConv")
DROPOUTS: dict[str, Callable[[Any], nn.Module]] = {
    "GATConv": lambda p: models.GATConv(6, 4, dropout=p),
    "GATv2Conv": lambda p: models.GATv2Conv(6, 4, dropout=p),
    "TransformerConv": lambda p: models.TransformerConv(6, 4, dropout=p),
    "APPNP": lambda p: models.APPNP(2, 0.1, dropout=p),
    "GNN": lambda p: models.GNN(6, 8, 4, dropout=p),
    "VirtualNode": lambda p: models.VirtualNode(8, 1, dropout=p),
}
ATTENTION = [models.GATConv, models.GATv2Conv, models.TransformerConv]


@pytest.mark.parametrize("layer", WIDTHS)
@pytest.mark.parametrize("width", ["8", 2.5, None, True])
def test_a_width_is_a_whole_number(layer: str, width: Any) -> None:
    for build in (lambda: WIDTHS[layer](6, width), lambda: WIDTHS[layer](width, 4)):
        with pytest.raises(TypeError) as raised:
            build()
        assert str(raised.value) in {
            f"{side}_channels must be a whole number{more}, got {width!r}."
            for side in ("in", "out")
            for more in ("", ", or a pair of them" * (layer in PAIRED))
        }


@pytest.mark.parametrize("layer", WIDTHS)
def test_a_width_is_not_negative(layer: str) -> None:
    with pytest.raises(ValueError, match=r"^out_channels must be at least [01], got -1\.$"):
        WIDTHS[layer](6, -1)
    with pytest.raises(ValueError, match=r"^in_channels must be at least [01](, or -1 .*)?, got -2\.$"):
        WIDTHS[layer](-2, 4)


@pytest.mark.parametrize("layer", PAIRED)
def test_a_pair_has_two_widths(layer: str) -> None:
    with pytest.raises(TypeError, match=r"^in_channels must be .*, or a pair of them, got \(6,\)\.$"):
        WIDTHS[layer]((6,), 4)
    with pytest.raises(TypeError, match=r"^in_channels must be a whole number, got '8'\.$"):
        WIDTHS[layer]((6, "8"), 4)


@pytest.mark.parametrize("layer", WIDTHS)
def test_a_width_of_numpys_is_a_whole_number(layer: str) -> None:
    WIDTHS[layer](np.int64(6), np.int32(4))


@pytest.mark.parametrize("layer", DROPOUTS)
@pytest.mark.parametrize("probability", [2, -1, -0.1, 1.5, float("nan")])
def test_dropout_is_a_probability(layer: str, probability: float) -> None:
    sentence = f"dropout must be a probability, from 0 to 1, got {probability}."
    with pytest.raises(ValueError) as raised:
        DROPOUTS[layer](probability)
    assert str(raised.value) == sentence


@pytest.mark.parametrize("layer", DROPOUTS)
def test_dropout_is_a_number(layer: str) -> None:
    for value in ("0.5", None, True):
        with pytest.raises(TypeError, match=r"^dropout must be a probability, from 0 to 1, got "):
            DROPOUTS[layer](value)
    for number in (0, 1, 0.5, np.float32(0.5)):
        DROPOUTS[layer](number)


@pytest.mark.parametrize("layer", ATTENTION)
@pytest.mark.parametrize(
    ("heads", "error", "sentence"),
    [
        (0, ValueError, "heads must be at least 1, got 0."),
        (-1, ValueError, "heads must be at least 1, got -1."),
        ("2", TypeError, "heads must be a whole number, got '2'."),
    ],
)
def test_heads_are_counted(layer: Any, heads: Any, error: type[Exception], sentence: str) -> None:
    with pytest.raises(error) as raised:
        layer(6, 4, heads=heads)
    assert str(raised.value) == sentence


@pytest.mark.parametrize(
    ("build", "sentence"),
    [
        (lambda: models.APPNP(2, 5), "alpha must be a probability, from 0 to 1, got 5."),
        (lambda: models.APPNP(-1, 0.1), "K must be at least 0, got -1."),
        (lambda: models.SGConv(6, 4, K=-1), "K must be at least 0, got -1."),
        (lambda: models.TAGConv(6, 4, K=-1), "K must be at least 0, got -1."),
        (lambda: models.ChebConv(6, 4, K=0), "K must be at least 1, got 0."),
        (lambda: models.GatedGraphConv(-1, 2), "out_channels must be at least 1, got -1."),
        (lambda: models.GatedGraphConv(6, -2), "num_layers must be at least 0, got -2."),
        (lambda: models.RGCNConv(6, 4, 0), "num_relations must be at least 1, got 0."),
        (
            lambda: models.PNAConv(6, 4, ["mean"], ["identity"], HISTOGRAM, towers=0),
            "towers must be at least 1, got 0.",
        ),
    ],
)
def test_counts_have_a_least(build: Callable[[], nn.Module], sentence: str) -> None:
    with pytest.raises(ValueError) as raised:
        build()
    assert str(raised.value) == sentence


# Edge values of another type ----------------------------------------------------------------------------

WEIGHTED = {
    "GCNConv": models.GCNConv(6, 4),
    "GCNConv, not normalized": models.GCNConv(6, 4, normalize=False),
    "GraphConv": models.GraphConv(6, 4),
    "APPNP": models.APPNP(2, 0.1),
    "ChebConv": models.ChebConv(6, 4, 2),
    "SGConv": models.SGConv(6, 4),
    "TAGConv": models.TAGConv(6, 4),
    "GatedGraphConv": models.GatedGraphConv(6, 2),
}
ATTRIBUTED = {
    "GATConv": models.GATConv(6, 4, edge_dim=3),
    "GATv2Conv": models.GATv2Conv(6, 4, edge_dim=3),
    "TransformerConv": models.TransformerConv(6, 4, edge_dim=3),
    "GINEConv": models.GINEConv(nn.Linear(6, 4), edge_dim=3),
    "NNConv": models.NNConv(6, 4, nn.Linear(3, 24)),
    "PNAConv": models.PNAConv(6, 4, ["mean"], ["identity"], HISTOGRAM, edge_dim=3),
    "MPNNConv": models.MPNNConv(6, 4, edge_dim=3),
}


@pytest.mark.parametrize("name", WEIGHTED)
def test_edge_weights_are_of_the_type_of_x(name: str) -> None:
    layer = WEIGHTED[name]
    with pytest.raises(TypeError) as raised:
        layer(X, GRAPH, WEIGHT)
    assert str(raised.value) == (
        f"{type(layer).__name__} got edge_weight of torch.float64 beside x of torch.float32: convert one of "
        "them."
    )
    layer(X, GRAPH, WEIGHT.float())


@pytest.mark.parametrize("name", ATTRIBUTED)
def test_edge_features_are_of_the_type_of_x(name: str) -> None:
    layer, attributes = ATTRIBUTED[name], torch.ones(3, 3)
    with pytest.raises(TypeError) as raised:
        layer(X, GRAPH, attributes.double())
    assert str(raised.value) == (
        f"{type(layer).__name__} got edge_attr of torch.float64 beside x of torch.float32: convert one of "
        "them."
    )
    layer(X, GRAPH, attributes)


@pytest.mark.parametrize("name", [*WEIGHTED, *ATTRIBUTED])
def test_under_autocast_they_may_be_of_another(name: str) -> None:
    layer, values = (WEIGHTED | ATTRIBUTED)[name], WEIGHT if name in WEIGHTED else torch.ones(3, 3)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        layer(X, GRAPH, values.bfloat16())
