"""CONTRIBUTING's table "One small thing in one place", row by row.

Each toy is what a newcomer would write, put into the list that the row names and into nothing else.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch_geometric.utils import scatter

import mpnn
from mpnn import Graph, models, topology
from mpnn.aggregate.aggregators import AGGREGATORS, Aggregator
from mpnn.aggregate.reduction import Applied
from mpnn.aggregate.reductions import MAX, MIN, SUM
from mpnn.backends import eager
from mpnn.backends.choice import BACKENDS
from mpnn.datasets import DATASETS, NodeDataset
from mpnn.datasets.own.columns import Columns
from mpnn.datasets.own.edge_list import EdgeList
from mpnn.datasets.own.readers import READERS
from mpnn.datasets.registry import Entry
from mpnn.graph.adjacency import Topology
from mpnn.lowering import RULES, Example
from mpnn.lowering.match import PROBES, is_source_field, probes
from mpnn.lowering.reading import MESSAGES, Reading
from mpnn.lowering.rule import Lowered, NoMatchError, Rule
from mpnn.models.conv.layer import Layer
from mpnn.models.conv.registry import Conv, plain
from mpnn.models.parts.linear import Projection
from mpnn.step.step import Step
from mpnn.topology import Star
from mpnn.topology.ragged import Sequences
from mpnn.train import KINDS, preset
from mpnn.train.command import cli
from mpnn.train.kinds.node import PRESETS
from tests import laws
from tests.compare import assert_close, assert_same
from tests.core.graphs import random_graph
from tests.core.lowering.test_lowering import On
from tests.core.running import assert_like_eager
from tests.core.topology import test_laws as topology_laws
from tests.models.graphs import WIDTH
from tests.test_repository import BLOCK
from tests.train.kinds.test_new_kind import AUTOENCODE

HOME = Path(__file__).parents[1]
TRAIN = ["train", "node", "--epochs", "2", "--no-pictures"]


# A layer -----------------------------------------------------------------------------------------------


class Contrast(Layer):
    """h_i' = W (h_i - max_j h_j)."""

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__("max")
        self.lin: nn.Module = Projection(in_channels, out_channels)

    def forward(self, x: Tensor, graph: Topology) -> Tensor:
        x, graph = self.read_nodes(x, graph)
        out: Tensor = self.lin(x - self.propagate(graph, x=x))
        return out


def a_layer(patch: pytest.MonkeyPatch, folder: Path) -> None:
    patch.setitem(models.CONVS, "contrast", Conv(Contrast, "the difference to the largest", plain(Contrast)))
    assert len([m for m in models.GNN(WIDTH, 8, 3, conv="contrast").modules() if type(m) is Contrast]) == 2
    for law in laws.LAWS:
        law(laws.layer("contrast"))
    assert cli.main([*TRAIN, "--dataset", "karate", "--model", "contrast", "--out", str(folder / "run")]) == 0


# An aggregator -----------------------------------------------------------------------------------------


class Range(Aggregator):
    """max_j m_j - min_j m_j."""

    name = "range"
    num_reductions = 2

    def split(self, messages: Tensor) -> list[Applied]:
        return [MAX(messages), MIN(messages)]

    def merge(self, reduced: list[Tensor], count: Tensor) -> Tensor:
        return reduced[0] - reduced[1]


def an_aggregator_made_of_known_reductions(patch: pytest.MonkeyPatch, folder: Path) -> None:
    patch.setitem(AGGREGATORS, "range", Range)
    graph, x = random_graph(), torch.randn(9, 4, dtype=torch.float64)

    def theirs(x: Tensor) -> Tensor:
        given = x[graph.src].sin(), graph.dst, 0, graph.num_nodes
        return scatter(*given, reduce="max") - scatter(*given, reduce="min")

    assert_same(lambda x: mpnn.propagate(graph, lambda x_j: x_j.sin(), "range", x=x), theirs, [x])
    assert_like_eager(graph, lambda x_j: x_j.sin(), "range", {"x": x})


# A thing that every edge carries ---------------------------------------------------------------------------


def a_thing_that_every_edge_carries(patch: pytest.MonkeyPatch, folder: Path) -> None:
    # A line of a record: a toy would be a new class, so here the one that is there shows that it goes along.
    times = torch.tensor([3.0, 1.0, 2.0])
    graph = Graph(torch.tensor([[0, 1, 2], [1, 2, 0]]), 3, edge_time=times)
    kept = torch.tensor([2, 0])
    for made in (graph.edge_subgraph(kept), graph.reverse().edge_subgraph(kept)):
        assert made.edge_time is not None
        assert_close(made.edge_time, times[kept])


