"""The list of rules: every kind of step that runs on a dense kernel of PyTorch."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from mpnn import topology
from mpnn.aggregate.reductions import MAX, SUM
from mpnn.graph.graph import Graph
from mpnn.lowering.cell import CELLS
from mpnn.lowering.child_sum import fits_child_sum, match_child_sum
from mpnn.lowering.convolution import fits_convolution, match_convolution
from mpnn.lowering.dot_product_attention import fits_attention, match_attention
from mpnn.lowering.linear import fits_linear, match_linear
from mpnn.lowering.pooling import (
    fits_max_pooling,
    fits_sum_pooling,
    fits_windows,
    match_pooling,
)
from mpnn.lowering.reading import MESSAGES
from mpnn.lowering.recurrence import fits_recurrence, match_recurrence
from mpnn.lowering.rule import Example, Reader, Rule
from mpnn.topology import AdaptiveGrid, Band, Causal, Chain, Complete, CompleteBipartite, Grid

# The examples ------------------------------------------------------------------------------------------


def _dot(q_i: Tensor, k_j: Tensor, v_j: Tensor) -> tuple[Tensor, Tensor]:
    return (q_i * k_j).sum(-1) / 2, v_j


def _biased_einsum(q_i: Tensor, k_j: Tensor, v_j: Tensor, penalty_j: Tensor) -> tuple[Tensor, Tensor]:
    return torch.einsum("ehc,ehc->eh", 0.3 * q_i, k_j) - penalty_j, v_j


def _biased_edges(q_i: Tensor, k_j: Tensor, v_j: Tensor, b: Tensor) -> tuple[Tensor, Tensor]:
    return (q_i * k_j).sum(-1) + 2 * b, v_j


def _biased_twice(
    q_i: Tensor, k_j: Tensor, v_j: Tensor, penalty_j: Tensor, b: Tensor
) -> tuple[Tensor, Tensor]:
    return torch.einsum("ehc,ehc->eh", q_i, k_j) - penalty_j + b, v_j


def _scaled(q_i: Tensor, k_j: Tensor, v_j: Tensor, scale: Tensor) -> tuple[Tensor, Tensor]:
    return 2 * (q_i * k_j).sum(-1) * scale, v_j


def _attention(graph: Any) -> list[Example]:
    q, k, v = (
        torch.randn(graph.num_dst, 2, 3),
        torch.randn(graph.num_src, 2, 3),
        torch.randn(graph.num_src, 2, 4),
    )
    penalty, bias = torch.rand(graph.num_src, 2), torch.randn(graph.num_edges, 2)
    fields = {"q": (None, q), "k": (k, None), "v": (v, None)}
    return [
        Example(graph, _dot, "softmax", fields),
        Example(graph, _biased_einsum, "softmax", {**fields, "penalty": (penalty, None)}),
        Example(graph, _biased_edges, "softmax", {**fields, "b": bias}),
        Example(graph, _biased_twice, "softmax", {**fields, "penalty": (penalty, None), "b": bias[:, :1]}),
        Example(graph, _scaled, "softmax", {**fields, "scale": torch.tensor(0.7)}),
        Example(graph, _scaled, "softmax", {**fields, "scale": torch.tensor([0.7, 1.2])}),
    ]


def _attention_examples() -> list[Example]:
    graphs = [
        topology.complete(5),
        topology.complete([3, 3]),
        topology.complete([2, 4], self_loops=False),
        topology.complete([3, 1]).reverse(),
        topology.complete_bipartite([3, 2], [4, 1]),
        topology.complete_bipartite(3, 4).reverse(),
        topology.causal([4, 4]),
        topology.causal([4, 2]),
        topology.causal([4, 2]).reverse(),
        topology.causal(5).reverse(),
        topology.band(200, 30),
        topology.band([70, 5], (2, 1), dilation=3),
        topology.band([6, 6], 2, causal=True).reverse(),
    ]
    return [example for graph in graphs for example in _attention(graph)]


def _typed(x_j: Tensor, edge_type: Tensor, weight: Tensor) -> Tensor:
    return torch.bmm(weight[edge_type], x_j[..., None])[..., 0]


def _grouped(x_j: Tensor, edge_type: Tensor, weight: Tensor) -> Tensor:
    return torch.einsum("egi,egio->ego", x_j, weight[edge_type])


def _convolution_examples() -> list[Example]:
    graphs = [
        topology.grid(7, 3),
        topology.grid((5, 6), (3, 2), stride=2, padding=1, batch=2),
        topology.grid((5, 6), 3, padding="same", dilation=2, periodic=(False, True)),
        topology.grid((3, 4, 3), 2, padding=[(0, 1), (1, 0), (0, 0)]),
        topology.grid((5, 6), (3, 2), stride=2, padding=1, batch=2).reverse(),
        topology.grid(9, 2, stride=4, dilation=2).reverse(),
        topology.grid((5, 4), (3, 2), stride=2, padding=[(7, 1), (0, 1)], periodic=(True, False)).reverse(),
        topology.grid((4, 3, 2), 3, padding="same", dilation=2, periodic=True).reverse(),
    ]
    examples = []
    for graph in graphs:
        types = graph.num_edge_types
        fields = {"x": (torch.randn(graph.num_src, 3), None), "weight": torch.randn(types, 4, 3)}
        examples.append(Example(graph, _typed, "sum", fields))
        fields = {"x": (torch.randn(graph.num_src, 2, 3), None), "weight": torch.randn(types, 2, 3, 2)}
        examples.append(Example(graph, _grouped, "mean", fields))
    return examples


def _itself(x_j: Tensor) -> Tensor:
    return x_j


def _pooling_graphs() -> list[Grid]:
    return [
        topology.grid(7, 3, stride=3),
        topology.grid((5, 6), (3, 2), stride=2, padding=1, batch=2),
        topology.grid((4, 4, 5), 2, stride=2, padding=[(0, 1), (0, 0), (0, 0)]),
        topology.grid((5, 4), 2, padding=1, periodic=True),
    ]


def _pooling_examples(aggr: str, graphs: list[Any]) -> list[Example]:
    return [Example(g, _itself, aggr, {"x": (torch.randn(g.num_src, 3), None)}) for g in graphs]


def _weighted(x_j: Tensor, w: Tensor) -> Tensor:
    return w[:, None] * x_j


def _weighted_and_scaled(x_j: Tensor, w: Tensor, scale: Tensor) -> Tensor:
    return w[:, None] * (2 * scale * x_j)


def _linear_examples() -> list[Example]:
    graphs = [
        topology.complete(4),
        topology.complete([4, 4], self_loops=False),
        topology.complete(5, self_loops=False).reverse(),
        topology.complete([2, 2]).reverse(),
        topology.complete_bipartite(3, 5).reverse(),
        topology.complete_bipartite(3, 5),
        topology.complete_bipartite([2, 2], [3, 3]),
    ]
    examples = []
    for g in graphs:
        fields = {"x": (torch.randn(g.num_src, 7), None), "w": torch.randn(g.num_edges)}
        examples.append(Example(g, _weighted, "sum", fields))
        examples.append(Example(g, _weighted_and_scaled, "sum", {**fields, "scale": torch.tensor(0.7)}))
    return examples


class _Elman(nn.Module):
    """h_i = relu(W x_i + U h_j + b): a user's cell, without a part that is prepared."""

    state: tuple[str, ...] = ("h",)

    def __init__(self) -> None:
        super().__init__()
        self.lin, self.loop = nn.Linear(3, 4), nn.Linear(4, 4, bias=False)

    def message(self, h_j: Tensor) -> Tensor:
        return h_j

    def nothing(self, num_nodes: int, fields: Any) -> Tensor:
        return self.lin.weight.new_zeros(num_nodes, 4)

    def update(self, received: Tensor, x: Tensor) -> tuple[Tensor, ...]:
        return (self._update(self.lin(x) + self.loop(received)),)

    def _update(self, total: Tensor) -> Tensor:
        return total.relu()


