"""Lowered layers against torch.nn's, forward and backward, side by side in one run.

    python benchmarks/dense.py            # times: medians of interleaved repeats
    python benchmarks/dense.py --memory   # peak memory of one step, a fresh process for each
    python benchmarks/dense.py --tiny     # the table of tiny layers alone
    python benchmarks/dense.py --long     # peak memory of causal and windowed attention on long sequences

Three ways to the same kernel: our layer on torch.nn's tensors; our layer with a graph, where `propagate`
finds the kernel by reading the message; and, for attention, a user's layer.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

import mpnn
from mpnn import models, topology

Step = Callable[[], None]


class Case(NamedTuple):
    """A layer on inputs of one size: a step with torch.nn's layer, and steps with ours by name."""

    name: str
    theirs: Callable[[], Step]
    ours: dict[str, Callable[[], Step]]


def step(function: Callable[..., Tensor], inputs: list[Tensor], parameters: Any = ()) -> Step:
    """One step forward and backward."""
    leaves = [*inputs, *parameters]
    gradient = torch.ones_like(function(*inputs))

    def run() -> None:
        for leaf in leaves:
            leaf.grad = None
        function(*inputs).backward(gradient)

    return run


def leaf(*shape: int) -> Tensor:
    """A random input that requires a gradient."""
    return torch.randn(shape, generator=torch.Generator().manual_seed(0)).requires_grad_()


def convolution(batch: int, channels: int, extent: int, out: int) -> Case:
    """A convolution with a window of 3 by 3."""

    def layer(module: Any) -> Step:
        conv = module.Conv2d(channels, out, 3, padding=1)
        return step(conv, [leaf(batch, channels, extent, extent)], conv.parameters())

    def on_graph() -> Step:
        conv = models.Conv2d(channels, out, 3, padding=1)
        grid = topology.grid((extent, extent), 3, padding="same", batch=batch)
        rows = leaf(batch * extent**2, channels)
        return step(lambda x: conv(x, graph=grid), [rows], conv.parameters())

    name = f"Conv2d {batch}×{channels}×{extent}×{extent} → {out}, 3×3"
    return Case(name, lambda: layer(nn), {"layer": lambda: layer(models), "on a graph": on_graph})


def recurrence(batch: int, length: int, width: int) -> Case:
    """An LSTM of one layer."""

    def layer(module: Any) -> Step:
        lstm = module.LSTM(width, width, batch_first=True)
        return step(lambda x: lstm(x)[0], [leaf(batch, length, width)], lstm.parameters())

    def on_graph() -> Step:
        lstm = models.LSTM(width, width)
        chain = topology.chain([length] * batch)
        return step(lambda x: lstm(x, graph=chain)[0], [leaf(batch * length, width)], lstm.parameters())

    name = f"LSTM batch {batch}, T = {length}, hidden {width}"
    return Case(name, lambda: layer(nn), {"layer": lambda: layer(models), "on a graph": on_graph})


def attention(batch: int, heads: int, length: int, channels: int) -> Case:
    """Self-attention with its projections."""
    width = heads * channels

    def layer(module: Any) -> Step:
        attend = module.MultiheadAttention(width, heads, batch_first=True)
        x = leaf(batch, length, width)
        return step(lambda x: attend(x, x, x, need_weights=False)[0], [x], attend.parameters())

    def on_graph() -> Step:
        attend = models.MultiheadAttention(width, heads)
        graph = topology.complete([length] * batch)
        return step(
            lambda x: attend(x, x, x, need_weights=False, graph=graph)[0],
            [leaf(batch * length, width)],
            attend.parameters(),
        )

    name = f"MultiheadAttention B = {batch}, H = {heads}, T = {length}, D = {channels}"
    return Case(name, lambda: layer(nn), {"layer": lambda: layer(models), "on a graph": on_graph})


