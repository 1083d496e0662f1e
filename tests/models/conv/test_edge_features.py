"""Features of edges are mapped inside the kernel: there is no tensor of mapped features per edge."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import nn

from mpnn import models
from mpnn.backends.run.record import recording
from mpnn.plan.homes import Home
from mpnn.plan.ir import Program
from tests.core.graphs import random_graph
from tests.core.running import CHUNKS, KERNEL, assert_runs

EDGE_WIDTH = 3
graph = random_graph(9, 40)
generator = torch.Generator().manual_seed(3)
x = torch.randn(9, 8, generator=generator)
edge_attr = torch.randn(40, EDGE_WIDTH, generator=generator)
degrees = torch.tensor([1, 4, 4])

LAYERS: dict[str, Callable[[], nn.Module]] = {
    "GAT": lambda: models.GATConv(8, 4, heads=2, edge_dim=EDGE_WIDTH, add_self_loops=False),
    "GATv2": lambda: models.GATv2Conv(8, 4, heads=2, edge_dim=EDGE_WIDTH, add_self_loops=False),
    "Transformer": lambda: models.TransformerConv(8, 4, heads=2, edge_dim=EDGE_WIDTH),
    "PNA": lambda: models.PNAConv(8, 8, ["mean", "max"], ["identity"], degrees, EDGE_WIDTH, towers=2),
    "GINE": lambda: models.GINEConv(nn.Linear(8, 8), edge_dim=EDGE_WIDTH),
    "NNConv": lambda: models.NNConv(8, 8, nn.Linear(EDGE_WIDTH, 64)),
}


@pytest.mark.parametrize("name", LAYERS)
def test_no_tensor_per_edge_is_wider_than_what_was_given(name: str) -> None:
    layer = LAYERS[name]()
    assert_runs(KERNEL, lambda: layer(x.clone().requires_grad_(), graph, edge_attr.clone().requires_grad_()))
    with recording() as ran:
        layer(x, graph, edge_attr)
    (step,) = ran
    program = step.fused.plan.program
    assert isinstance(program, Program)
    widths = [given.size for given in program.inputs if given.home is Home.EDGE]
    assert widths
    assert max(widths) <= EDGE_WIDTH


def test_a_large_network_on_the_edges_runs_in_bounded_chunks() -> None:
    layer = models.NNConv(8, 8, nn.Sequential(nn.Linear(EDGE_WIDTH, 2048), nn.ReLU(), nn.Linear(2048, 64)))
    assert_runs(CHUNKS, lambda: layer(x, graph, edge_attr))
    with recording() as ran:
        layer(x, graph, edge_attr)
    assert ran[0].fused.plan.width == 2048
