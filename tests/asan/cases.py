"""What runs under the sanitizers: layers, random messages, odd graphs, and each C file of `mpnn/native`."""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import torch
from torch import Tensor

import mpnn
from mpnn import Graph, MessagePassing, Schedule, models
from mpnn.backends.c import kernel, sweep
from mpnn.native import child_sum, dropout, neighbors, pool, products, skip_gram, sort, uniforms, walks
from mpnn.native.compiler import load
from mpnn.native.gate import address
from mpnn.pyg.geometry.clusters import graclus_cluster
from mpnn.pyg.sampler.neighbor import neighbor_sample
from tests import laws
from tests.asan.messages import WIDTHS, Random

Case = tuple[str, Callable[[], None]]

for room in (kernel, child_sum, dropout, neighbors, sweep, skip_gram, sort, uniforms, walks):
    room.SMALL = 0  # type: ignore[attr-defined]  # two threads
pool.leave_to_malloc()  # whose memory the sanitizers know the ends of

ODD: dict[str, tuple[int, list[tuple[int, int]]]] = {
    "no nodes": (0, []),
    "no edges": (4, []),
    "one node": (1, []),
    "one node, one loop": (1, [(0, 0)]),
    "one edge, many times": (3, [(0, 1)] * 40),
    "a hub": (9, [(k % 8, 8) for k in range(kernel.HEAVY_DEGREE + 5)] + [(8, 0)]),
    "isolated nodes between": (9, [(0, 4), (4, 4), (8, 0), (4, 8)]),
}


def odd_graphs() -> Iterator[Graph]:
    """A new graph of each odd kind."""
    for num_nodes, pairs in ODD.values():
        yield Graph(torch.tensor(pairs, dtype=torch.int64).reshape(-1, 2).T, num_nodes)


def trained(out: Tensor) -> None:
    """Run the backward pass."""
    if out.requires_grad:
        out.float().square().sum().backward()


def layer(name: str, dtype: torch.dtype) -> None:
    """A layer on every graph, forward and backward."""
    subject = laws.layer(name)
    module = subject.make(dtype)
    for graph in (laws.sample().graph, *odd_graphs()):
        assert isinstance(graph, Graph)
        for mode in (True, False):
            data = laws.carrying(graph, dtype)
            assert isinstance(data.x, Tensor)
            data.x.requires_grad_(mode)
            trained(subject.call(module.train(mode), data))


