"""The weighted sum of neighbours against memory bandwidth and MKL; building CSR against sorting; renumbering.

    python benchmarks/kernels.py --graph arxiv
    python benchmarks/kernels.py --graph arxiv --keep-freed-memory    # the C library keeps what is freed

All times are medians of interleaved repeats. "Bytes without reuse" counts a row of features for every edge.
"""

from __future__ import annotations

import argparse
import time
import warnings
from collections.abc import Callable
from statistics import median

import torch
from graphs import SHAPES, make

import mpnn
from mpnn.graph.csr import compress

warnings.filterwarnings("ignore")
WIDTH = 64


def interleaved(repeats: int, **contenders: Callable[[], object]) -> dict[str, float]:
    """Median seconds of each, run in turns."""
    seconds: dict[str, list[float]] = {name: [] for name in contenders}
    for turn in range(repeats + 1):
        for name, run in contenders.items():
            start = time.perf_counter()
            run()
            if turn:  # the first turn warms up
                seconds[name].append(time.perf_counter() - start)
    return {name: median(s) for name, s in seconds.items()}


def weighted_sum(name: str, graph: mpnn.Graph, repeats: int) -> None:
    """Print one line: our kernel, MKL's product, and the machine's bandwidth.

    Edges are listed by destination, the order in which both kernels read the weights.
    """
    graph = graph.edge_subgraph(torch.argsort(graph.dst, stable=True))
    x, weight = torch.randn(graph.num_nodes, WIDTH), torch.rand(graph.num_edges, 1)
    csr = graph.by_dst
    matrix = torch.sparse_csr_tensor(
        csr.indptr, csr.indices, weight[csr.edge_ids.long(), 0], (graph.num_nodes, graph.num_nodes)
    )
    big = torch.ones(1 << 27)  # 512 MB: far beyond any cache
    with torch.no_grad():
        ours = lambda: mpnn.propagate(graph, lambda x_j, w: x_j * w, x=x, w=weight)  # noqa: E731
        torch.testing.assert_close(ours(), matrix @ x, rtol=1e-4, atol=1e-3)  # sums of 10⁴ numbers
        took = interleaved(repeats, ours=ours, mkl=lambda: matrix @ x, stream=lambda: big.sum())
    bandwidth = big.numel() * 4 / took["stream"] / 1e9
    used = graph.num_edges * (WIDTH * 4 + 12) / took["ours"] / 1e9
    print(
        f"| {name} | {took['ours'] * 1e3:.1f} | {took['mkl'] * 1e3:.1f} | {took['mkl'] / took['ours']:.2f} "
        f"| {used:.1f} | {bandwidth:.1f} | {used / bandwidth:.0%} |"
    )


def main() -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--graph", choices=SHAPES, default="arxiv")
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--keep-freed-memory", action="store_true")
    arguments = parser.parse_args()
    if arguments.keep_freed_memory:
        mpnn.keep_freed_memory()
    edge_index = torch.from_numpy(make(arguments.graph))
    num_nodes = SHAPES[arguments.graph].num_nodes
    graph = mpnn.Graph(edge_index, num_nodes)

    print("| weighted sum | ours ms | MKL ms | MKL / ours | GB/s without reuse | streaming GB/s | share |")
    print("|---|---|---|---|---|---|---|")
    weighted_sum(arguments.graph, graph, arguments.repeats)
    near = (edge_index[1] + torch.randint(-50, 50, (edge_index.size(1),))) % num_nodes
    local = mpnn.Graph(torch.stack([near, edge_index[1]]), num_nodes)
    weighted_sum("the same, neighbours near", local, arguments.repeats)
    shuffle = torch.randperm(num_nodes)
    mixed = mpnn.Graph(shuffle[local.edge_index], num_nodes)
    weighted_sum("that, numbered at random", mixed, arguments.repeats)
    weighted_sum("that, reordered()", mixed.reordered()[0], arguments.repeats)

    src, dst = edge_index
    took = interleaved(
        arguments.repeats,
        compress=lambda: compress(dst, src, num_nodes, num_nodes),
        sort=lambda: src[torch.sort(dst, stable=True).indices],
        read=lambda: (edge_index.numpy().sum(), edge_index.numpy().sum()),
    )
    print(
        f"\nCSR by one end: {took['compress'] * 1e3:.0f} ms; by torch.sort {took['sort'] * 1e3:.0f} ms; ",
        end="",
    )
    print(f"numpy reads the edges twice in {took['read'] * 1e3:.0f} ms")


if __name__ == "__main__":
    main()
