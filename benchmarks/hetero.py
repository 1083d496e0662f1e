"""A training step on a graph of three node types and seven relations, side by side with PyG, in one run.

    python benchmarks/hetero.py                         # HeteroConv of SAGE, of GAT, and HGT
    python benchmarks/hetero.py --layers SAGE --repeats 5
    python benchmarks/hetero.py --nodes 2000 --degree 5   # a smaller graph: calls weigh more than loops

Forward and backward of one layer with respect to features and parameters, interleaved repeats; a number is
the median, and the ratio is that of the medians of one run, so another program on the machine slows both.
Before the clock starts both are compared with each other. `by relation` is our own layers one relation after
the other, which is what one step for all relations is compared with.
"""

from __future__ import annotations

import argparse
import time
import warnings
from collections.abc import Callable
from statistics import median
from typing import Any

import torch
from torch import Tensor, nn

warnings.filterwarnings("ignore")
TYPES = ("author", "paper", "venue")
RELATIONS = [
    ("author", "writes", "paper"),
    ("paper", "rev_writes", "author"),
    ("paper", "cites", "paper"),
    ("author", "knows", "author"),
    ("paper", "in", "venue"),
    ("venue", "has", "paper"),
    ("author", "reviews", "paper"),
]
LAYERS = ("SAGE", "GAT", "HGT")
WHO = ("mpnn", "by relation", "pyg")


class Contenders:
    """The same step in each library, with the same weights."""

    def __init__(self, num_nodes: int, degree: int, width: int) -> None:
        generator = torch.Generator().manual_seed(0)
        self.sizes = {"author": num_nodes, "paper": num_nodes, "venue": max(1, num_nodes // 10)}
        self.width = width
        self.x = {
            name: torch.randn(count, width, generator=generator).requires_grad_()
            for name, count in self.sizes.items()
        }
        self.edges = {
            edge_type: torch.stack(
                [
                    torch.randint(self.sizes[edge_type[k]], (degree * num_nodes,), generator=generator)
                    for k in (0, 2)
                ]
            )
            for edge_type in RELATIONS
        }

    def build(self, library: Any, layer: str) -> nn.Module:
        """The layer of that name from `mpnn.models` or `torch_geometric.nn`."""
        torch.manual_seed(0)
        if layer == "HGT":
            made: nn.Module = library.HGTConv(self.width, self.width, (list(TYPES), RELATIONS), heads=8)
            return made.train()
        options = {"heads": 8, "add_self_loops": False} if layer == "GAT" else {}
        out = self.width // options.get("heads", 1)
        conv = getattr(library, f"{layer}Conv")
        made = library.HeteroConv({r: conv((self.width, self.width), out, **options) for r in RELATIONS})
        return made.train()

    def step(self, who: str, layer: str) -> Callable[[], list[Tensor]] | None:
        """A function that does one step and returns outputs and gradients; None if there is none."""
        import torch_geometric.nn

        import mpnn
        import mpnn.models

        graph: Any = self.edges
        theirs = self.build(torch_geometric.nn, layer)
        module = theirs
        if who == "by relation":
            if layer == "HGT":
                return None
            ours = self.build(mpnn.models, layer)
            ours.load_state_dict(theirs.state_dict())
            module = torch_geometric.nn.HeteroConv(dict(ours.convs.items()))  # type: ignore[operator, union-attr]
        elif who == "mpnn":
            module = self.build(mpnn.models, layer)
            module.load_state_dict(theirs.state_dict())
            graph = mpnn.HeteroGraph(self.sizes, self.edges)
        wanted = [*self.x.values(), *(p for _, p in sorted(module.named_parameters()))]

        def once() -> list[Tensor]:
            out = module(self.x, graph)
            outs = [out[name] for name in TYPES]
            total = sum((one.square().mean() for one in outs), torch.zeros(()))
            return [*outs, *torch.autograd.grad(total, wanted)]

        return once


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--layers", nargs="+", choices=LAYERS, default=LAYERS)
    parser.add_argument("--nodes", type=int, default=20_000, help="authors, and as many papers")
    parser.add_argument("--degree", type=int, default=10, help="edges of a relation, for each author")
    parser.add_argument("--width", type=int, default=64)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--threads", type=int)
    args = parser.parse_args()
    if args.threads:
        torch.set_num_threads(args.threads)
    contenders = Contenders(args.nodes, args.degree, args.width)
    edges = sum(edge_index.size(1) for edge_index in contenders.edges.values())
    print(f"{edges:,} edges of {len(RELATIONS)} relations, {args.width} channels, float32, ", end="")
    print(f"{torch.get_num_threads()} thread(s)")
    for layer in args.layers:
        steps = {who: step for who in WHO if (step := contenders.step(who, layer)) is not None}
        found = {who: step() for who, step in steps.items()}
        for who in steps.keys() - {"pyg"}:
            for ours, theirs in zip(found[who], found["pyg"], strict=True):
                torch.testing.assert_close(ours, theirs, rtol=1e-3, atol=1e-4)
        seconds: dict[str, list[float]] = {who: [] for who in steps}
        for _ in range(args.repeats):
            for who, step in steps.items():
                start = time.perf_counter()
                step()
                seconds[who].append(time.perf_counter() - start)
        middle = {who: median(times) for who, times in seconds.items()}
        for who, value in middle.items():
            ratio = middle["pyg"] / value
            print(f"{layer:5} {who:12} {1e3 * value:9.1f} ms   PyG takes {ratio:4.1f} times as long")


if __name__ == "__main__":
    main()