class _Jordan(_Elman):
    """The same with a tanh, W x_i computed for all nodes at once."""

    def prepare(self, fields: Any) -> dict[str, Any]:
        return {"wx": self.lin(fields["x"])}

    def update(self, received: Tensor, wx: Tensor) -> tuple[Tensor, ...]:
        return (torch.tanh(torch.add(received @ self.loop.weight.t(), wx)),)


class _Gated(_Elman):
    """The GRU, written as in its paper."""

    def __init__(self) -> None:
        super().__init__()
        self.lin, self.loop = nn.Linear(3, 12), nn.Linear(4, 12)

    def update(self, received: Tensor, x: Tensor) -> tuple[Tensor, ...]:
        x, h = self.lin(x), self.loop(received)
        r, z = (torch.sigmoid(x[:, a : a + 4] + h[:, a : a + 4]) for a in (0, 4))
        return (z * received + (1 - z) * torch.tanh(x[:, 8:] + r * h[:, 8:]),)


class _Memory(_Elman):
    """The LSTM; the state is h and c side by side."""

    state = ("h", "c")

    def __init__(self, projected: int = 0) -> None:
        super().__init__()
        width = projected or 4
        self.lin, self.loop = nn.Linear(3, 16), nn.Linear(width, 16)
        self.project = nn.Linear(4, width, bias=False) if projected else None
        self.width = width

    def message(self, h_j: Tensor, c_j: Tensor) -> Tensor:  # type: ignore[override]
        return torch.cat([h_j, c_j], -1)

    def nothing(self, num_nodes: int, fields: Any) -> Tensor:
        return self.lin.weight.new_zeros(num_nodes, self.width + 4)

    def update(self, received: Tensor, x: Tensor) -> tuple[Tensor, ...]:
        h, c = received[:, : self.width], received[:, self.width :]
        i, f, g, o = (self.lin(x) + self.loop(h)).chunk(4, -1)
        c = torch.sigmoid(f) * c + torch.sigmoid(i) * torch.tanh(g)
        h = torch.sigmoid(o) * torch.tanh(c)
        return (h if self.project is None else self.project(h)), c


