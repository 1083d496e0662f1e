"""A model as a file: it runs where mpnn is not, on graphs and sequences of other sizes."""

from __future__ import annotations

import itertools
import json
import re
import sys
from pathlib import Path
from typing import Any

import onnx
import onnxruntime
import pytest
import torch
from torch import Tensor, nn
from torch.export import Dim

from mpnn import models
from mpnn.train import RunError, export
from tests.compare import assert_close
from tests.train.portable import table
from tests.train.portable.cases import CASES, ENDINGS, Case

BY_NAME = {case.name: case for case in CASES}


def run_elsewhere(home: Path, ending: str) -> list[str]:
    done = table.run_elsewhere(home, ending)
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


@pytest.mark.parametrize("to", ["pt2", "torchscript"])
def test_every_model_of_the_table_runs_where_mpnn_is_not(to: str, tmp_path: Path) -> None:
    for case in CASES:
        case.write(tmp_path, to)
    assert run_elsewhere(tmp_path, ENDINGS[to]) == sorted(BY_NAME)


def test_onnx_files_run_in_onnxruntime(tmp_path: Path) -> None:
    """The others by `python -m tests.train.portable.table`: each takes seconds to write."""
    names = ["GAT", "LSTM"]
    for name in names:
        BY_NAME[name].write(tmp_path, "onnx")
    assert run_elsewhere(tmp_path, ".onnx") == names


def test_a_pt2_file_is_compiled_by_aotinductor(tmp_path: Path) -> None:
    """The others by `python -m tests.train.portable.table`: each takes a minute to compile."""
    BY_NAME["SAGE"].write(tmp_path, "pt2")
    assert run_elsewhere(tmp_path, "aoti") == ["SAGE"]


def test_the_page_shows_the_table() -> None:
    assert table.expected() in table.PAGE.read_text()


def test_the_examples_of_the_page_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    code = "".join(re.findall(r"```python\n(.*?)```", table.PAGE.read_text(), re.DOTALL))
    exec(compile(code, "export.md", "exec"), {"__name__": "page"})


@pytest.mark.parametrize(
    "make",
    [
        lambda: models.TransformerConv(4, 3, heads=2),  # from 16,384 nodes on, maps are done block by block
        lambda: models.RGCNConv(4, 3, 2),  # with many edges, sums are added up in parts
    ],
    ids=["transformer", "rgcn"],
)
def test_a_file_of_a_small_example_takes_large_graphs(make: Any, tmp_path: Path) -> None:
    def drawn(num_nodes: int, num_edges: int) -> dict[str, Tensor]:
        given = {"x": torch.randn(num_nodes, 4), "edge_index": torch.randint(num_nodes, (2, num_edges))}
        return given | (
            {"edge_type": torch.arange(num_edges) % 2} if model.__class__.__name__[0] == "R" else {}
        )

    model, path = make().eval(), tmp_path / "model.pt2"
    export(model, drawn(5, 9), path)
    large = list(drawn(17_000, 700_000).values())
    with torch.no_grad():
        assert_close(torch.export.load(path).module()(*large), model(*large), atol=1e-4)


# What PyTorch's own tracers write down ----------------------------------------------------------------------


def sample(num_nodes: int, num_edges: int) -> list[Tensor]:
    return list(BY_NAME["GCN"].draw(num_nodes, num_edges))


@pytest.mark.filterwarnings("ignore")  # PyTorch advises against it, and tells of shapes that are compared
@pytest.mark.parametrize("name", ["GCN", "GAT", "SAGE", "PNA", "Cheb"])
def test_torch_jit_trace_takes_graphs_of_other_sizes(name: str) -> None:
    model = BY_NAME[name].make().eval()
    traced = torch.jit.trace(model, tuple(sample(12, 30)))
    for count in ((17, 53), (5, 7), (4, 0)):
        with torch.no_grad():
            assert_close(traced(*sample(*count)), model(*sample(*count)), atol=1e-5)


@pytest.mark.filterwarnings("ignore")
def test_torch_onnx_export_needs_nothing_of_ours(tmp_path: Path) -> None:
    model, path = models.GATConv(6, 4).eval(), str(tmp_path / "gat.onnx")
    sizes = {"x": {0: Dim.DYNAMIC}, "graph": {1: Dim.DYNAMIC}}
    torch.onnx.export(model, tuple(sample(12, 30)), path, dynamic_shapes=sizes, verbose=False)
    assert {node.domain for node in onnx.load(path).graph.node} <= {"", "ai.onnx"}
    session = onnxruntime.InferenceSession(path)
    x, ends = sample(17, 53)
    named = zip((one.name for one in session.get_inputs()), (x.numpy(), ends.numpy()), strict=True)
    with torch.no_grad():
        assert_close(torch.from_numpy(session.run(None, dict(named))[0]), model(x, ends), atol=1e-5)


# What a file says of itself ---------------------------------------------------------------------------------