# A topology --------------------------------------------------------------------------------------------


class Countdown(Sequences):
    """Node i receives from node i + 1."""

    def __init__(self, lengths: tuple[int, ...]) -> None:
        super().__init__(lengths, [max(n - 1, 0) for n in lengths], device=None)

    def _row(self, i: Tensor, num_src: Tensor) -> tuple[Tensor, Tensor]:
        return i + 1, (i + 1 < num_src).long()

    def _num_receivers(self, j: Tensor, num_dst: Tensor) -> Tensor:
        return (j > 0).long()


def a_topology(patch: pytest.MonkeyPatch, folder: Path) -> None:
    patch.setattr(topology, "countdown", lambda *lengths: Countdown(lengths), raising=False)
    assert topology.countdown(3).edge_index.tolist() == [[1, 2], [0, 1]]  # type: ignore[attr-defined]
    for graph in (Countdown((4, 0, 1, 3)), Countdown((4, 0, 1, 3)).reverse()):
        topology_laws.test_a_topology_is_the_explicit_graph_of_its_edges(graph)
    x = torch.randn(8, 2, dtype=torch.float64)
    others = topology.chain([4, 0, 1, 3]).reverse()
    ours, theirs = (partial(_received, graph) for graph in (Countdown((4, 0, 1, 3)), others))
    assert_same(ours, theirs, [x])


def _received(graph: Graph, x: Tensor) -> Tensor:
    received: Tensor = mpnn.propagate(graph, lambda x_j: x_j, x=x)
    return received


# A data set --------------------------------------------------------------------------------------------


def load_pairs() -> NodeDataset:
    """Twenty pairs of nodes, each to tell on which side of its pair it is."""
    nodes = torch.arange(40)
    side, part = nodes % 2, nodes // 2 % 3
    return NodeDataset(
        name="pairs",
        graph=Graph(torch.stack([nodes, nodes ^ 1]), 40),
        x=torch.stack([side.float(), torch.rand(40)], 1),
        y=side,
        train_mask=part == 0,
        val_mask=part == 1,
        test_mask=part == 2,
        class_names=("left", "right"),
    )


def a_data_set(patch: pytest.MonkeyPatch, folder: Path) -> None:
    patch.setitem(DATASETS, "pairs", Entry(load_pairs, "20 pairs", False, ("node",)))
    data = mpnn.datasets.load("pairs")
    assert isinstance(data, NodeDataset) and data.class_names == ("left", "right")
    assert cli.main([*TRAIN, "--dataset", "pairs", "--out", str(folder / "run")]) == 0


# A backend ---------------------------------------------------------------------------------------------


def a_backend(patch: pytest.MonkeyPatch, folder: Path) -> None:
    steps: list[Step] = []

    def noted(step: Step) -> Tensor:
        steps.append(step)
        return eager.run(step)

    patch.setitem(BACKENDS, "noted", noted)
    layer, x, graph = models.GCNConv(4, 2), torch.randn(9, 4), random_graph()
    with mpnn.backend("noted"):
        out = layer(x, graph)
    assert len(steps) == 1
    assert_close(out, layer(x, graph), atol=1e-6)
    with pytest.raises(ValueError, match=r"must be one of .*noted"), mpnn.backend("unknown"):
        pass


# A lowering rule ---------------------------------------------------------------------------------------


def _match_readout(reading: Reading, graph: Graph) -> Lowered:
    probed = probes(reading)
    x = is_source_field(reading, probed, [reading.per_edge(rows, PROBES)[0] for rows in probed])
    if reading.reductions != (SUM,) or x is None:
        raise NoMatchError("the message is no sum of x_j")

    def run(graph: Graph, values: Sequence[Tensor]) -> list[Tensor]:
        value = values[x.index]
        out = torch.zeros_like(value)
        ran.append(graph)
        return [torch.cat([value[1:].sum(0, keepdim=True), out[1:]])]

    return run


ran: list[Graph] = []


def _fits_readout(graph: Graph) -> None:
    if graph.num_graphs != 1:
        raise NoMatchError("there are several stars")


