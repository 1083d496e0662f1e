"""A training step (forward and backward) of one layer, side by side with its peers, in one run.

    python benchmarks/layers.py --graph arxiv                      # times: medians of interleaved repeats
    python benchmarks/layers.py --graph arxiv --memory             # peak memory, a fresh process for each
    python benchmarks/layers.py --graph arxiv --keep-freed-memory  # malloc keeps what is freed
    python benchmarks/layers.py --graph arxiv --dgl PATH/python    # DGL of another environment
    python benchmarks/layers.py --graph arxiv --scatter PATH/python  # PyG with torch-scatter, likewise

Peers: PyG on `edge_index`; PyG on a cached CSR matrix, where the layer has such a path; PyG under
`torch.compile` (with --compile: for the sizes at hand, and compiled before the clock starts); PyG with
torch-scatter; DGL.
"""

from __future__ import annotations

import argparse
import gc
import json
import os
import subprocess
import sys
import time
import warnings
from collections.abc import Callable
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import torch
from graphs import SHAPES, make
from torch import Tensor

warnings.filterwarnings("ignore")
WIDTH, EDGE_WIDTH, RELATIONS = 64, 16, 8
GIVE_BACK = {"MALLOC_MMAP_THRESHOLD_": str(1 << 20)}  # freed memory goes back to the system
NEVER_TRIM = {"MALLOC_TRIM_THRESHOLD_": str(1 << 40), "MALLOC_MMAP_THRESHOLD_": str(1 << 40)}

LAYERS: dict[str, tuple[str, dict[str, Any], str]] = {  # class, arguments, the argument it reads from edges
    "GCN": ("GCNConv", {}, ""),
    "SAGE-mean": ("SAGEConv", {}, ""),
    "SAGE-max": ("SAGEConv", {"aggr": "max"}, ""),
    "GIN": ("GINConv", {}, ""),
    "GINE": ("GINEConv", {"edge_dim": EDGE_WIDTH}, "attr"),
    "GAT": ("GATConv", {"heads": 8}, ""),
    "GATv2": ("GATv2Conv", {"heads": 8}, ""),
    "Transformer": ("TransformerConv", {"heads": 8}, ""),
    "EdgeConv": ("EdgeConv", {}, ""),
    "PNA": (
        "PNAConv",
        {
            "aggregators": ["mean", "min", "max", "std"],
            "scalers": ["identity", "amplification", "attenuation"],
        },
        "",
    ),
    "RGCN": ("RGCNConv", {"num_relations": RELATIONS}, "type"),
}


