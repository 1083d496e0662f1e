"""The oracles of layers for several types of nodes and edges: PyG's of the same names."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
import torch_geometric.nn as pyg
from oracles import Case, against, normal
from torch import Tensor, nn

from mpnn import HeteroGraph, models

SIZES = {"author": 7, "paper": 9, "venue": 4}
WIDTHS = {"author": 6, "paper": 3, "venue": 5}
RELATIONS = [
    ("author", "writes", "paper"),
    ("paper", "rev_writes", "author"),
    ("paper", "cites", "paper"),
    ("paper", "in", "venue"),
    ("venue", "has", "paper"),
]


def _case(make: Callable[[Any], nn.Module]) -> Case:
    edges = {
        edge_type: torch.stack([torch.randint(SIZES[edge_type[k]], (20,)) for k in (0, 2)])
        for edge_type in RELATIONS
    }
    graph = HeteroGraph(SIZES, edges)
    ours, theirs = (make(library) for library in (models, pyg))

    def on(layer: nn.Module, topology: Any) -> Callable[..., list[Tensor]]:
        def call(*xs: Tensor) -> list[Tensor]:
            out = layer(dict(zip(SIZES, xs, strict=True)), topology)
            return [out[name] for name in SIZES]

        return call

    xs = [normal(SIZES[name], WIDTHS[name]) for name in SIZES]
    return against(ours, theirs, on(ours, graph), on(theirs, edges), *xs)


def hetero_conv() -> list[Case]:
    """SAGE along every relation, and GAT along every relation."""

    def of(conv: str, **options: Any) -> Callable[[Any], nn.Module]:
        def make(library: Any) -> nn.Module:
            kind = getattr(library, conv)
            convs = {r: kind((WIDTHS[r[0]], WIDTHS[r[2]]), 4, **options) for r in RELATIONS}
            layer: nn.Module = library.HeteroConv(convs)
            return layer

        return make

    return [_case(of("SAGEConv")), _case(of("GATConv", heads=2, add_self_loops=False))]


def hgt() -> list[Case]:
    """Two heads, three widths."""
    return [_case(lambda library: library.HGTConv(WIDTHS, 4, (list(SIZES), RELATIONS), heads=2))]