READOUT = Rule(
    name="readout",
    topology=(Star,),
    message="x_j",
    aggregate="sum",
    reader=MESSAGES,
    kernel="sum of a tensor's rows",
    match=_match_readout,
    fits=_fits_readout,
    examples=lambda: [Example(topology.star(4), lambda x_j: x_j, "sum", {"x": torch.randn(5, 3)})],
)


def a_lowering_rule(patch: pytest.MonkeyPatch, folder: Path) -> None:
    patch.setattr("mpnn.lowering.rules.RULES", (*RULES, READOUT))
    (example,) = READOUT.examples()
    fields = {name: value.double() for name, value in example.fields.items()}
    assert_same(On("dense", example), On("eager", example), [fields])
    assert ran
    ran.clear()
    mpnn.propagate(example.graph, example.message, "sum", **fields)
    assert ran == [example.graph]  # as by default


# A kind of task, and a format of own data ---------------------------------------------------------------


def a_kind_of_task(patch: pytest.MonkeyPatch, folder: Path) -> None:
    patch.setitem(KINDS, AUTOENCODE.name, AUTOENCODE)
    command = ["train", "autoencode", "--epochs", "2", "--no-pictures"]
    assert cli.main([*command, "--out", str(folder / "run")]) == 0


def read_arrows(path: Path, columns: Columns) -> EdgeList:
    """Lines such as `a -> b`."""
    pairs = [line.split(" -> ") for line in path.read_text().splitlines()]
    names = sorted({name for pair in pairs for name in pair})
    return EdgeList(np.array([[names.index(name) for name in pair] for pair in pairs]).T.copy(), names)


def a_format_of_own_data(patch: pytest.MonkeyPatch, folder: Path) -> None:
    patch.setitem(READERS, ".arrows", read_arrows)
    (folder / "net.arrows").write_text("a -> b\nb -> c\n")
    data = mpnn.datasets.load(str(folder / "net.arrows"))
    assert isinstance(data, NodeDataset) and data.graph.num_nodes == 3
    assert {(0, 1), (1, 2)} <= {(i, j) for i, j in data.graph.edge_index.T.tolist()}


# A training preset -------------------------------------------------------------------------------------


def a_training_preset(patch: pytest.MonkeyPatch, folder: Path) -> None:
    patch.setitem(PRESETS, "tag", {"hidden": 24, "epochs": 3})
    assert preset("tag").hidden == 24
    command = ["train", "node", "--dataset", "karate", "--model", "tag", "--no-pictures"]
    assert cli.main([*command, "--out", str(folder / "run")]) == 0
    assert len((folder / "run/metrics.csv").read_text().splitlines()) == 1 + 3


ROWS: list[Callable[[pytest.MonkeyPatch, Path], None]] = [
    a_layer,
    an_aggregator_made_of_known_reductions,
    a_thing_that_every_edge_carries,
    a_topology,
    a_data_set,
    a_backend,
    a_lowering_rule,
    a_kind_of_task,
    a_format_of_own_data,
    a_training_preset,
]


# Whose own tests add a toy in the same way.
ELSEWHERE = {
    "a reduction, with its kernels": "tests/core/plan/test_reductions.py",
    "lines of C or Triton that are faster than a law's": "tests/core/backends/test_backend_graphs.py",
    "a command": "tests/train/command/test_runs_command.py",
    "a schedule": "tests/core/layer/test_iterate.py",
}


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.__name__.replace("_", " "))
def test_one_small_thing_is_added_in_one_place(
    row: Callable[[pytest.MonkeyPatch, Path], None], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    row(monkeypatch, tmp_path)


def test_every_row_of_the_table_is_shown() -> None:
    page = (HOME / "CONTRIBUTING.md").read_text()
    table = page[page.index("## One small thing in one place") :].split("\n\n")[1]
    rows = {line.split("|")[1].strip(): line for line in table.splitlines()[2:]}
    assert rows.keys() == {row.__name__.replace("_", " ") for row in ROWS} | ELSEWHERE.keys()
    for name, file in ELSEWHERE.items():
        assert f"`{file}`" in rows[name] and (HOME / file).exists()


def test_the_example_of_contributing_is_a_test_that_passes() -> None:
    (code,) = BLOCK.findall((HOME / "CONTRIBUTING.md").read_text())
    names: dict[str, Any] = {"__name__": "contributing"}
    exec(compile(code, "CONTRIBUTING.md", "exec"), names)
    (mark,) = names["test_my_layer"].pytestmark
    assert mark.args[1] == mpnn.testing.laws()
    for law in mark.args[1]:
        names["test_my_layer"](law)