class Own(mpnn.MessagePassing):
    """Σ_j softmax_j(q_i·k_j / √d) v_j, as a user writes it."""

    def __init__(self) -> None:
        super().__init__(aggr="softmax")

    def message(self, q_i: Tensor, k_j: Tensor, v_j: Tensor) -> tuple[Tensor, Tensor]:
        return (q_i * k_j).sum(-1) / q_i.size(-1) ** 0.5, v_j

    def forward(self, q: Tensor, k: Tensor, v: Tensor, graph: mpnn.Graph) -> Tensor:
        out: Tensor = self.propagate(graph, q=q, k=k, v=v)
        return out


def own_attention(batch: int, heads: int, length: int, channels: int) -> Case:
    """A user's layer on a complete graph, against PyTorch's function for it."""

    def theirs() -> Step:
        qkv = [leaf(batch, length, heads, channels) for _ in range(3)]

        def attend(*qkv: Tensor) -> Tensor:
            q, k, v = (x.transpose(1, 2) for x in qkv)
            return F.scaled_dot_product_attention(q, k, v).transpose(1, 2)

        return step(attend, qkv)

    def ours() -> Step:
        layer, graph = Own(), topology.complete([length] * batch)
        qkv = [leaf(batch * length, heads, channels) for _ in range(3)]
        return step(lambda q, k, v: layer(q, k, v, graph), qkv)

    name = f"attention B = {batch}, H = {heads}, T = {length}, D = {channels}"
    return Case(name, theirs, {"a user's layer": ours})


LARGE = [convolution(32, 16, 28, 32), recurrence(32, 100, 128), attention(8, 8, 256, 64)]
LARGE += [own_attention(8, 8, 256, 64)]
TINY = [convolution(1, 2, 4, 2), recurrence(1, 2, 4), attention(1, 2, 4, 4), own_attention(1, 2, 4, 4)]


def medians(contenders: dict[str, Step], repeats: int, steps: int) -> dict[str, float]:
    """Median seconds of a step of each contender, which take turns."""
    seconds: dict[str, list[float]] = {name: [] for name in contenders}
    for run in contenders.values():
        for _ in range(3):
            run()
    for _ in range(repeats):
        for name, run in contenders.items():
            time.sleep(0.02)  # the threads of the previous contender spin for a while
            run()
            start = time.perf_counter()
            for _ in range(steps):
                run()
            seconds[name].append((time.perf_counter() - start) / steps)
    return {name: median(found) for name, found in seconds.items()}


def times(repeats: int) -> None:
    """Print the table of the times of large layers."""
    print("| layer | way | torch.nn ms | mpnn ms | mpnn / torch.nn |\n|---|---|---|---|---|")
    for case in LARGE:
        found = medians({"": case.theirs(), **{way: make() for way, make in case.ours.items()}}, repeats, 1)
        for way in case.ours:
            cells = f"{found[''] * 1e3:.2f} | {found[way] * 1e3:.2f} | {found[way] / found['']:.3f}"
            print(f"| {case.name} | {way} | {cells} |", flush=True)


def tiny_times(repeats: int) -> None:
    """Print the table of the times of tiny layers, on one thread."""
    torch.set_num_threads(1)
    print("\n| tiny layer | way | torch.nn µs | mpnn µs | more µs |\n|---|---|---|---|---|")
    for case in TINY:
        found = medians({"": case.theirs(), **{way: make() for way, make in case.ours.items()}}, repeats, 50)
        for way in case.ours:
            cells = f"{found[''] * 1e6:.0f} | {found[way] * 1e6:.0f} | {(found[way] - found['']) * 1e6:+.0f}"
            print(f"| {case.name} | {way} | {cells} |", flush=True)


def memory(repeats: int) -> None:
    """Print the table of peak memory."""
    print("| layer | way | torch.nn MB | mpnn MB | mpnn / torch.nn |\n|---|---|---|---|---|")
    for k, case in enumerate(LARGE):
        theirs = fresh(["--one", str(k)], repeats)
        for way in case.ours:
            ours = fresh(["--one", str(k), "--way", way], repeats)
            print(f"| {case.name} | {way} | {theirs:.1f} | {ours:.1f} | {ours / theirs:.3f} |", flush=True)


