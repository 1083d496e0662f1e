"""Every layer inside `torch.compile` and `torch.export`: whole, on kernels, and equal."""

from __future__ import annotations

import io
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.export import Dim

import mpnn
from mpnn import Graph, models
from mpnn.aggregate.aggregators import Softmax
from mpnn.testing import Data, Subject
from tests.compare import assert_close
from tests.laws import layer, sample

# PyTorch's own: where it loads a program with sizes that only data tell, and where it looks through a cache.
pytestmark = [
    pytest.mark.filterwarnings("ignore:Symbol u", "ignore:Dynamo detected a call to a .functools"),
    pytest.mark.usefixtures("fresh_compiler"),
]


def given(subject: Subject, data: Data, *, as_tensor: bool) -> dict[str, Any]:
    """The subject's arguments; the number of rows of each is dynamic."""
    graph: Any = data.graph
    if as_tensor:
        graph = graph.edge_index.clone()
        torch._dynamo.mark_dynamic(graph, 1)
    assert isinstance(data.x, Tensor)
    arguments = {"x": data.x.clone(), "graph": graph}
    arguments |= {name: data.edges[name].clone() for name in subject.edges}
    for name, value in arguments.items():
        if name != "graph":
            value.requires_grad_(value.is_floating_point())
            if as_tensor:
                torch._dynamo.mark_dynamic(value, 0)
    return arguments


def outcome(module: Any, weights: list[Tensor], arguments: dict[str, Any]) -> list[Tensor]:
    """The output and every gradient."""
    out = module(**arguments)
    leaves = [v for v in arguments.values() if isinstance(v, Tensor) and v.requires_grad]
    return [out, *torch.autograd.grad(out.sin().sum(), [*leaves, *weights])]


def assert_compiled_is_equal(
    subject: Subject, samples: list[Data], *, as_tensor: bool = True, compilations: int = 1, **options: Any
) -> None:
    module = subject.make()
    weights: list[Tensor] = list(module.parameters())
    whole = torch.compile(module, fullgraph=True, **options)
    for k, data in enumerate(samples):
        arguments = given(subject, data, as_tensor=as_tensor)
        with torch.compiler.set_stance("default" if k < compilations else "fail_on_recompile"):
            ours = outcome(whole, weights, arguments)
        for one, other in zip(ours, outcome(module, weights, arguments), strict=True):
            assert_close(one, other, atol=1e-10)


SAMPLES = [sample(), sample(13, 31, 3), sample(17, 41, 4)]


def edges_of(data: Data) -> Tensor:
    assert isinstance(data.graph, Graph)
    return data.graph.edge_index


@pytest.mark.parametrize("name", models.CONVS)
def test_a_layer_compiles_whole_and_once_for_all_sizes(name: str, regions: list[Any]) -> None:
    assert_compiled_is_equal(layer(name), SAMPLES, backend="aot_eager")
    assert regions
    assert all(one.plan is not None for one in regions)


@pytest.mark.parametrize("as_tensor", [True, False], ids=["edge_index", "Graph"])
@pytest.mark.parametrize("name", models.CONVS)
def test_a_layer_compiles_whole_where_every_size_may_change(
    name: str, as_tensor: bool, regions: list[Any]
) -> None:
    """Also the widths, which a layer compares with those that it was built with."""
    samples = SAMPLES[:2]
    assert_compiled_is_equal(layer(name), samples, as_tensor=as_tensor, backend="aot_eager", dynamic=True)
    assert regions
    assert all(one.plan is not None for one in regions)


WIDTHS = Softmax(learn=True, channels=4).double()
THREE = Graph.batch([Graph(torch.zeros(2, 1, dtype=torch.int64), n) for n in (2, 5, 3)])
ATTENTION = models.MultiheadAttention(6, 2).double()
BIAS = torch.linspace(-1, 1, 48, dtype=torch.float64).view(24, 2)


@pytest.mark.parametrize(
    "call",
    [
        lambda x, edges: mpnn.propagate(edges, lambda x_j: x_j, WIDTHS, x=x[:, :4]),
        lambda x, edges: models.global_mean_pool(x, THREE, 3),
        lambda x, edges: ATTENTION(x, x, x, graph=edges, attn_mask=BIAS)[0],
    ],
    ids=["a temperature per channel", "a number of graphs", "attention with a bias for each edge and head"],
)
def test_a_number_is_found_among_sizes_that_may_change(call: Any) -> None:
    data = SAMPLES[0]
    x, edges = data.x, edges_of(data)
    whole = torch.compile(call, fullgraph=True, dynamic=True, backend="aot_eager")
    assert_close(whole(x, edges), call(x, edges), atol=1e-10)


@pytest.mark.parametrize("name", ["gat", "rgcn"])
def test_graphs_of_other_sizes_compile_once_more(name: str) -> None:
    assert_compiled_is_equal(layer(name), SAMPLES, as_tensor=False, compilations=2, backend="aot_eager")


class Net(nn.Module):
    """Two layers of a kind, in evaluation."""

    def __init__(self, conv: str) -> None:
        super().__init__()
        self.gnn = models.GNN(6, 8, 4, 2, conv=conv)
        self.double().eval()

    def forward(self, x: Tensor, edge_index: Tensor) -> Tensor:
        out: Tensor = self.gnn(x, edge_index)
        return out


def exported(model: nn.Module, strict: bool) -> tuple[Any, bytes]:
    data = SAMPLES[0]
    program = torch.export.export(
        model,
        (data.x, edges_of(data)),
        dynamic_shapes=({0: Dim.DYNAMIC}, {1: Dim.DYNAMIC}),
        strict=strict,
    )
    file = io.BytesIO()
    torch.export.save(program, file)
    return program, file.getvalue()


@pytest.mark.parametrize(("conv", "strict"), [("gcn", False), ("gat", False), ("gat", True)])
def test_an_exported_model_gives_the_same_after_a_round_trip(conv: str, strict: bool) -> None:
    model = Net(conv)
    program, saved = exported(model, strict)
    assert sum(node.target is torch.ops.mpnn.rows.default for node in program.graph.nodes) == 2
    loaded = torch.export.load(io.BytesIO(saved)).module()
    for data in SAMPLES:
        edge_index = edges_of(data)
        assert_close(loaded(data.x, edge_index), model(data.x, edge_index), atol=1e-10)


def test_an_exported_model_runs_in_a_process_that_knows_no_layer(tmp_path: Path) -> None:
    model, data = Net("gat"), SAMPLES[1]
    (tmp_path / "net.pt2").write_bytes(exported(model, False)[1])
    edge_index = edges_of(data)
    torch.save((data.x, edge_index, model(data.x, edge_index)), tmp_path / "data.pt")
    code = (
        "import torch, mpnn; net = torch.export.load('net.pt2').module(); "
        "x, edge_index, out = torch.load('data.pt'); "
        "torch.testing.assert_close(net(x, edge_index), out, rtol=0, atol=1e-10)"
    )
    subprocess.run([sys.executable, "-c", code], cwd=tmp_path, check=True, env=_paths())


def _paths() -> dict[str, str]:
    import os

    return {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
