"""Kernels and training steps on a GPU, side by side with their peers, in one run.

    python benchmarks/gpu.py                              # everything; an hour with --compile
    python benchmarks/gpu.py --graphs arxiv --layers GAT SAGE-max
    python benchmarks/gpu.py --dry                        # a tiny graph in Triton's interpreter, no GPU

Times are medians of interleaved repeats by CUDA events. "Bytes without reuse" counts a row of features for
every edge, "compulsory" every row once. Peers: PyG on `edge_index`; the same under `torch.compile` (with
--compile); cuSPARSE through `torch.sparse.mm` on a CSR matrix made before. Every pair gets the same weights
and must give the same output before it is timed.
"""

from __future__ import annotations

import argparse
import os
import platform
import sys
import time
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from statistics import median
from typing import Any

if "--dry" in sys.argv:
    os.environ["TRITON_INTERPRET"] = "1"  # read when Triton is imported

import torch
import torch_geometric
import torch_geometric.nn
from torch import Tensor, nn
from torch.nn import functional as F

import mpnn
import mpnn.models

warnings.filterwarnings("ignore")
EDGE_WIDTH = 16


@dataclass(frozen=True)
class Shape:
    """How many nodes and edges, and how uneven the in-degrees are: the exponent of their power law.

    With `part`, edges stay within groups of `part` nodes, as in a batch of molecules.
    """

    num_nodes: int
    num_edges: int
    skew: float = 0.0
    part: int = 0


SHAPES = {
    "cora": Shape(2_708, 10_556, 0.5),
    "molecules": Shape(102_400, 225_280, 0.0, part=25),
    "arxiv": Shape(169_343, 1_166_243, 0.8),
    "reddit": Shape(232_965, 114_615_892, 0.8),
    "tiny": Shape(10, 40, 0.5),
}
LAYERS: dict[str, tuple[str, dict[str, Any], bool]] = {  # class, arguments, whether edges have features
    "GCN": ("GCNConv", {}, False),
    "SAGE-max": ("SAGEConv", {"aggr": "max"}, False),
    "GINE": ("GINEConv", {"edge_dim": EDGE_WIDTH}, True),
    "GAT": ("GATConv", {"heads": 8}, False),
    "GATv2": ("GATv2Conv", {"heads": 8}, False),
    "Transformer": ("TransformerConv", {"heads": 8}, False),
    "PNA": (
        "PNAConv",
        {
            "aggregators": ["mean", "min", "max", "std"],
            "scalers": ["identity", "amplification", "attenuation"],
        },
        False,
    ),
}