def fresh(options: list[str], repeats: int, script: str = __file__) -> float:
    """The median of the numbers that a script prints in several fresh processes."""
    # malloc returns freed memory at once; else a step would reuse an earlier step's memory, and show no peak.
    environment = os.environ | {"MALLOC_MMAP_THRESHOLD_": "65536", "MALLOC_TRIM_THRESHOLD_": "0"}
    command = [sys.executable, script, *options]
    found = []
    for _ in range(repeats):
        done = subprocess.run(command, env=environment, stdout=subprocess.PIPE, text=True, check=True)
        found.append(float(done.stdout))
    return median(found)


def peak(run: Step) -> float:
    """The peak memory of a step in MB, above what there is before it."""
    before = _resident("VmRSS")
    Path("/proc/self/clear_refs").write_text("5")  # the high-water mark starts anew
    run()
    return (_resident("VmHWM") - before) / 1024


def _resident(which: str) -> float:
    lines = Path("/proc/self/status").read_text().splitlines()
    return float(next(line.split()[1] for line in lines if line.startswith(which)))


LONG = {
    "causal": lambda length: topology.causal(length),
    "window of 256": lambda length: topology.band(length, 256, causal=True),
    "window of 256, a bias per edge": lambda length: topology.band(length, 256, causal=True),
}


def long(lengths: list[int]) -> None:
    """Print the table of peak memory on long sequences."""
    print(f"| attention, H = 4, D = 16 | {' | '.join(f'T = {n}' for n in lengths)} |")
    print("|---|" + "---|" * len(lengths))
    for name in LONG:
        cells = [f"{fresh(['--long-one', name, str(n)], 1):.0f} MB" for n in lengths]
        print(f"| {name} | {' | '.join(cells)} |", flush=True)
    cells = [f"{4 * 4 * n * n >> 20} MB" for n in lengths]
    print(f"| one matrix of T × T for each head | {' | '.join(cells)} |")


def long_one(name: str, length: int) -> float:
    """The peak memory of one attention of a length."""
    graph = LONG[name](length)
    attend = models.MultiheadAttention(64, 4)
    x = leaf(length, 64)
    bias = torch.zeros(graph.num_edges) if "bias" in name else None

    def once(x: Tensor, graph: mpnn.Graph, bias: Tensor | None) -> None:
        attend(x, x, x, attn_mask=bias, need_weights=False, graph=graph)[0].sum().backward()

    small = LONG[name](8)
    once(leaf(8, 64), small, None if bias is None else torch.zeros(small.num_edges))
    return peak(lambda: once(x, graph, bias))


def main() -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--repeats", type=int, default=31)
    parser.add_argument("--memory", action="store_true")
    parser.add_argument("--tiny", action="store_true")
    parser.add_argument("--long", action="store_true")
    parser.add_argument("--one", type=int, help=argparse.SUPPRESS)
    parser.add_argument("--way", help=argparse.SUPPRESS)
    parser.add_argument("--long-one", nargs=2, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.one is not None:
        case, tiny = LARGE[arguments.one], TINY[arguments.one]
        for which in (tiny, case):  # libraries are loaded and messages traced before the clock starts
            run = which.ours[arguments.way]() if arguments.way else which.theirs()
            made = peak(run)
        print(made)
    elif arguments.long_one is not None:
        print(long_one(arguments.long_one[0], int(arguments.long_one[1])))
    elif arguments.memory:
        memory(min(arguments.repeats, 5))
    elif arguments.long:
        long([2048, 8192, 32768])
    else:
        if not arguments.tiny:
            times(arguments.repeats)
        tiny_times(arguments.repeats)


if __name__ == "__main__":
    main()
