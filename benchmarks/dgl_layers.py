"""DGL's side of `layers.py`: reads a layer's name per line, answers with the seconds of one training step.

It runs in an environment of DGL's own, which need not have mpnn:

    PATH/python benchmarks/dgl_layers.py GRAPH THREADS     # by `layers.py --dgl PATH/python`
"""

from __future__ import annotations

import json
import sys
import time
from typing import Any

import torch
from graphs import SHAPES, make
from torch import Tensor

try:
    import dgl
    import dgl.nn.pytorch as nn
except ModuleNotFoundError:
    sys.exit("There is no DGL here: name a Python that has it, layers.py --dgl PATH/python.")

WIDTH, RELATIONS = 64, 8


def build(name: str) -> torch.nn.Module | None:
    """DGL's layer of that name, or None."""
    linear = torch.nn.Linear(WIDTH, WIDTH)
    makers = {
        "GCN": lambda: nn.GraphConv(WIDTH, WIDTH, allow_zero_in_degree=True),
        "SAGE-mean": lambda: nn.SAGEConv(WIDTH, WIDTH, "mean"),
        "SAGE-max": lambda: nn.SAGEConv(WIDTH, WIDTH, "pool"),
        "GIN": lambda: nn.GINConv(linear, "sum"),
        "GAT": lambda: nn.GATConv(WIDTH, 8, 8, allow_zero_in_degree=True),
        "GATv2": lambda: nn.GATv2Conv(WIDTH, 8, 8, allow_zero_in_degree=True),
        "Transformer": lambda: Transformer(),
        "RGCN": lambda: nn.RelGraphConv(WIDTH, WIDTH, RELATIONS),
    }
    return makers[name]() if name in makers else None


class Transformer(torch.nn.Module):
    """Dot-product attention as DGL's own examples write it: u_dot_v, edge_softmax, u_mul_e_sum."""

    def __init__(self) -> None:
        super().__init__()
        self.query, self.key, self.value, self.skip = (torch.nn.Linear(WIDTH, WIDTH) for _ in range(4))

    def forward(self, graph: Any, x: Tensor) -> Tensor:
        query, key, value = (f(x).view(-1, 8, 8) for f in (self.query, self.key, self.value))
        score = dgl.ops.u_dot_v(graph, key, query) / 8**0.5
        weight = dgl.ops.edge_softmax(graph, score)
        return dgl.ops.u_mul_e_sum(graph, value, weight).flatten(1) + self.skip(x)


def main() -> None:
    """Answer until the input ends."""
    name, threads = sys.argv[1], int(sys.argv[2])
    torch.set_num_threads(threads)
    edge_index = torch.from_numpy(make(name))
    graph = dgl.graph((edge_index[0], edge_index[1]), num_nodes=SHAPES[name].num_nodes)
    graph.create_formats_()
    x = torch.randn(SHAPES[name].num_nodes, WIDTH, requires_grad=True)
    gradient = torch.randn(SHAPES[name].num_nodes, WIDTH)
    types = torch.randint(RELATIONS, (graph.num_edges(),))
    layers: dict[str, torch.nn.Module | None] = {}
    for line in sys.stdin:
        layer = line.strip()
        module = layers.setdefault(layer, build(layer))
        if module is None:
            print(json.dumps(None), flush=True)
            continue
        start = time.perf_counter()
        out = module(graph, x, types) if layer == "RGCN" else module(graph, x)
        out.backward(gradient.view_as(out))
        print(json.dumps(time.perf_counter() - start), flush=True)


if __name__ == "__main__":
    main()
