"""Random walks against a plain loop in C, on the same graph with the same number of threads.

    python benchmarks/walks.py --graph large

Times are medians of interleaved repeats; every edge is there in both directions; walks start at random nodes.
"""

from __future__ import annotations

import argparse
import ctypes
import time
from collections.abc import Callable
from functools import cache, partial
from pathlib import Path
from statistics import median

import torch
from graphs import SHAPES, make
from torch import Tensor

import mpnn
from mpnn.native.compiler import load
from mpnn.sampling.walks import sorted_rows

BIASES = ((1.0, 1.0), (0.25, 0.25), (4.0, 0.5), (0.25, 4.0))
REST = 0.02  # seconds until the threads of the previous contender stop spinning


def plain_loop(graph: mpnn.Graph, start: Tensor, length: int, p: float, q: float, threads: int) -> Tensor:
    """The walks of the plain loop."""
    rows, walks = sorted_rows(graph), torch.empty(start.numel(), length + 1, dtype=torch.int64)
    loop = _library().uniform if p == q == 1 else _library().node2vec
    pointers = [ctypes.c_void_p(tensor.data_ptr()) for tensor in (rows.indptr, rows.indices, start)]
    sizes = [ctypes.c_int64(start.numel()), ctypes.c_int64(length)]
    loop(*pointers, *sizes, ctypes.c_double(p), ctypes.c_double(q), ctypes.c_void_p(walks.data_ptr()),
         ctypes.c_int64(threads))  # fmt: skip
    return walks


@cache
def _library() -> ctypes.CDLL:
    return load((Path(__file__).parent / "plain_walks.c").read_text())


def interleaved(repeats: int, *contenders: Callable[[], object]) -> list[float]:
    """Median seconds of each, run in turns."""
    seconds: list[list[float]] = [[] for _ in contenders]
    for turn in range(repeats + 1):
        for taken, run in zip(seconds, contenders, strict=True):
            time.sleep(REST)
            begun = time.perf_counter()
            run()
            if turn:  # the first turn warms up
                taken.append(time.perf_counter() - begun)
    return [median(taken) for taken in seconds]


def main() -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--graph", choices=SHAPES, default="arxiv")
    parser.add_argument("--walks", type=int, default=200_000)
    parser.add_argument("--length", type=int, default=40)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    ends = torch.from_numpy(make(arguments.graph))
    graph, _ = mpnn.Graph(
        torch.cat([ends, ends.flip(0)], dim=1), SHAPES[arguments.graph].num_nodes
    ).coalesce()
    start = torch.randint(graph.num_nodes, (arguments.walks,), generator=torch.Generator().manual_seed(0))
    rows = graph.by_src
    print(f"{arguments.graph}: {graph}, {(rows.indptr.nbytes + rows.indices.nbytes) / 1e6:.0f} MB", end="")
    print(f" of indices, {arguments.threads} threads\n")
    print("| p | q | mpnn, 10⁶ steps/s | plain C, 10⁶ steps/s | ratio |\n|---|---|---|---|---|")
    for p, q in BIASES:
        took = interleaved(
            arguments.repeats,
            partial(mpnn.random_walks, graph, start, arguments.length, p=p, q=q, seed=1),
            partial(plain_loop, graph, start, arguments.length, p, q, arguments.threads),
        )
        speed = [start.numel() * arguments.length / seconds / 1e6 for seconds in took]
        print(f"| {p:g} | {q:g} | {speed[0]:.0f} | {speed[1]:.1f} | {took[1] / took[0]:.1f} |", flush=True)


if __name__ == "__main__":
    main()
