"""What is fast: the list of everything that runs on a specialist's kernel."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from mpnn import topology
from mpnn.lowering.attention import fits_attention, match_attention
from mpnn.lowering.convolution import fits_convolution, match_convolution
from mpnn.lowering.linear import fits_linear, match_linear
from mpnn.lowering.pooling import (
    fits_max_pooling,
    fits_sum_pooling,
    fits_windows,
    match_pooling,
)
from mpnn.lowering.rule import Example, Rule
from mpnn.topology import AdaptiveGrid, Band, Causal, Complete, CompleteBipartite, Grid

# The examples ------------------------------------------------------------------------------------------


def _dot(q_i: Tensor, k_j: Tensor, v_j: Tensor) -> tuple[Tensor, Tensor]:
    return (q_i * k_j).sum(-1) / 2, v_j


def _biased_einsum(q_i: Tensor, k_j: Tensor, v_j: Tensor, penalty_j: Tensor) -> tuple[Tensor, Tensor]:
    return torch.einsum("ehc,ehc->eh", 0.3 * q_i, k_j) - penalty_j, v_j


def _biased_edges(q_i: Tensor, k_j: Tensor, v_j: Tensor, b: Tensor) -> tuple[Tensor, Tensor]:
    return (q_i * k_j).sum(-1) + 2 * b, v_j


def _attention(graph: Any) -> list[Example]:
    q, k, v = (
        torch.randn(graph.num_dst, 2, 3),
        torch.randn(graph.num_src, 2, 3),
        torch.randn(graph.num_src, 2, 4),
    )
    penalty, bias = torch.rand(graph.num_src, 2), torch.randn(graph.num_edges, 2)
    fields = {"q": (None, q), "k": (k, None), "v": (v, None)}
    examples = [
        Example(graph, _dot, "softmax", fields),
        Example(graph, _biased_einsum, "softmax", {**fields, "penalty": (penalty, None)}),
    ]
    if not isinstance(graph, Band):
        examples.append(Example(graph, _biased_edges, "softmax", {**fields, "b": bias}))
    return examples


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


def _linear_examples() -> list[Example]:
    graphs = [
        topology.complete(4),
        topology.complete_bipartite(3, 5),
        topology.complete_bipartite([2, 2], [3, 3]),
    ]
    return [
        Example(g, _weighted, "sum", {"x": (torch.randn(g.num_src, 7), None), "w": torch.randn(g.num_edges)})
        for g in graphs
    ]


# The list ----------------------------------------------------------------------------------------------

RULES: tuple[Rule, ...] = (
    Rule(
        name="attention",
        topology=(Complete, CompleteBipartite, Causal, Band),
        message="(scale · q_i·k_j + biases, v_j)",
        aggregate="softmax",
        kernel="scaled_dot_product_attention",
        match=match_attention,
        fits=fits_attention,
        examples=_attention_examples,
    ),
    Rule(
        name="convolution",
        topology=(Grid,),
        message="x_j W[edge_type]",
        aggregate="sum",
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
        kernel="max_pool1d/2d/3d, whose gradient goes to the first of equals",
        match=match_pooling("max"),
        fits=fits_max_pooling,
        examples=lambda: _pooling_examples("max", _pooling_graphs()),
    ),
    Rule(
        name="average pooling",
        topology=(Grid,),
        message="x_j",
        aggregate="sum",
        kernel="avg_pool1d/2d/3d",
        match=match_pooling("sum"),
        fits=fits_sum_pooling,
        examples=lambda: _pooling_examples("mean", _pooling_graphs()),
    ),
    Rule(
        name="adaptive pooling",
        topology=(AdaptiveGrid,),
        message="x_j",
        aggregate="sum",
        kernel="adaptive_avg_pool1d/2d/3d",
        match=match_pooling("sum"),
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
        kernel="matrix product",
        match=match_linear,
        fits=fits_linear,
        examples=_linear_examples,
    ),
)
