"""A training step on typed edges holds rows for relations and nodes, and no tensor of edges and channels."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from mpnn import HeteroGraph, models
from tests.core.graph.hetero_graphs import RELATIONS, TYPES, hetero_graph
from tests.models.test_memory import peak

NODES, EDGES, WIDTH = 400, 30_000, 64
MESSAGES = EDGES * WIDTH * 4  # bytes of the messages of one relation

LAYERS: dict[str, Callable[[], nn.Module]] = {
    "SAGE": lambda: models.HeteroConv({r: models.SAGEConv((WIDTH, WIDTH), WIDTH) for r in RELATIONS}),
    "SAGE, narrower": lambda: models.HeteroConv({r: models.SAGEConv((WIDTH, WIDTH), 32) for r in RELATIONS}),
    "GAT": lambda: models.HeteroConv(
        {r: models.GATConv((WIDTH, WIDTH), 8, heads=8, add_self_loops=False) for r in RELATIONS}
    ),
    "HGT": lambda: models.HGTConv(WIDTH, WIDTH, (TYPES, RELATIONS), heads=8),
}


@pytest.mark.parametrize("name", LAYERS)
def test_a_step_of_all_relations_takes_less_than_the_messages_of_one(name: str) -> None:
    graph: HeteroGraph = hetero_graph((NODES, NODES, NODES), EDGES)
    layer = LAYERS[name]()
    x = {node_type: torch.randn(NODES, WIDTH, requires_grad=True) for node_type in TYPES}

    def step() -> None:
        out: dict[str, Tensor] = layer(x, graph)
        sum(one.square().sum() for one in out.values()).backward()  # type: ignore[union-attr]

    step()  # what is derived from a graph stays with it
    assert peak(step) < MESSAGES


@pytest.mark.parametrize("options", [{}, {"attention_mechanism": "within-relation"}], ids=str)
def test_attention_by_type_takes_less_than_half_of_its_messages(options: dict[str, Any]) -> None:
    graph = hetero_graph((NODES, NODES, NODES), EDGES).homogeneous
    layer = models.RGATConv(WIDTH, 8, len(RELATIONS), heads=8, **options)
    x = torch.randn(3 * NODES, WIDTH, requires_grad=True)

    def step() -> None:
        layer(x, graph).square().sum().backward()

    step()
    assert peak(step) < len(RELATIONS) * MESSAGES / 2  # a score for each head of an edge is there
