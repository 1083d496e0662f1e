"""The layers and models that must obey every law of `mpnn.testing`, and one law more.

`SUBJECTS` lists them by name. A new layer or model is covered as soon as it stands in the list.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from contextlib import nullcontext
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from mpnn import Graph, models, testing
from mpnn.models.conv.registry import Conv
from mpnn.testing import Data, EdgeInput, Law, Subject, assert_close
from tests.core.waiting import no_waiting
from tests.elsewhere import by_plan, elsewhere
from tests.models.graphs import EDGE_WIDTH, RELATIONS, WIDTH

OUT = 4
EDGE_INPUTS: dict[str, EdgeInput] = {
    "edge_weight": None,
    "edge_attr": EDGE_WIDTH,
    "edge_type": range(RELATIONS),
}


def carrying(graph: Graph, dtype: torch.dtype = torch.float64, seed: int = 0) -> Data:
    """A graph with random features of every kind."""
    return testing.carrying(graph, EDGE_INPUTS, dtype, seed)


def sample(
    num_nodes: int = 10, num_edges: int = 24, seed: int = 0, dtype: torch.dtype = torch.float64
) -> Data:
    """A random graph with isolated nodes, self loops and repeated edges, and features of every kind."""
    return testing.sample(num_nodes, num_edges, seed, dtype, EDGE_INPUTS)


def another_device_gives_the_same(subject: Subject) -> None:
    """After moving the module and its input, everything is computed and trained on the device.

    After the first step on a graph the host waits for nothing.
    """
    module, data = subject.make(), subject.sample()
    expected = subject.call(module, data)
    for way in (nullcontext, by_plan):
        with elsewhere() as device, way():
            moved = data.to(device)
            there = copy.deepcopy(module).to(device)
            out = subject.call(there, moved)
            assert out.device == device
            assert_close(out.cpu(), expected, 1e-10, subject.name)
            out.square().sum().backward()
            for name, parameter in there.named_parameters():
                assert parameter.grad is not None and parameter.grad.device == device, name
            there.train()
            subject.call(there, moved)  # what of the graph is new to it now
            with no_waiting():
                subject.call(there, moved).square().sum().backward()


# How torch.compile takes each layer is told more strictly in tests/models/test_compile.py.
LAWS: list[Law] = [*testing.laws("torch compile changes nothing"), Law(another_device_gives_the_same)]


# Subjects ----------------------------------------------------------------------------------------------

DEG = torch.tensor([2, 3, 4, 2, 1])

# What a name in `models.CONVS` needs to be built as a single layer, besides its widths.
OPTIONS: dict[str, dict[str, Any]] = {
    "gat": {"heads": 2, "edge_dim": EDGE_WIDTH},
    "gatv2": {"heads": 2, "edge_dim": EDGE_WIDTH},
    "transformer": {"heads": 2, "edge_dim": EDGE_WIDTH, "beta": True},
    "gine": {"edge_dim": EDGE_WIDTH, "train_eps": True},
    "rgcn": {"num_relations": RELATIONS},
    "nn": {"edge_dim": EDGE_WIDTH},
    "pna": {"deg": DEG, "edge_dim": EDGE_WIDTH},
    "mpnn": {"edge_dim": EDGE_WIDTH},
}


# Those that take two node sets; attention would add loops between nodes of the same number there.
BIPARTITE = ("gnn", "graph", "sage", "transformer", "edge", "nn", "rgcn", "gin", "gine")


def _edges(conv: Conv) -> dict[str, EdgeInput]:
    return {name: EDGE_INPUTS[name] for name in conv.edge_inputs}


def layer(name: str) -> Subject:
    """One layer, as the last of a stack."""
    conv = models.CONVS[name]
    return Subject(
        name,
        lambda: conv.build(WIDTH, OUT, True, **OPTIONS.get(name, {})),
        _edges(conv),
        bipartite=name in BIPARTITE,
    )


def stack(name: str) -> Subject:
    """Three layers of a kind."""
    return Subject(
        f"GNN of {name}",
        lambda: models.GNN(WIDTH, 8, OUT, 3, conv=name, **OPTIONS.get(name, {})),
        _edges(models.CONVS[name]),
    )


def variant(**options: Any) -> Subject:
    """A GCN with one part more."""
    return Subject(
        f"GNN({', '.join(f'{k}={v!r}' for k, v in options.items())})",
        lambda: models.GNN(WIDTH, 8, OUT, 3, **options),
    )


class Classifier(nn.Module):
    """A GNN whose node states are pooled to one row per graph."""

    def __init__(self, pool: nn.Module) -> None:
        super().__init__()
        self.gnn, self.pool = models.GNN(WIDTH, 8, OUT), pool

    def forward(self, x: Tensor, graph: Graph | Tensor) -> Tensor:
        out: Tensor = self.pool(self.gnn(x, graph), graph if isinstance(graph, Graph) else None)
        return out


def pooled(name: str, pool: Callable[[], nn.Module]) -> Subject:
    """One row per graph."""
    return Subject(f"pooled by {name}", lambda: Classifier(pool()), per_graph=True)


SUBJECTS: list[Subject] = [
    *map(layer, models.CONVS),
    *map(stack, models.CONVS),
    *(variant(jk=mode) for mode in ("last", "cat", "max", "lstm")),
    *(variant(norm=name, dropout=0.5) for name in models.NORMS),
    variant(residual=True, act="elu"),
    variant(virtual_node=True),
    variant(virtual_node=True, jk="cat", dropout=0.5),
    variant(conv="sage", aggr=["mean", "max", "std"]),
    *(pooled(aggr, partial(models.GlobalPool, aggr)) for aggr in ("sum", "mean", "max", "std")),
    pooled("attention", lambda: models.AttentionalAggregation(nn.Linear(OUT, 1), nn.Linear(OUT, 5))),
]
