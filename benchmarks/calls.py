"""The overhead of a call: one forward pass on a graph of ten nodes.

    python benchmarks/calls.py
    python benchmarks/calls.py --layers GCN --rounds 1 --calls 1     # whether it runs

The layer is compared with its arithmetic alone, on a dense matrix of the graph and with the same weights,
which is checked to give the same result; the difference is the overhead of a call. One thread, the fastest of
several rounds, with the operations recorded for a backward pass and without.

A second table measures PyTorch Geometric's own layers after `mpnn.accelerate`: the same call, and a training
step of three layers on a new graph in each step, as in mini-batches.
"""

from __future__ import annotations

import argparse
import copy
import itertools
import time
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
import torch_geometric.nn
from torch import Tensor

import mpnn
from mpnn import models

NODES, WIDTH, HEADS = 10, 16, 4
Arithmetic = Callable[[Any, Tensor, Tensor], Tensor]  # a layer, features, the graph as a matrix


def gcn(layer: Any, x: Tensor, matrix: Tensor) -> Tensor:
    """GCN's output; `matrices` has put the symmetric normalisation into the matrix."""
    return matrix @ F.linear(x, layer.lin.weight) + layer.bias


def sage(layer: Any, x: Tensor, matrix: Tensor) -> Tensor:
    """Two linear maps, of the mean and of the node."""
    out = F.linear(matrix @ x, layer.lin_l.weight, layer.lin_l.bias)
    return torch.addmm(out, x, layer.lin_r.weight.t())


def graph_conv(layer: Any, x: Tensor, matrix: Tensor) -> Tensor:
    """Two linear maps, of the sum and of the node."""
    out = F.linear(matrix @ x, layer.lin_rel.weight, layer.lin_rel.bias)
    return torch.addmm(out, x, layer.lin_root.weight.t())


def gin(layer: Any, x: Tensor, matrix: Tensor) -> Tensor:
    """A linear map of the sum with the node."""
    return F.linear(torch.addcmul(matrix @ x, x, 1 + layer.eps), layer.nn.weight, layer.nn.bias)


def attend(score: Tensor, value: Tensor, bias: Tensor, matrix: Tensor) -> Tensor:
    """Softmax over neighbours; scores `[heads, receivers, senders]`, values `[senders, heads, channels]`."""
    weight = torch.softmax(F.leaky_relu(score, 0.2).masked_fill(matrix == 0, -torch.inf), -1)
    return (weight @ value.transpose(0, 1)).transpose(0, 1).flatten(1) + bias


def gat(layer: Any, x: Tensor, matrix: Tensor) -> Tensor:
    """GAT's output: a score is the sum of a number of the receiver and a number of the sender."""
    h = F.linear(x, layer.lin.weight).view(len(x), HEADS, -1)
    receives, sends = (h * layer.att_dst).sum(-1), (h * layer.att_src).sum(-1)
    return attend(receives.t().unsqueeze(2) + sends.t().unsqueeze(1), h, layer.bias, matrix)


def gatv2(layer: Any, x: Tensor, matrix: Tensor) -> Tensor:
    """GATv2's output: a score is a·LeakyReLU(W_r h_i + W_l h_j)."""
    sends = layer.lin_l(x).view(len(x), HEADS, -1)
    receives = layer.lin_r(x).view(len(x), HEADS, -1)
    both = F.leaky_relu(receives.unsqueeze(1) + sends.unsqueeze(0), 0.2)
    weight = torch.softmax((both * layer.att).sum(-1).masked_fill(matrix.unsqueeze(-1) == 0, -torch.inf), 1)
    return torch.einsum("ijh,jhc->ihc", weight, sends).flatten(1) + layer.bias


LAYERS: dict[str, tuple[str, dict[str, Any], str, Arithmetic]] = {  # class, options, matrix, arithmetic
    "GCN": ("GCNConv", {}, "normalised", gcn),
    "GraphConv": ("GraphConv", {}, "sum", graph_conv),
    "SAGE": ("SAGEConv", {}, "mean", sage),
    "GIN": ("GINConv", {}, "sum", gin),
    "GAT": ("GATConv", {"heads": HEADS}, "with loops", gat),
    "GATv2": ("GATv2Conv", {"heads": HEADS}, "with loops", gatv2),
}