def make(shape: Shape, device: torch.device) -> Tensor:
    """`edge_index [2, num_edges]` from a seed: sources uniform, destinations by a power law, shuffled."""
    generator = torch.Generator(device).manual_seed(0)
    nodes, edges = shape.num_nodes, shape.num_edges

    def uniform(number: int) -> Tensor:
        return torch.rand(number, generator=generator, device=device, dtype=torch.float64)

    if shape.part:
        first = (uniform(edges) * (nodes // shape.part)).long() * shape.part
        return torch.stack([first + (uniform(edges) * shape.part).long() for _ in range(2)])
    weight = (torch.arange(nodes, device=device, dtype=torch.float64) + 10) ** -shape.skew
    cumulated = weight.cumsum(0)
    ranks = torch.searchsorted(cumulated, uniform(edges) * cumulated[-1]).clamp(max=nodes - 1)
    order = torch.randperm(nodes, generator=generator, device=device)
    return torch.stack([(uniform(edges) * nodes).long(), order[ranks]])


# Measuring ------------------------------------------------------------------------------------------------


class Meter:
    """Milliseconds and bytes, on a GPU or, for a dry run, on the CPU."""

    def __init__(self, device: torch.device, repeats: int) -> None:
        self.device, self.repeats = device, repeats

    def _once(self, run: Callable[[], object]) -> float:
        if self.device.type != "cuda":
            began = time.perf_counter()
            run()
            return 1e3 * (time.perf_counter() - began)
        begin, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        begin.record()
        run()
        end.record()
        end.synchronize()
        return begin.elapsed_time(end)

    def times(self, **contenders: Callable[[], object]) -> dict[str, float]:
        """Median milliseconds of each, run in turns; infinite where the memory does not suffice."""
        found: dict[str, list[float]] = {name: [] for name in contenders}
        for turn in range(self.repeats + 3):
            for name, run in contenders.items():
                if found[name] == [torch.inf]:
                    continue
                try:
                    took = self._once(run)
                except torch.OutOfMemoryError:
                    torch.cuda.empty_cache()
                    found[name] = [torch.inf]
                    continue
                if turn > 2:  # the first turns compile and warm up
                    found[name].append(took)
        return {name: median(one) for name, one in found.items()}

    def peak(self, run: Callable[[], object]) -> float:
        """Bytes allocated at the highest point of a run, beyond what was there before."""
        if self.device.type != "cuda":
            return torch.nan
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats(self.device)
        before = torch.cuda.memory_allocated(self.device)
        try:
            run()
        except torch.OutOfMemoryError:
            return torch.inf
        torch.cuda.synchronize(self.device)
        return torch.cuda.max_memory_allocated(self.device) - before

    def copy_bandwidth(self) -> float:
        """Bytes per second of a large copy, read and written."""
        source = torch.ones(1 << (28 if self.device.type == "cuda" else 16), device=self.device)
        target = torch.empty_like(source)
        took = self.times(copy=lambda: target.copy_(source))["copy"]
        return 2 * 4 * source.numel() / took * 1e3


def row(*cells: object) -> None:
    """One line of a Markdown table."""
    print("| " + " | ".join(str(cell) for cell in cells) + " |", flush=True)


def table(*names: str) -> None:
    """The head of a Markdown table."""
    print()
    row(*names)
    row(*("---" for _ in names))


def said(number: float, scale: float = 1.0, digits: int = 3) -> str:
    """A number for a table."""
    if number == torch.inf:
        return "out of memory"
    return "-" if number != number else f"{number * scale:.{digits}g}"


# What is measured -----------------------------------------------------------------------------------------


class Case:
    """A graph with features, in the format of each library."""

    def __init__(self, name: str, width: int, device: torch.device) -> None:
        self.name, self.width, self.shape = name, width, SHAPES[name]
        self.edge_index = make(self.shape, device)
        self.graph = mpnn.Graph(self.edge_index, self.shape.num_nodes)
        generator = torch.Generator(device).manual_seed(1)
        normal: dict[str, Any] = {"generator": generator, "device": device}
        self.x = torch.randn(self.shape.num_nodes, width, **normal)
        self.gradient = torch.randn(self.shape.num_nodes, width, **normal)
        self.weight = torch.rand(self.shape.num_edges, **normal)
        self.device = device

    def edge_attr(self) -> Tensor:
        """Features of the edges, `[num_edges, EDGE_WIDTH]`."""
        generator = torch.Generator(self.device).manual_seed(2)
        return torch.randn(self.shape.num_edges, EDGE_WIDTH, generator=generator, device=self.device)

    def layer(self, module: Any, name: str) -> nn.Module:
        """The layer of that name from `mpnn.models` or `torch_geometric.nn`, with the same weights."""
        kind, options, _ = LAYERS[name]
        options = dict(options)
        torch.manual_seed(0)
        if kind == "GINEConv":
            made = module.GINEConv(nn.Linear(self.width, self.width), **options)
        else:
            if kind == "PNAConv":
                options["deg"] = torch.bincount(self.graph.in_degree.cpu())
            made = getattr(module, kind)(self.width, self.width // options.get("heads", 1), **options)
        return made.to(self.device)

    def step(
        self, module: nn.Module, graph: Any, *edge: Tensor, compiled: bool = False
    ) -> Callable[[], Tensor]:
        """A function that does one step, forward and backward, and returns the output."""
        call: Callable[..., Tensor] = torch.compile(module) if compiled else module
        x = self.x.clone().requires_grad_()
        parameters = [x, *module.parameters()]

        def step() -> Tensor:
            for parameter in parameters:
                parameter.grad = None
            out = call(x, graph, *edge)
            out.backward(self.gradient)
            return out.detach()

        return step


def weighted_sum(case: Case, meter: Meter, bandwidth: float) -> None:
    """A row for Σ w_ij x_j: our kernel, cuSPARSE, and the share of the memory's bandwidth."""
    csr, nodes = case.graph.by_dst, case.shape.num_nodes
    values = case.weight[csr.edge_ids.long()]
    matrix = torch.sparse_csr_tensor(csr.indptr, csr.indices, values, (nodes, nodes))
    weight = case.weight.unsqueeze(1)

    def ours() -> Tensor:
        return mpnn.propagate(case.graph, lambda x_j, w: x_j * w, x=case.x, w=weight)

    with torch.no_grad():
        torch.testing.assert_close(ours(), torch.sparse.mm(matrix, case.x), rtol=1e-3, atol=1e-3)
        took = meter.times(ours=ours, cusparse=lambda: torch.sparse.mm(matrix, case.x))
    edges, line = case.shape.num_edges, 4 * case.width
    index, written = 12 * edges, nodes * line
    without_reuse, compulsory = edges * line + index + written, nodes * line + index + written
    speed = without_reuse / took["ours"] * 1e3
    row(
        case.name, case.width, said(took["ours"]), said(took["cusparse"]),
        said(took["cusparse"] / took["ours"]), said(without_reuse, 1e-9), said(compulsory, 1e-9),
        said(speed, 1e-9), f"{speed / bandwidth:.0%}",
    )  # fmt: skip


def training_step(case: Case, name: str, meter: Meter, compiled: bool) -> None:
    """A row for a layer, forward and backward: ours, PyG's, PyG's compiled; milliseconds and peak memory."""
    edge = [case.edge_attr()] if LAYERS[name][2] else []
    layers = {"ours": case.layer(mpnn.models, name), "pyg": case.layer(torch_geometric.nn, name)}
    layers["ours"].load_state_dict(layers["pyg"].state_dict())
    steps = {
        "ours": case.step(layers["ours"], case.graph, *edge),
        "pyg": case.step(layers["pyg"], case.edge_index, *edge),
    }
    if compiled:
        steps["compiled"] = case.step(layers["pyg"], case.edge_index, *edge, compiled=True)
    try:
        torch.testing.assert_close(steps["ours"](), steps["pyg"](), rtol=1e-2, atol=1e-2)
    except torch.OutOfMemoryError:
        torch.cuda.empty_cache()
    memory = {who: meter.peak(step) for who, step in steps.items()}
    took = meter.times(**steps)
    row(
        case.name, name, said(took["ours"]), said(took["pyg"]), said(took["pyg"] / took["ours"]),
        said(took.get("compiled", torch.nan)), said(took.get("compiled", torch.nan) / took["ours"]),
        said(memory["ours"], 1e-9), said(memory["pyg"], 1e-9),
    )  # fmt: skip


class TwoLayers(nn.Module):
    """The GCN of Kipf and Welling, without its dropout."""

    def __init__(self, library: Any, width: int) -> None:
        super().__init__()
        self.first, self.second = library.GCNConv(width, 16, cached=True), library.GCNConv(16, 7, cached=True)

    def forward(self, x: Tensor, graph: Any) -> Tensor:
        """Class scores, `[num_nodes, 7]`."""
        out: Tensor = self.second(F.relu(self.first(x, graph)), graph)
        return out


def captured_step(case: Case, meter: Meter) -> None:
    """A row for a step of two GCN layers: ours in a CUDA graph, ours launch by launch, and PyG's."""
    y = torch.randint(7, (case.shape.num_nodes,), device=case.device)

    def trainer(library: Any, graph: Any) -> Callable[[], None]:
        torch.manual_seed(0)
        model = TwoLayers(library, case.width).to(case.device)
        on_gpu = case.device.type == "cuda"
        optimizer = torch.optim.Adam(model.parameters(), capturable=on_gpu)

        def step() -> None:
            optimizer.zero_grad(set_to_none=False)
            F.cross_entropy(model(case.x, graph), y).backward()
            optimizer.step()

        return step

    steps = {"ours": trainer(mpnn.models, case.graph), "pyg": trainer(torch_geometric.nn, case.edge_index)}
    if case.device.type == "cuda":
        steps["captured"] = capture(trainer(mpnn.models, case.graph))
    took = meter.times(**steps)
    captured = took.get("captured", torch.nan)
    row(case.name, said(captured), said(took["ours"]), said(took["pyg"]), said(took["pyg"] / captured))


def capture(step: Callable[[], None]) -> Callable[[], None]:
    """A function that replays the launches of a step, recorded in a CUDA graph."""
    side = torch.cuda.Stream()
    side.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(side):
        for _ in range(3):
            step()
    torch.cuda.current_stream().wait_stream(side)
    recorded = torch.cuda.CUDAGraph()
    with torch.cuda.graph(recorded):
        step()
    return recorded.replay


# The run --------------------------------------------------------------------------------------------------


def hardware(device: torch.device) -> Iterator[str]:
    """A line with the GPU and the versions of the libraries."""
    import triton

    yield (
        torch.cuda.get_device_name(device)
        if device.type == "cuda"
        else "no GPU: a dry run, times mean nothing"
    )
    yield f"Python {platform.python_version()}, PyTorch {torch.__version__}, Triton {triton.__version__}"
    yield f"PyTorch Geometric {torch_geometric.__version__}"


def main() -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--graphs", nargs="+", choices=SHAPES, default=["cora", "molecules", "arxiv", "reddit"]
    )
    parser.add_argument("--layers", nargs="*", choices=LAYERS, default=list(LAYERS))
    parser.add_argument("--width", type=int, default=128)
    parser.add_argument("--repeats", type=int, default=20)
    parser.add_argument(
        "--compile", action="store_true", help="PyG under torch.compile as well: minutes a layer"
    )
    parser.add_argument(
        "--dry", action="store_true", help="a tiny graph in Triton's interpreter, without a GPU"
    )
    arguments = parser.parse_args()
    if arguments.dry:
        arguments.graphs, arguments.width, arguments.repeats = ["tiny"], 8, 1
    elif not torch.cuda.is_available():
        parser.exit(1, "There is no CUDA device here: run it where there is one, or with --dry.\n")
    device = torch.device("cpu" if arguments.dry else "cuda")
    meter = Meter(device, arguments.repeats)
    print("; ".join(hardware(device)))
    bandwidth = meter.copy_bandwidth()
    print(f"a copy reads and writes {bandwidth / 1e9:.4g} GB/s")

    with mpnn.backend("triton"):
        table("weighted sum", "width", "ours ms", "cuSPARSE ms", "cuSPARSE / ours", "GB without reuse",
              "GB compulsory", "GB/s without reuse", "of a copy's")  # fmt: skip
        for name in arguments.graphs:
            weighted_sum(Case(name, arguments.width, device), meter, bandwidth)
        table("training step", "layer", "ours ms", "PyG ms", "PyG / ours", "compiled ms", "compiled / ours",
              "ours GB", "PyG GB")  # fmt: skip
        for name in arguments.graphs:
            for layer in arguments.layers:
                training_step(Case(name, arguments.width, device), layer, meter, arguments.compile)
        table("two layers of GCN", "captured ms", "launched ms", "PyG ms", "PyG / captured")
        small = [name for name in arguments.graphs if name in ("cora", "tiny")]
        for name in small:
            captured_step(Case(name, arguments.width, device), meter)


if __name__ == "__main__":
    main()