def _recurrence_examples() -> list[Example]:
    chains = [
        topology.chain(5),
        topology.chain([4, 4], backward=True),
        topology.chain([2, 5, 1, 5]),
        topology.chain([2, 4, 1], backward=True),
    ]
    layers = [_Elman(), _Jordan(), _Gated(), _Memory(), _Memory(projected=2)]
    return [
        Example(graph, layer, "sum", {"x": torch.randn(graph.num_nodes, 3)})
        for graph in chains
        for layer in layers
    ]


class _ChildSum(_Memory):
    """The Tree-LSTM (Tai et al., 2015)."""

    def message(self, x_i: Tensor, h_j: Tensor, c_j: Tensor) -> Tensor:  # type: ignore[override]
        forget = (self.lin(x_i) + self.loop(h_j))[:, 4:8].sigmoid()
        return torch.cat([h_j, forget * c_j], -1)

    def update(self, received: Tensor, x: Tensor) -> tuple[Tensor, ...]:
        i, _, g, o = (self.lin(x) + self.loop(received[:, :4])).chunk(4, -1)
        c = received[:, 4:] + i.sigmoid() * g.tanh()
        return o.sigmoid() * c.tanh(), c


def _child_sum_examples() -> list[Example]:
    graphs = [
        topology.tree([[-1, 0, 0, 1, 1, 1, 3], [1, 2, -1]]),
        topology.tree([-1, 0, 0, 1, 1]),
        topology.tree([-1, 0, 0, 1, 1, 2]).reverse(),
        Graph(torch.tensor([[0, 0, 0, 1, 2, 2, 2, 5], [1, 2, 4, 3, 3, 4, 5, 4]]), 7),
        Graph(torch.empty(2, 0, dtype=torch.int64), 3),
    ]
    return [Example(g, _ChildSum(), "sum", {"x": torch.randn(g.num_nodes, 3)}) for g in graphs]


