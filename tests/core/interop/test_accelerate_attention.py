"""Layers that weigh their messages with a softmax over edges: accelerated, in one pass over them."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
import torch_geometric.nn as theirs
from torch import Tensor, nn
from torch_geometric.nn import MessagePassing as PyGMessagePassing
from torch_geometric.nn.models.attentive_fp import GATEConv
from torch_geometric.utils import softmax

import mpnn
from mpnn.backends.run.plans import trace_count
from tests.compare import assert_same
from tests.core.graphs import random_graph
from tests.core.layer.test_ported_layers import (
    EDGE,
    IN,
    NUM_EDGES,
    OUT,
    edge_index,
    node_type,
    pos,
    randn,
    x,
)
from tests.core.running import EAGER, KERNEL, ways

attributes = randn(NUM_EDGES, EDGE)
kinds = torch.arange(NUM_EDGES) % 3
LAYERS: dict[str, tuple[Any, tuple[Any, ...]]] = {
    "AGNNConv": (lambda: theirs.AGNNConv(), (x, edge_index)),
    "GATConv": (lambda: theirs.GATConv(IN, OUT, heads=2), (x, edge_index)),
    "GATConv, edge features": (
        lambda: theirs.GATConv(IN, OUT, heads=2, edge_dim=EDGE),
        (x, edge_index, attributes),
    ),
    "GATConv, dropout": (lambda: theirs.GATConv(IN, OUT, heads=2, dropout=0.5).eval(), (x, edge_index)),
    "GATv2Conv": (lambda: theirs.GATv2Conv(IN, OUT, heads=2, concat=False), (x, edge_index)),
    "GATEConv": (lambda: GATEConv(IN, IN, EDGE), (x, edge_index, attributes)),
    "GeneralConv": (lambda: theirs.GeneralConv(IN, OUT, heads=2, attention=True), (x, edge_index)),
    "HEATConv": (
        lambda: theirs.HEATConv(IN, OUT, 2, 3, 4, EDGE, 5, heads=2),
        (x, edge_index, node_type, kinds, attributes),
    ),
    "PointTransformerConv": (lambda: theirs.PointTransformerConv(IN, OUT), (x, pos, edge_index)),
    "SuperGATConv": (lambda: theirs.SuperGATConv(IN, OUT, heads=2).eval(), (x, edge_index)),
    "TransformerConv": (lambda: theirs.TransformerConv(IN, OUT, heads=2, beta=True), (x, edge_index)),
    "TransformerConv, edge features": (
        lambda: theirs.TransformerConv(IN, OUT, heads=2, edge_dim=EDGE),
        (x, edge_index, attributes),
    ),
}


def pair(build: Callable[[], Any]) -> tuple[Any, Any]:
    """A layer, and the same accelerated."""
    torch.manual_seed(1)
    plain = build().double()
    return plain, mpnn.accelerate(copy.deepcopy(plain))


@pytest.mark.parametrize("name", LAYERS)
def test_attention_runs_as_one_kernel_with_the_same_results(name: str) -> None:
    build, inputs = LAYERS[name]
    plain, ours = pair(build)
    given = [v.requires_grad_() if v.is_floating_point() else v for v in copy.deepcopy(inputs)]
    assert ways(lambda: ours(*given).sum().backward()) == [KERNEL]
    assert_same(ours, plain, inputs)


@pytest.mark.parametrize(
    "name", ["GATConv", "GATv2Conv", "TransformerConv", "TransformerConv, edge features"]
)
def test_attention_weights_are_returned_as_ever(name: str) -> None:
    build, inputs = LAYERS[name]
    plain, ours = pair(build)

    def with_weights(layer: nn.Module) -> Any:
        return lambda *given: layer(*given, return_attention_weights=True)

    out, (edges, weights) = with_weights(ours)(*inputs)
    assert type(out) is type(edges) is type(weights) is Tensor
    assert_same(with_weights(ours), with_weights(plain), inputs)
    assert_same(ours, plain, inputs)


def test_dropout_of_attention_keeps_or_drops_a_whole_weight() -> None:
    ours = mpnn.accelerate(theirs.GATConv(IN, OUT, heads=3, dropout=0.25, add_self_loops=False, bias=False))
    edges = torch.stack([torch.arange(2000) % 7, torch.arange(2000)])  # every weight is 1
    features = torch.randn(2000, IN)
    assert ways(lambda: ours(features, edges)) == [KERNEL]
    torch.manual_seed(5)
    out = ours(features, edges).view(2000, 3, OUT)
    whole = ours.eval()(features, edges).view(2000, 3, OUT)
    kept = out.abs().sum(-1) > 0
    torch.testing.assert_close(out, whole / 0.75 * kept[..., None])
    assert abs(kept.double().mean() - 0.75) < 4 * (0.75 * 0.25 / 6000) ** 0.5


def test_a_message_is_traced_once_for_graphs_of_all_sizes() -> None:
    _, ours = pair(lambda: theirs.TransformerConv(IN, OUT))
    ours(x, edge_index)
    before = trace_count()
    for num_nodes in (5, 6, 40):
        graph = random_graph(num_nodes, 3 * num_nodes)
        ours(randn(num_nodes, IN), graph.edge_index)
    assert trace_count() == before


@pytest.mark.parametrize("num_nodes", [0, 3])
def test_attention_without_edges_equals_pygs(num_nodes: int) -> None:
    nothing = torch.empty(2, 0, dtype=torch.long)
    for build in (
        lambda: theirs.GATConv(IN, OUT, add_self_loops=False),
        lambda: theirs.TransformerConv(IN, OUT),
    ):
        plain, ours = pair(build)
        assert_same(ours, plain, (randn(num_nodes, IN), nothing))


class Attention(PyGMessagePassing):
    """A layer that a user wrote."""

    def __init__(self, use: str = "", **options: Any) -> None:
        super().__init__(node_dim=0, **options)
        self.use = use
        self.seen: Tensor | None = None
        self.score = nn.Linear(IN, 1)

    def forward(self, x: Tensor, edge_index: Tensor) -> Any:
        weight = self.edge_updater(edge_index, x=x)
        if self.use == "change":
            weight = weight * weight.size(0)
        out = self.propagate(edge_index, x=x, weight=weight)
        return (out, {"weight": [weight]}) if self.use == "return" else out

    def edge_update(self, x_i: Tensor, x_j: Tensor, index: Tensor, size_i: int) -> Tensor:
        return softmax(self.score(x_i * x_j), index, num_nodes=size_i)

    def message(self, x_j: Tensor, weight: Tensor) -> Tensor:
        if self.use == "square":
            weight = weight * weight
        if self.use == "write":
            self.seen = weight
        return weight * x_j


@pytest.mark.parametrize("use", ["", "change", "return", "square", "write"])
def test_whatever_a_layer_does_with_its_weights(use: str) -> None:
    plain, ours = pair(lambda: Attention(use))
    assert ways(lambda: ours(x, edge_index)) == [EAGER if use == "square" else KERNEL]
    assert_same(ours, plain, (x, edge_index))
    if use == "return":
        assert type(ours(x, edge_index)[1]["weight"][0]) is Tensor


def test_what_a_message_writes_is_there_afterwards() -> None:
    def seen(layer: nn.Module) -> Any:
        return lambda *inputs: (layer(*inputs), layer.seen)

    plain, ours = pair(lambda: Attention("write"))
    ours(x, edge_index)
    assert type(ours.seen) is Tensor
    assert_same(seen(ours), seen(plain), (x, edge_index))


@pytest.mark.parametrize("aggr", ["mean", "max", ["sum", "mean"]])
def test_other_aggregators_of_weighted_messages(aggr: Any) -> None:
    plain, ours = pair(lambda: Attention(aggr=aggr))
    assert ways(lambda: ours(x, edge_index)) == [EAGER if aggr == "max" else KERNEL]
    assert_same(ours, plain, (x, edge_index))


class OverSources(Attention):
    """A softmax over the edges that leave a node, which the edges that enter one do not hold."""

    def edge_update(self, x_i: Tensor, x_j: Tensor, edge_index_j: Tensor, size_j: int) -> Tensor:
        return softmax(self.score(x_i * x_j), edge_index_j, num_nodes=size_j)


def test_a_softmax_over_other_rows_is_left_to_plain_pytorch() -> None:
    plain, ours = pair(OverSources)
    assert ways(lambda: ours(x, edge_index)) == [EAGER]
    assert_same(ours, plain, (x, edge_index))


def test_hooks_on_edges_are_obeyed() -> None:
    plain, ours = pair(lambda: theirs.GATConv(IN, OUT))
    for layer in (plain, ours):
        layer.register_edge_update_forward_hook(lambda _, inputs, out: 2 * out)
    assert ways(lambda: ours(x, edge_index)) == []
    assert_same(ours, plain, (x, edge_index))


@pytest.mark.parametrize("copied", [copy.deepcopy, lambda m: pickle.loads(pickle.dumps(m))])
def test_copies_attend_with_their_own_weights(copied: Any) -> None:
    _, ours = pair(lambda: theirs.GATv2Conv(IN, OUT, heads=2))
    ours(x, edge_index)
    second = copied(ours)
    with torch.no_grad():
        second.att.mul_(3)
    plain = theirs.GATv2Conv(IN, OUT, heads=2).double()
    plain.load_state_dict(second.state_dict())
    assert_same(second, plain, (x, edge_index))
    assert (ours(x, edge_index) - second(x, edge_index)).abs().max() > 1e-3


def test_a_message_with_a_softmax_of_pyg_on_our_base_class() -> None:
    class Ours(mpnn.MessagePassing):
        def message(self, x_i: Tensor, x_j: Tensor, index: Tensor, size_i: int) -> Tensor:
            return F.dropout(softmax((x_i * x_j).sum(-1), index, num_nodes=size_i), 0.0)[:, None] * x_j

        def forward(self, x: Tensor, edge_index: Tensor) -> Tensor:
            out: Tensor = self.propagate(edge_index, x=x)
            return out

    layer = Ours()
    assert ways(lambda: layer(x, edge_index)) == [KERNEL]
    with mpnn.backend("eager"):
        expected = layer(x, edge_index)
    torch.testing.assert_close(layer(x, edge_index), expected, rtol=0, atol=1e-10)