def build(module: Any, name: str, in_degree: Tensor) -> Any:
    """The layer of that name from `mpnn.models` or `torch_geometric.nn`."""
    kind, options, _ = LAYERS[name]
    torch.manual_seed(0)
    options = dict(options)
    if kind in ("GINConv", "GINEConv"):
        return getattr(module, kind)(torch.nn.Linear(WIDTH, WIDTH), **options)
    if kind == "EdgeConv":
        mlp = torch.nn.Sequential(
            torch.nn.Linear(2 * WIDTH, WIDTH), torch.nn.ReLU(), torch.nn.Linear(WIDTH, WIDTH)
        )
        return module.EdgeConv(mlp)
    if kind == "PNAConv":
        options["deg"] = torch.bincount(in_degree)
    return getattr(module, kind)(WIDTH, WIDTH // options.get("heads", 1), **options)


class Contenders:
    """The same training step in each library."""

    def __init__(self, graph: str) -> None:
        self.edge_index = torch.from_numpy(make(graph))
        self.num_nodes = SHAPES[graph].num_nodes
        generator = torch.Generator().manual_seed(1)
        self.x = torch.randn(self.num_nodes, WIDTH, generator=generator).requires_grad_()
        self.gradient = torch.randn(self.num_nodes, WIDTH, generator=generator)
        num_edges = self.edge_index.size(1)
        self.edge = {
            "attr": torch.randn(num_edges, EDGE_WIDTH, generator=generator),
            "type": torch.randint(RELATIONS, (num_edges,), generator=generator),
        }
        self.in_degree = torch.bincount(self.edge_index[1], minlength=self.num_nodes)

    def step(self, who: str, layer: str) -> Callable[[], float] | None:
        """A function that does one step and returns its seconds; None where the peer has no such path."""
        edge = [self.edge[LAYERS[layer][2]]] if LAYERS[layer][2] else []
        graph: Any = self.edge_index
        if who == "mpnn":
            import mpnn
            import mpnn.models

            module = build(mpnn.models, layer, self.in_degree)
            graph = mpnn.Graph(self.edge_index, self.num_nodes)
        else:
            import torch_geometric.nn

            module = build(torch_geometric.nn, layer, self.in_degree)
            if who == "pyg-csr":
                if layer not in ("GCN", "SAGE-mean", "GIN"):
                    return None
                from torch_geometric.utils import to_torch_csr_tensor

                graph = to_torch_csr_tensor(self.edge_index.flip(0), size=(self.num_nodes,) * 2)
                if layer == "GCN":
                    module.cached = True
            if who == "pyg-compiled":
                torch._dynamo.reset()  # what one layer compiled is no other's
                module = torch.compile(module, dynamic=False)
        parameters = [self.x, *module.parameters()]

        def step() -> float:
            for parameter in parameters:
                parameter.grad = None
            start = time.perf_counter()
            module(self.x, graph, *edge).backward(self.gradient)
            return time.perf_counter() - start

        return step


class Elsewhere:
    """A peer from another environment: a process that answers with seconds."""

    def __init__(self, command: list[str]) -> None:
        self.process = subprocess.Popen(
            command,
            env={name: value for name, value in os.environ.items() if name != "PYTHONPATH"},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def step(self, layer: str) -> float | None:
        """One step's seconds, or None for a layer that the peer does not have."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(layer + "\n")
        self.process.stdin.flush()
        answer: float | None = json.loads(self.process.stdout.readline())
        return answer

    def seconds(self, layer: str) -> float:
        """One step's seconds, of a layer that the peer has."""
        answer = self.step(layer)
        assert answer is not None
        return answer


def times(arguments: argparse.Namespace) -> None:
    """Print the table of times."""
    who = ["mpnn", "pyg", "pyg-csr", *(["pyg-compiled"] if arguments.compile else [])]
    who = [w for w in who if w not in arguments.without]
    contenders = Contenders(arguments.graph)
    others: dict[str, Elsewhere] = {}
    here, graph, threads = Path(__file__), arguments.graph, str(torch.get_num_threads())
    if arguments.scatter:
        serve = [arguments.scatter, str(here), "--graph", graph, "--threads", threads, "--serve"]
        others["pyg-scatter"] = Elsewhere(serve)
    if arguments.dgl:
        others["dgl"] = Elsewhere([arguments.dgl, str(here.with_name("dgl_layers.py")), graph, threads])
    columns = [*who, *others]
    print(f"| layer | {' | '.join(f'{c} ms' for c in columns)} | fastest peer / mpnn |")
    print("|---|" + "---|" * (len(columns) + 1))
    for layer in arguments.layers:
        steps = {w: step for w in who if (step := contenders.step(w, layer)) is not None}
        for name, other in others.items():
            if other.step(layer) is not None:
                steps[name] = partial(other.seconds, layer)
        for w, step in list(steps.items()):
            try:
                step()  # compile, allocate, sort
            except torch._dynamo.exc.TorchDynamoException as error:
                print(f"{w} does not compile {layer}: {str(error).splitlines()[0]}", file=sys.stderr)
                del steps[w]
        seconds: dict[str, list[float]] = {w: [] for w in steps}
        for _ in range(arguments.repeats):
            for w, step in steps.items():
                time.sleep(0.02)  # the threads of the previous contender spin for a while
                seconds[w].append(step())
        middle = {w: median(s) * 1e3 for w, s in seconds.items()}
        peers = [v for w, v in middle.items() if w != "mpnn"]
        cells = [f"{middle[c]:.1f}" if c in middle else "" for c in columns]
        cells.append(f"{min(peers) / middle['mpnn']:.2f}" if peers else "")
        print(f"| {layer} | {' | '.join(cells)} |", flush=True)
        del steps
        gc.collect()


def serve(arguments: argparse.Namespace) -> None:
    """For each layer's name read from the input, print the seconds of one step of PyG's layer."""
    contenders = Contenders(arguments.graph)
    steps: dict[str, Callable[[], float] | None] = {}
    for line in sys.stdin:
        layer = line.strip()
        if layer not in steps:
            steps.clear()
            steps[layer] = contenders.step("pyg", layer)
        step = steps[layer]
        print(json.dumps(None if step is None else step()), flush=True)


def memory(arguments: argparse.Namespace) -> None:
    """Print the table of peak memory above the memory before the step."""
    who = ["mpnn", "pyg"]
    print(f"| layer | {' | '.join(f'{w} MB' for w in who)} | pyg / mpnn |")
    print("|---|---|---|---|")
    for layer in arguments.layers:
        peaks = {}
        for w in who:
            command = [sys.executable, __file__, "--graph", arguments.graph, "--one", w, "--layers", layer]
            done = subprocess.run(
                command, env=os.environ | GIVE_BACK, capture_output=True, text=True, check=False
            )
            peaks[w] = float(done.stdout) if done.returncode == 0 else float("nan")
        cells = [f"{peaks[w]:.0f}" for w in who]
        print(f"| {layer} | {' | '.join(cells)} | {peaks['pyg'] / peaks['mpnn']:.1f} |", flush=True)


def one(arguments: argparse.Namespace) -> None:
    """Print the peak memory of one step in MB, in this process, above the memory before it."""
    contenders = Contenders(arguments.graph)
    step = contenders.step(arguments.one, arguments.layers[0])
    assert step is not None
    # A step on a small graph first: kernels are compiled, and libraries have allocated their own memory.
    small = Contenders("coauthor").step(arguments.one, arguments.layers[0])
    assert small is not None
    small()
    del small
    before = _resident("VmRSS")
    Path("/proc/self/clear_refs").write_text("5")  # the high-water mark starts anew
    step()
    print((_resident("VmHWM") - before) / 1024)


def _resident(which: str) -> float:
    lines = Path("/proc/self/status").read_text().splitlines()
    return float(next(line.split()[1] for line in lines if line.startswith(which)))


def main() -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--graph", choices=SHAPES, default="arxiv")
    parser.add_argument("--layers", nargs="+", choices=LAYERS, default=list(LAYERS))
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--threads", type=int, default=0, help="of PyTorch; 0 leaves its own choice")
    parser.add_argument("--compile", action="store_true", help="also PyG under torch.compile")
    parser.add_argument("--dgl", metavar="PYTHON", help="an interpreter that can import DGL")
    parser.add_argument("--scatter", metavar="PYTHON", help="an interpreter whose PyG has torch-scatter")
    parser.add_argument("--without", nargs="+", default=[], help="peers that there is no memory for")
    parser.add_argument("--memory", action="store_true")
    parser.add_argument("--keep-freed-memory", action="store_true")
    parser.add_argument("--one", help=argparse.SUPPRESS)
    parser.add_argument("--serve", action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.keep_freed_memory and NEVER_TRIM.items() - os.environ.items():
        os.execve(sys.executable, [sys.executable, *sys.argv], os.environ | NEVER_TRIM)
    if arguments.threads:
        torch.set_num_threads(arguments.threads)
    if arguments.serve:
        serve(arguments)
    elif arguments.one:
        one(arguments)
    elif arguments.memory:
        memory(arguments)
    else:
        times(arguments)


if __name__ == "__main__":
    np.seterr(all="raise")
    main()