# The list ----------------------------------------------------------------------------------------------

RULES: tuple[Rule, ...] = (
    Rule(
        name="attention",
        topology=(Complete, CompleteBipartite, Causal, Band),
        message="(scale · q_i·k_j + biases, v_j)",
        aggregate="softmax",
        reader=MESSAGES,
        kernel="scaled_dot_product_attention, in a window on a GPU flex_attention",
        match=match_attention,
        fits=fits_attention,
        examples=_attention_examples,
    ),
    Rule(
        name="convolution",
        topology=(Grid,),
        message="x_j W[edge_type]",
        aggregate="sum",
        reader=MESSAGES,
        kernel="conv1d/2d/3d, reversed conv_transpose1d/2d/3d",
        match=match_convolution,
        fits=fits_convolution,
        examples=_convolution_examples,
    ),
    Rule(
        name="max pooling",
        topology=(Grid,),
        message="x_j",
        aggregate="max",
        reader=MESSAGES,
        kernel="max_pool1d/2d/3d, whose gradient goes to the first of equals",
        match=match_pooling(MAX),
        fits=fits_max_pooling,
        examples=lambda: _pooling_examples("max", _pooling_graphs()),
    ),
    Rule(
        name="average pooling",
        topology=(Grid,),
        message="x_j",
        aggregate="sum",
        reader=MESSAGES,
        kernel="avg_pool1d/2d/3d",
        match=match_pooling(SUM),
        fits=fits_sum_pooling,
        examples=lambda: _pooling_examples("mean", _pooling_graphs()),
    ),
    Rule(
        name="adaptive pooling",
        topology=(AdaptiveGrid,),
        message="x_j",
        aggregate="sum",
        reader=MESSAGES,
        kernel="adaptive_avg_pool1d/2d/3d",
        match=match_pooling(SUM),
        fits=fits_windows,
        examples=lambda: _pooling_examples(
            "mean", [topology.adaptive_grid(7, 3), topology.adaptive_grid((5, 4), (2, 4), batch=2)]
        ),
    ),
    Rule(
        name="linear map",
        topology=(Complete, CompleteBipartite),
        message="w_e x_j",
        aggregate="sum",
        reader=MESSAGES,
        kernel="matrix product",
        match=match_linear,
        fits=fits_linear,
        examples=_linear_examples,
    ),
    Rule(
        name="recurrence",
        topology=(Chain,),
        message="(h_j, c_j) through the equations of an RNN, GRU or LSTM",
        aggregate="sum",
        schedule="topological",
        reader=CELLS,
        kernel="rnn_tanh, rnn_relu, gru, lstm",
        match=match_recurrence,
        fits=fits_recurrence,
        examples=_recurrence_examples,
    ),
    Rule(
        name="child sum",
        topology=(Graph,),
        message="h_j ‖ f_ij c_j through the equations of an LSTM",
        aggregate="sum",
        schedule="topological",
        reader=CELLS,
        kernel="two products per level, between them a loop in C where there is a compiler",
        match=match_child_sum,
        fits=fits_child_sum,
        examples=_child_sum_examples,
    ),
)


_Found = tuple[tuple[Reader, tuple[Rule, ...]], ...]
# By kind of graph and schedule, with the list that they were found in; another list invalidates them.
_of_kind: dict[tuple[type[Graph], str], tuple[tuple[Rule, ...], _Found]] = {}


def rules_for(graph: Graph, schedule: str) -> _Found:
    """The rules for graphs of a kind under a schedule, by how they read a step."""
    key = (type(graph), schedule)
    known = _of_kind.get(key)
    if known is None or known[0] is not RULES:
        rules = [rule for rule in RULES if isinstance(graph, rule.topology) and rule.schedule == schedule]
        readers = dict.fromkeys(rule.reader for rule in rules)
        found = tuple((reader, tuple(rule for rule in rules if rule.reader is reader)) for reader in readers)
        known = _of_kind[key] = (RULES, found)
    return known[1]