def facts_in(path: Path) -> dict[str, Any]:
    extra: dict[str, Any] = {"mpnn.json": ""}
    if path.suffix == ".onnx":
        return dict(json.loads({one.key: one.value for one in onnx.load(path).metadata_props}["mpnn.json"]))
    if path.suffix == ".pt2":
        torch.export.load(path, extra_files=extra)
    else:
        torch.jit.load(path, _extra_files=extra)
    return dict(json.loads(extra["mpnn.json"]))


@pytest.mark.parametrize("to", ENDINGS)
@pytest.mark.filterwarnings("ignore:`torch.jit.load` is deprecated")
def test_a_file_says_what_it_takes_and_gives(to: str, tmp_path: Path) -> None:
    case = Case("one", lambda: models.GCNConv(6, 4), ("x", "edge_index"), BY_NAME["GCN"].draw, [(5, 9)])
    case.write(tmp_path, to)
    facts = facts_in(case.path(tmp_path, to))
    assert facts["model"] == "GCNConv"
    assert facts["outputs"] == ["output"]
    taken = [(one["name"], one["dtype"], one["shape"]) for one in facts["inputs"]]
    assert taken == [("x", "float32", ["num_nodes", 6]), ("edge_index", "int64", [2, "num_edges"])]


def test_an_onnx_file_names_its_inputs_outputs_and_sizes(tmp_path: Path) -> None:
    given = {"x": torch.randn(4, 3), "edge_index": torch.tensor([[0, 1], [1, 2]])}
    export(models.GCNConv(3, 2), given, tmp_path / "gcn.onnx")
    session = onnxruntime.InferenceSession(tmp_path / "gcn.onnx")
    assert [(one.name, one.shape) for one in session.get_inputs()] == [
        ("x", ["num_nodes", 3]),
        ("edge_index", [2, "num_edges"]),
    ]
    assert [(one.name, one.shape) for one in session.get_outputs()] == [("output", ["num_nodes", 2])]


def test_a_model_stays_as_it_was(tmp_path: Path) -> None:
    model = models.GATConv(6, 4, dropout=0.5).train()
    x, ends = sample(5, 9)
    export(model, {"x": x, "edge_index": ends}, tmp_path / "gat.pt2")
    assert model.training
    loaded = torch.export.load(tmp_path / "gat.pt2").module()
    with torch.no_grad():
        assert_close(loaded(x, ends), model.eval()(x, ends), atol=1e-6)


# What is refused --------------------------------------------------------------------------------------------


class Stateful(nn.Module):
    """Gives something else at every call."""

    def __init__(self) -> None:
        super().__init__()
        self.count = itertools.count()

    def forward(self, x: Tensor) -> Tensor:
        return x + next(self.count)


class Branching(nn.Module):
    """Does one thing or another by its numbers."""

    def forward(self, x: Tensor) -> Tensor:
        return x if float(x.sum()) > 0 else -x


class Pairwise(nn.Module):
    """Takes an even number of rows."""

    def forward(self, x: Tensor) -> Tensor:
        if x.size(0) > 100:
            raise ValueError("too many")
        return x


ROWS = {"x": {0: "batch"}}


@pytest.mark.parametrize(
    ("model", "names", "options", "sentence"),
    [
        (Stateful(), "x", {"sizes": ROWS}, "Stateful .* gives something else than the model"),
        (Branching(), "x", {"sizes": ROWS}, "depends on values of its inputs, not on their sizes alone"),
        (Pairwise(), "x", {"sizes": ROWS}, "it takes only some sizes: batch"),
        (
            models.SAGEConv(6, 4, aggr="median"),
            "x edge_index",
            {},
            "it fixes num_edges at that of the example",
        ),
        (nn.Tanh(), "y", {}, "nothing says which sizes of input y may change"),
        (nn.Tanh(), "x", {"sizes": {"z": {}}}, "sizes names 'z', which is none of the inputs x"),
        (nn.Tanh(), "x", {"sizes": {"x": {2: "batch"}}}, "sizes names dimension 2 of input x"),
        (nn.Tanh(), "x", {"to": "tflite"}, "to is 'tflite', but should be one of onnx, pt2, torchscript"),
        (nn.Tanh(), "x", {"path": "model.bin"}, "ends in none of .onnx, .pt2, .pt: say to="),
        (models.RNN(6, 4), "x", {"path": "m.onnx", "sizes": {"x": {0: "length"}}}, "no ONNX function for"),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, nn.Module) else "",
)
def test_what_cannot_be_exported_is_refused_in_a_sentence(
    model: nn.Module, names: str, options: dict[str, Any], sentence: str, tmp_path: Path
) -> None:
    x, ends = sample(12, 30)
    if isinstance(model, models.RNN):
        x = x.view(3, 4, 6)
    given = {name: ends if name == "edge_index" else x for name in names.split()}
    path = tmp_path / options.pop("path", "model.pt2")
    with pytest.raises(RunError, match=sentence) as refused:
        export(model, given, path, **options)
    assert "\n" not in str(refused.value)
    assert not path.exists()


def test_a_package_that_is_missing_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "onnxscript", None)
    x, ends = sample(5, 9)
    with pytest.raises(RunError, match=re.escape("pip install 'mpnn[export]'")):
        export(models.GCNConv(6, 4), {"x": x, "edge_index": ends}, tmp_path / "gcn.onnx")
