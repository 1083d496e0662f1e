"""Models that become files, each with inputs of one size to trace and of other sizes to run on."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.export import Dim

from mpnn import models
from mpnn.train import export

ENDINGS = {"onnx": ".onnx", "pt2": ".pt2", "torchscript": ".pt"}
WIDTH, EDGE_WIDTH = 6, 3


@dataclass(frozen=True)
class Case:
    """A model and its inputs."""

    name: str
    make: Callable[[], nn.Module]
    names: Sequence[str]
    draw: Callable[[int, int], Sequence[Tensor]]
    counts: Sequence[tuple[int, int]]  # of nodes and edges, or of sequences and steps; the first is traced
    sizes: Mapping[str, Mapping[int, str | Dim]] | None = None
    compiles: bool = True  # whether what AOTInductor makes of it is right for all sizes

    def __str__(self) -> str:
        return self.name

    def write(self, home: Path, to: str) -> None:
        """The file, and what it must give."""
        torch.manual_seed(0)
        model = self.make().eval()
        inputs = [list(self.draw(*count)) for count in self.counts]
        export(
            model, dict(zip(self.names, inputs[0], strict=True)), self.path(home, to), to=to, sizes=self.sizes
        )
        with torch.no_grad():
            wanted = [first(model(*given)) for given in inputs]
        torch.save(list(zip(inputs, wanted, strict=True)), home / f"{self.name}.wanted")

    def path(self, home: Path, to: str) -> Path:
        """Where the file is."""
        return home / f"{self.name}{ENDINGS[to]}"


def first(output: Tensor | tuple[Tensor, ...]) -> Tensor:
    """The output, or the first of several."""
    return output if isinstance(output, Tensor) else output[0]


def _graph(num_nodes: int, num_edges: int) -> list[Tensor]:
    """Some edges are repeated, and the first is a loop, if there is one."""
    draw = torch.Generator().manual_seed(num_nodes + num_edges)
    ends = torch.randint(num_nodes, (2, num_edges), generator=draw)
    ends[:, :1] = 0
    return [torch.randn(num_nodes, WIDTH, generator=draw), ends]


def _attributed(num_nodes: int, num_edges: int) -> list[Tensor]:
    x, ends = _graph(num_nodes, num_edges)
    return [x, ends, torch.linspace(-1, 1, num_edges * EDGE_WIDTH).view(num_edges, EDGE_WIDTH)]


def _typed(num_nodes: int, num_edges: int) -> list[Tensor]:
    return [*_graph(num_nodes, num_edges), torch.arange(num_edges) % 3]


# A larger graph, one without edges, one node, one edge; and one whose numbers of nodes and edges are equal.
GRAPHS = ((12, 30), (17, 53), (17, 0), (1, 0), (9, 1), (11, 11), (5, 7))
SEQUENCES = ((2, 5), (5, 9), (3, 2), (1, 1))
IN_TIME = {0: "batch", 1: "length"}


def _on_graph(name: str, make: Callable[[], nn.Module], *more: str) -> Case:
    draw = {"edge_attr": _attributed, "edge_type": _typed}.get("".join(more), _graph)
    return Case(name, make, ("x", "edge_index", *more), draw, GRAPHS)


def _in_time(name: str, make: Callable[[], nn.Module], compiles: bool = True) -> Case:
    def draw(batch: int, length: int) -> list[Tensor]:
        return [torch.linspace(-1, 1, batch * length * 8).view(batch, length, 8)]

    return Case(name, make, ("x",), draw, SEQUENCES, {"x": IN_TIME}, compiles)


def _perceptron(in_channels: int = WIDTH) -> nn.Module:
    return nn.Sequential(nn.Linear(in_channels, 8), nn.ReLU(), nn.Linear(8, 4))


DEGREES = torch.tensor([1, 3, 4, 2])
PNA = (["mean", "max", "min", "std"], ["identity", "amplification", "attenuation"], DEGREES)

CASES = [
    _on_graph("GCN", lambda: models.GNN(WIDTH, 8, 4, conv="gcn")),
    _on_graph("GAT", lambda: models.GATConv(WIDTH, 4, heads=2)),
    _on_graph("GATv2", lambda: models.GATv2Conv(WIDTH, 4, heads=2, edge_dim=EDGE_WIDTH), "edge_attr"),
    _on_graph("SAGE", lambda: models.SAGEConv(WIDTH, 4)),
    _on_graph("GIN", lambda: models.GINConv(_perceptron())),
    _on_graph("GINE", lambda: models.GINEConv(_perceptron(), edge_dim=EDGE_WIDTH), "edge_attr"),
    _on_graph("PNA", lambda: models.PNAConv(WIDTH, 4, *PNA)),
    _on_graph("Transformer", lambda: models.TransformerConv(WIDTH, 4, heads=2)),
    _on_graph("Cheb", lambda: models.ChebConv(WIDTH, 4, K=3)),
    _on_graph("SG", lambda: models.SGConv(WIDTH, 4, K=2)),
    _on_graph("APPNP", lambda: models.APPNP(K=3, alpha=0.1)),
    _on_graph("RGCN", lambda: models.RGCNConv(WIDTH, 4, 3), "edge_type"),
    _on_graph("EdgeConv", lambda: models.EdgeConv(_perceptron(2 * WIDTH))),
    Case(
        "LeNet",
        models.LeNet,
        ("x",),
        lambda batch, _: [torch.linspace(-1, 1, batch * 784).view(batch, 1, 28, 28)],
        ((2, 0), (5, 0), (1, 0)),
        {"x": {0: "batch"}},
    ),
    _in_time("LSTM", lambda: models.LSTM(8, 6, 2, batch_first=True, bidirectional=True)),
    _in_time("GRU", lambda: models.GRU(8, 6, batch_first=True), compiles=False),
    _in_time(
        "Transformer encoder",
        lambda: models.TransformerEncoder(models.TransformerEncoderLayer(8, 2, 16, batch_first=True), 2),
    ),
    Case(
        "Causal Transformer",
        lambda: models.CausalTransformer(11, 8, 2, 2, context=9),
        ("tokens",),
        lambda batch, length: [torch.arange(batch * length).view(batch, length) % 11],
        SEQUENCES,
        {"tokens": {0: "batch", 1: Dim("length", max=9)}},
    ),
]