def build(module: Any, name: str) -> torch.nn.Module:
    """The layer of `mpnn.models` or `torch_geometric.nn`."""
    kind, options, _, _ = LAYERS[name]
    if kind == "GINConv":
        return module.GINConv(torch.nn.Linear(WIDTH, WIDTH))
    return getattr(module, kind)(WIDTH, WIDTH // options.get("heads", 1), **options)


def matrices(edge_index: Tensor) -> dict[str, Tensor]:
    """The graph as a matrix of receivers and senders, as the layers read it."""
    matrix = torch.zeros(NODES, NODES)
    matrix[edge_index[1], edge_index[0]] = 1
    looped = matrix + torch.eye(NODES)
    root = looped.sum(1).rsqrt()
    return {
        "sum": matrix,
        "mean": matrix / matrix.sum(1, keepdim=True).clamp(min=1),
        "with loops": looped,
        "normalised": root.unsqueeze(1) * looped * root,
    }


class Clock(NamedTuple):
    """How often a call is timed."""

    rounds: int
    calls: int

    def microseconds(self, call: Callable[[], object]) -> float:
        """Of one call, in the fastest round."""
        best = float("inf")
        for _ in range(self.rounds):
            start = time.perf_counter()
            for _ in range(self.calls):
                call()
            best = min(best, (time.perf_counter() - start) / self.calls)
        return 1e6 * best


def measure(name: str, edge_index: Tensor, x: Tensor, clock: Clock) -> list[float]:
    """Microseconds of a layer, its arithmetic, the difference, and PyG: with gradients, then without."""
    _, _, form, arithmetic = LAYERS[name]
    ours, theirs = build(models, name), build(torch_geometric.nn, name)
    with torch.no_grad():
        for parameter in ours.parameters():
            parameter.normal_()
    graph, matrix = mpnn.Graph(edge_index, NODES), matrices(edge_index)[form]
    torch.testing.assert_close(arithmetic(ours, x, matrix), ours(x, graph), rtol=1e-4, atol=1e-4)
    found = []
    for gradients in (True, False):
        with torch.set_grad_enabled(gradients):
            took = clock.microseconds(lambda: ours(x, graph))
            alone = clock.microseconds(lambda: arithmetic(ours, x, matrix))
            found += [took, alone, took - alone, clock.microseconds(lambda: theirs(x, edge_index))]
    return found


def accelerated(name: str, edge_index: Tensor, x: Tensor, clock: Clock) -> list[float]:
    """Microseconds of PyG's layers, plain and accelerated: a call, then a step of three on a new graph."""
    plain = torch.nn.ModuleList([build(torch_geometric.nn, name) for _ in range(3)])
    ours = mpnn.accelerate(copy.deepcopy(plain))
    some = [torch.randint(NODES, edge_index.shape) for _ in range(clock.calls)]
    graphs = (graph.clone() for graph in itertools.cycle(some))
    return [
        clock.microseconds(lambda: plain[0](x, edge_index)),
        clock.microseconds(lambda: ours[0](x, edge_index)),
        clock.microseconds(lambda: step(plain, x, graphs)),
        clock.microseconds(lambda: step(ours, x, graphs)),
    ]


def step(model: Any, x: Tensor, graphs: Iterator[Tensor]) -> None:
    """Forward and backward on the next graph."""
    graph = next(graphs)
    for layer in model:
        x = layer(x, graph).relu()
    x.sum().backward()


def main() -> None:
    """Read the command line, print two tables."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--layers", nargs="+", choices=LAYERS, default=list(LAYERS))
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--calls", type=int, default=300, help="of a round")
    arguments = parser.parse_args()
    clock = Clock(arguments.rounds, arguments.calls)
    torch.set_num_threads(1)
    torch.manual_seed(0)
    pairs = [(i, j) for i in range(NODES) for j in range(NODES) if i != j]
    edge_index = torch.tensor(pairs)[torch.randperm(len(pairs))[: 3 * NODES]].t().contiguous()
    x = torch.randn(NODES, WIDTH)
    columns = ["mpnn", "arithmetic", "over it", "pyg", "mpnn, no gradients", "arithmetic", "over it", "pyg"]
    print(f"| µs | {' | '.join(columns)} |\n|---|{'---|' * len(columns)}")
    for name in arguments.layers:
        cells = measure(name, edge_index, x, clock)
        print(f"| {name} | {' | '.join(f'{cell:.0f}' for cell in cells)} |", flush=True)
    columns = ["pyg", "accelerated", "pyg, step on a new graph", "accelerated"]
    print(f"\n| µs | {' | '.join(columns)} |\n|---|{'---|' * len(columns)}")
    for name in arguments.layers:
        cells = accelerated(name, edge_index, x, clock)
        print(f"| {name} | {' | '.join(f'{cell:.0f}' for cell in cells)} |", flush=True)


if __name__ == "__main__":
    main()