def message(seed: int) -> None:
    """A random message on every graph, forward and backward; every seventh also with NaN and infinities."""
    torch.manual_seed(seed)
    width, dtype = WIDTHS[seed % len(WIDTHS)], (torch.float32, torch.float64, torch.bfloat16)[seed // 5 % 3]
    drawn = Random(seed, width).to(dtype)
    for graph in odd_graphs():
        x = torch.randn(graph.num_nodes, width, dtype=dtype, requires_grad=True)
        e = torch.randn(graph.num_edges, width, dtype=dtype, requires_grad=True)
        if seed % 7 == 0:
            strange = torch.tensor([float("nan"), float("inf"), -float("inf"), 1e30, -1e30, 0.0], dtype=dtype)
            for values in (x.data, e.data):
                values.flatten().copy_(strange.repeat(values.numel() // 6 + 1)[: values.numel()])
        trained(drawn(x, e, graph))


def blocks() -> None:
    """Linear maps in blocks of rows, and their gradients."""
    torch.manual_seed(0)
    graph = Graph(torch.randint(20_000, (2, 60_000)), 20_000)
    make: Any
    for make in (partial(models.GATConv, heads=2), models.EdgeConv, models.SAGEConv):
        mlp = torch.nn.Sequential(torch.nn.Linear(32, 16), torch.nn.ReLU(), torch.nn.Linear(16, 8))
        module = make(mlp) if make is models.EdgeConv else make(16, 24)
        trained(module(torch.randn(20_000, 16, requires_grad=True), graph))


def functions() -> None:
    """The C files: sums of products, dropout, random numbers by counter, sorting."""
    torch.manual_seed(0)
    for p, q in ((1, 1), (7, 33), (64, 96), (5, 257)):
        products.gram(torch.randn(70_001, p), torch.randn(70_001, q))
        products.gram(
            torch.randn(70_001, p, dtype=torch.float64), torch.randn(70_001, q, dtype=torch.float64)
        )
    for size in (1, 7, 100_003):
        trained(dropout.dropout(torch.randn(size, requires_grad=True), 0.3))
    for rows_and_lanes in ((1,), (70_001,), (5000, 15), (300, 16), (2, 10_001), (0, 3), (3, 0)):
        for dtype in (torch.float32, torch.float64):
            mpnn.uniforms(1, 2, rows_and_lanes, dtype=dtype)
    for num_rows, number in ((1, 0), (1, 1), (3, 70_001), (70_001, 5)):
        rows = torch.randint(num_rows, (number,))
        for index_type in (torch.int32, torch.int64):
            sort.sort_edges(rows, rows.flip(0), num_rows, index_type)


def random_walks() -> None:
    """Walks of both orders, with and without weights, and training by skip-gram on them."""
    for graph in (*odd_graphs(), Graph(torch.randint(300, (2, 900)), 300)):
        weight = torch.rand(graph.num_edges) + 0.1
        for given in (None, weight):
            for p, q in ((1.0, 1.0), (0.3, 4.0), (100.0, 0.5)):
                mpnn.random_walks(graph, None, 12, p=p, q=q, weight=given, seed=1)
        if graph.num_nodes > 1:
            for channels in (1, 8, 19):
                models.SkipGram(graph, channels, rounds=2, length=8, window=3).fit()


def companions() -> None:
    """Sampled neighbourhoods of every kind, and pairs of neighbours."""
    torch.manual_seed(0)
    for graph in (*odd_graphs(), Graph(torch.randint(40, (2, 4000)), 40)):
        rowptr, col = graph.by_src.indptr, graph.by_src.indices
        seeds, weight = torch.arange(graph.num_nodes), torch.rand(graph.num_edges) + 0.1
        time = torch.zeros(graph.num_nodes, dtype=torch.int64)
        options: list[dict[str, Any]] = [
            {}, {"replace": True}, {"disjoint": True}, {"edge_weight": weight}, {"directed": False},
            {"edge_weight": weight, "replace": True}, {"node_time": time, "disjoint": True},
            {"node_time": time, "disjoint": True, "temporal_strategy": "last"},
        ]  # fmt: skip
        for given in options:
            for kind in (torch.int32, torch.int64):
                neighbor_sample(rowptr.to(kind), col.to(kind), seeds, [3, 70, -1], **given)
        graclus_cluster(rowptr, col)
        graclus_cluster(rowptr, col, weight)


def divergence() -> None:
    """Skip-gram at a learning rate at which its vectors become NaN."""
    models.SkipGram(Graph(torch.randint(50, (2, 300)), 50), 8, rounds=3, length=8, window=3, lr=1e30).fit()


class Chance(MessagePassing):
    """±1 by chance, beside a number."""

    state = ("s", "x")

    def message(self, s_i: Tensor, s_j: Tensor, x_j: Tensor, w: Tensor) -> Tensor:
        """w_ij s_j x_j - s_i."""
        return w.view(-1, *[1] * (s_j.dim() - 1)) * s_j * x_j - s_i

    def update(self, inputs: Tensor, x: Tensor, u: Tensor, t: float) -> tuple[Tensor, Tensor]:
        """Some of the chances are such that PyTorch is asked."""
        return torch.where(u < torch.sigmoid(inputs / t), 1.0, -1.0).to(x.dtype), 0.5 * x


def sweeps() -> None:
    """Sweeps from node to node, a few nodes at once, some clamped."""
    torch.manual_seed(0)
    for graph in (*odd_graphs(), Graph(torch.randint(30, (2, 90)), 30)):
        n = graph.num_nodes
        order = torch.randperm(n)
        for shape in ((n,), (n, 3), (n, 64), (n, 2, 75)):
            for schedule in (
                Schedule(order),
                Schedule(order // 3 * 3 + (order % 3 > 1), clamped=order < n // 4),
            ):
                state = {name: torch.randn(shape) for name in Chance.state}
                u = torch.where(torch.rand(shape) < 0.1, 0.5, torch.rand(shape))
                w = torch.zeros(graph.num_edges) if n == 30 else torch.randn(graph.num_edges)
                layer = Chance("mean")
                mpnn.iterate(layer, graph, state, schedule=schedule, steps=2, t=1.5, w=w, u=u)


def trees() -> None:
    """An LSTM on forests, level by level."""
    torch.manual_seed(0)
    for parent in ([], [-1], [-1, 0, 0, 1, 1, 2, -1], [-1] + [0] * 70):
        edge_index = torch.tensor([(k, p) for k, p in enumerate(parent) if p >= 0], dtype=torch.int64)
        graph = Graph(edge_index.reshape(-1, 2).T, len(parent))
        for width in (1, 5, 16):
            lstm = models.LSTM(3, width)
            out, _ = lstm(torch.randn(len(parent), 3, requires_grad=True), graph=graph)
            trained(out)


def cases(messages: int) -> Iterator[Case]:
    """All cases by name."""
    yield "blocks of rows", blocks
    yield "C functions", functions
    yield "walks", random_walks
    yield "companions", companions
    yield "divergence", divergence
    yield "sweeps", sweeps
    yield "trees", trees
    for name in models.CONVS:
        yield f"layer {name}", partial(layer, name, torch.float32)
    for seed in range(messages):
        yield f"message {seed}", partial(message, seed)


# Errors on purpose --------------------------------------------------------------------------------------

BROKEN = """
#include <stdint.h>
double last(const double *x, int64_t n, int by) { return x[n - 1 + by]; }
int32_t shifted(int32_t by) { return 1 << by; }
int32_t whole(double x) { return (int32_t)x; }
"""


def _beyond() -> None:
    """A read of one number beyond a tensor's last."""
    read = load(BROKEN).last
    read.restype = ctypes.c_double
    read.argtypes = [ctypes.c_void_p, ctypes.c_int64, ctypes.c_int]
    x = torch.ones(8, dtype=torch.float64)
    assert read(address(x, torch.float64, 8), 8, 0) == 1
    read(address(x, torch.float64, 8), 8, 1)


def _shift() -> None:
    load(BROKEN).shifted(40)


def _cast() -> None:
    function = load(BROKEN).whole
    function.argtypes = [ctypes.c_double]
    function(float("nan"))


ON_PURPOSE: list[Case] = [
    ("a read beyond", _beyond),
    ("a shift too far", _shift),
    ("NaN as an integer", _cast),
]
