"""Asynchronous sweeps of a Hopfield network on a sparse graph, beside loops in C and in Python.

    python benchmarks/sweeps.py                     # 10,000 units of 6 neighbours on average

`fixed` is one of several sweeps in one order, `fresh` a sweep in an order that is drawn for it, for which the
loop in C draws one as well. The loop in C is what one writes for this network alone, by the compiler and
with the flags of the kernels; the loop in Python is on lists, which are faster there than tensors. Everything
runs in turn in this process, and the least time of `--repeats` counts. The states must be equal.

`uniforms` is the time of as many random numbers as a sweep of Gibbs sampling takes, beside `torch.rand`.
"""

from __future__ import annotations

import argparse
import ctypes
import time
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

import mpnn
from mpnn import Graph, MessagePassing, Schedule, iterate
from mpnn.native.compiler import load
from mpnn.native.gate import address

LOOP = """
#include <stdint.h>
void sweep(int64_t n, const int64_t *order, const int32_t *indptr, const int32_t *indices,
           const int32_t *edge_ids, const float *w, float *s, int64_t chains, float *sum)
{
    for (int64_t k = 0; k < n; k++) {
        const int64_t i = order[k];
        float *mine = s + i * chains;
        for (int64_t c = 0; c < chains; c++) sum[c] = 0;
        for (int32_t slot = indptr[i]; slot < indptr[i + 1]; slot++) {
            const float weight = w[edge_ids[slot]], *theirs = s + indices[slot] * chains;
            for (int64_t c = 0; c < chains; c++) sum[c] += weight * theirs[c];
        }
        for (int64_t c = 0; c < chains; c++) mine[c] = sum[c] > 0 ? 1 : sum[c] < 0 ? -1 : mine[c];
    }
}
"""


class Hopfield(MessagePassing):
    """s_i = sign(Σ_j w_ij s_j), s_i itself where that is 0."""

    state = ("s",)

    def message(self, s_j: Tensor, w: Tensor) -> Tensor:  # type: ignore[override]
        """w_ij s_j."""
        return w.view(-1, *[1] * (s_j.dim() - 1)) * s_j

    def update(self, inputs: Tensor, s: Tensor) -> Tensor:  # type: ignore[override]
        """The sign of what was received."""
        return torch.where(inputs == 0, s, inputs.sign())


class Case:
    """The graph, its weights, and the three ways to sweep over it."""

    def __init__(self, nodes: int, degree: int, seed: int = 0) -> None:
        generator = torch.Generator().manual_seed(seed)
        ends = torch.randint(nodes, (2, nodes * degree // 2), generator=generator)
        ends = ends[:, ends[0] != ends[1]]
        self.graph = Graph(torch.cat([ends, ends.flip(0)], 1), nodes)
        self.w = torch.randn(ends.size(1), generator=generator).repeat(2)
        self.order = torch.randperm(nodes, generator=generator)
        self.generator = generator
        self._loop: Any = load(LOOP).sweep

    def states(self, chains: int) -> Tensor:
        """±1, `[num_nodes]`, or `[num_nodes, chains]`."""
        shape = (self.graph.num_nodes, *([chains] if chains > 1 else []))
        return torch.randn(shape, generator=self.generator).sign()

    def ours(self, s: Tensor, order: Schedule, sweeps: int) -> Tensor:
        """By `mpnn.iterate`."""
        found: Tensor = iterate(Hopfield(), self.graph, s, schedule=order, steps=sweeps, w=self.w).state
        return found

    def in_c(self, s: Tensor, order: Tensor) -> None:
        """By the loop in C, in place."""
        csr, n, edges = self.graph.by_dst, self.graph.num_nodes, self.graph.num_edges
        chains = s.numel() // n
        total = torch.empty(chains)
        places = [
            address(order, torch.int64, n),
            address(csr.indptr, torch.int32, n + 1),
            address(csr.indices, torch.int32, edges),
            address(csr.edge_ids, torch.int32, edges),
            address(self.w, torch.float32, edges),
            address(s, torch.float32, s.numel()),
        ]
        long, pointer = ctypes.c_int64, ctypes.c_void_p
        self._loop(
            long(n), *map(pointer, places), long(chains), pointer(address(total, torch.float32, chains))
        )

    def in_python(self, s: Tensor) -> float:
        """Seconds of the loop in Python over one chain, without the making of its lists."""
        csr, state, w = self.graph.by_dst, s.tolist(), self.w.tolist()
        indptr, indices, edges = csr.indptr.tolist(), csr.indices.tolist(), csr.edge_ids.tolist()
        order, began = self.order.tolist(), time.perf_counter()
        for i in order:
            total = 0.0
            for slot in range(indptr[i], indptr[i + 1]):
                total += w[edges[slot]] * state[indices[slot]]
            state[i] = 1.0 if total > 0 else -1.0 if total < 0 else state[i]
        return time.perf_counter() - began


def seconds(call: Callable[[], Any]) -> float:
    """Of one call."""
    began = time.perf_counter()
    call()
    return time.perf_counter() - began


def main() -> None:
    """Read the command line, and print a row for each number of chains."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("--nodes", type=int, default=10_000)
    add("--degree", type=int, default=6)
    add("--chains", type=int, nargs="*", default=[1, 1000])
    add("--repeats", type=int, default=15)
    add("--threads", type=int, default=1)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    case, nodes = Case(arguments.nodes, arguments.degree), arguments.nodes
    fixed = Schedule.asynchronous(case.order)
    print(f"{case.graph}, {arguments.threads} thread(s); milliseconds a sweep, uniforms a call")
    for chains in arguments.chains:
        s, sweeps = case.states(chains), 5 if chains < 100 else 2
        looped = s.clone()
        for _ in range(sweeps):
            case.in_c(looped, case.order)
        assert torch.equal(case.ours(s, fixed, sweeps), looped)
        ways: dict[str, tuple[Callable[[], Any], int]] = {
            "fixed": (lambda s=s, k=sweeps: case.ours(s, fixed, k), sweeps),  # type: ignore[misc]
            "in C": (lambda s=looped: case.in_c(s, case.order), 1),  # type: ignore[misc]
            "fresh": (lambda s=s: case.ours(s, Schedule.asynchronous(torch.randperm(nodes)), 1), 1),  # type: ignore[misc]
            "fresh in C": (lambda s=looped: case.in_c(s, torch.randperm(nodes)), 1),  # type: ignore[misc]
            "uniforms": (lambda s=s: mpnn.uniforms(0, 1, s.shape), 1),  # type: ignore[misc]
            "torch.rand": (lambda s=s: torch.rand(s.shape), 1),  # type: ignore[misc]
        }
        least = dict.fromkeys(ways, float("inf"))
        python = float("inf")
        for _ in range(arguments.repeats):
            for name, (call, number) in ways.items():
                least[name] = min(least[name], seconds(call) / number)
            python = min(python, case.in_python(s.view(nodes, -1)[:, 0]))
        times = ", ".join(f"{name} {1000 * t:.3g}" for name, t in least.items())
        print(f"{chains} chain(s): {times}, in Python (one chain) {1000 * python:.3g}")


if __name__ == "__main__":
    main()
