"""The TU format: PyG's reader is the oracle, and a bad line is named by its number."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch_geometric.datasets import TUDataset
from torch_geometric.io import read_tu_data

from mpnn.datasets import DATASETS, DataError, GraphDataset, load, load_tu
from tests.compare import assert_close
from tests.datasets.loading import many_graphs


def assert_equals_pyg(data: GraphDataset, raw: Path, name: str) -> None:
    theirs, slices, _ = read_tu_data(str(raw), name)
    torch.testing.assert_close(data.y, theirs.y, rtol=0, atol=0)
    assert data.num_graphs == len(slices["y"]) - 1
    nodes = slices.get("x", torch.tensor([0, *(graph.num_nodes for graph in data.graphs)]).cumsum(0))
    for k, graph in enumerate(data.graphs):
        edges = slice(int(slices["edge_index"][k]), int(slices["edge_index"][k + 1]))
        assert torch.equal(graph.edge_index, theirs.edge_index[:, edges])
        assert graph.num_nodes == int(nodes[k + 1] - nodes[k])
        if theirs.x is not None:
            assert_close(data.x[k], theirs.x[nodes[k] : nodes[k + 1]])
        if theirs.edge_attr is not None:
            assert data.edge_attr is not None
            assert_close(data.edge_attr[k], theirs.edge_attr[edges])


def test_every_graph_is_that_of_pyg(small_tu: Path) -> None:
    data = load_tu("TOY", small_tu, attributes=True)
    assert_equals_pyg(data, small_tu / "TOY" / "raw", "TOY")
    assert data.class_names == ("class -1", "class 1", "class 5")
    assert load_tu("TOY", small_tu).num_features == 3
    assert repr(data).startswith("TOY: 24 graphs of ")


def test_pygs_own_data_set_has_the_same_graphs(small_tu: Path) -> None:
    ours, theirs = load_tu("TOY", small_tu), TUDataset(str(small_tu), "TOY")
    assert len(theirs) == ours.num_graphs
    for x, graph, record in zip(ours.x, ours.graphs, theirs, strict=True):
        assert torch.equal(graph.edge_index, record.edge_index)
        assert_close(x, record.x)


@pytest.mark.parametrize("name", ["mutag", "proteins", "enzymes", "imdb-binary"])
def test_the_real_files_are_read_as_by_pyg(real_data: Path, name: str) -> None:
    data = many_graphs(name, real_data)
    if name == "proteins":  # its attribute is left out, as in the published figures
        data = load_tu("PROTEINS", real_data, attributes=True)
    assert_equals_pyg(data, real_data / "tu" / data.name / "raw", data.name)
    if name == "imdb-binary":
        assert all(
            torch.equal(x.argmax(dim=1), graph.in_degree)
            for x, graph in zip(data.x, data.graphs, strict=True)
        )


def test_numbers_of_graphs_are_targets(small_tu: Path) -> None:
    path = small_tu / "TOY" / "raw" / "TOY_graph_attributes.txt"
    path.write_text("".join(f"{k}.5, {-k}\n" for k in range(24)))
    data = load_tu("TOY", small_tu)
    assert data.y.shape == (24, 2) and data.y.dtype == torch.float32
    assert data.class_names == ("target 0", "target 1")
    path.write_text("1\n")
    with pytest.raises(DataError, match=r"graph_attributes.txt has 1 lines, but should have 24"):
        load_tu("TOY", small_tu)


BAD: list[tuple[str, int, str, str]] = [
    ("A", 3, "1, x", r"TOY_A.txt line 3: 'x' should be an integer"),
    ("A", 3, "1, 2, 3", r"TOY_A.txt line 3: it holds 3 numbers, but the lines before it hold 2"),
    ("A", 4, "1, 99999", r"TOY_A.txt line 4: an edge should be two nodes out of 1..\d+"),
    ("A", 5, "0, 1", r"TOY_A.txt line 5: an edge should be two nodes"),
    ("A", 1, "1, 60", r"TOY_A.txt line 1: the edge goes from one graph to another"),
    (
        "graph_indicator",
        2,
        "7",
        r"TOY_graph_indicator.txt line 3: graphs should be numbered 1, 2, ... in order",
    ),
    ("graph_indicator", 2, "1 1", r"TOY_graph_indicator.txt line 2: '1 1' should be an integer"),
    ("graph_labels", 2, "", r"TOY_graph_labels.txt has 23 lines, but should have 24"),
    ("node_labels", 2, "", r"TOY_node_\*.txt in .* have \d+ lines, but should have"),
    ("node_attributes", 9, "1.0, ?", r"TOY_node_attributes.txt line 9: '\?' should be a finite number"),
]


@pytest.mark.parametrize(("file", "line", "content", "sentence"), BAD)
def test_a_bad_line_is_named_by_its_number(
    small_tu: Path, file: str, line: int, content: str, sentence: str
) -> None:
    path = small_tu / "TOY" / "raw" / f"TOY_{file}.txt"
    lines = path.read_text().splitlines()
    lines[line - 1] = content
    path.write_text("\n".join(lines))
    with pytest.raises(DataError, match=sentence):
        load_tu("TOY", small_tu, attributes=True)


def test_missing_and_empty_files_are_named(small_tu: Path) -> None:
    raw = small_tu / "TOY" / "raw"
    (raw / "TOY_graph_labels.txt").unlink()
    with pytest.raises(DataError, match=r"TOY_graph_labels.txt does not exist"):
        load_tu("TOY", small_tu)
    (raw / "TOY_A.txt").write_text("\n")
    with pytest.raises(DataError, match=r"TOY_A.txt is empty"):
        load_tu("TOY", small_tu)
    with pytest.raises(DataError, match=r"holds no MUTAG/raw/MUTAG_A\.txt"):
        load("mutag", small_tu)


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (lambda d: {"graphs": ()}, "graphs is empty"),
        (lambda d: {"x": d.x[:-1]}, "x is of 23 graphs, but should be of 24"),
        (lambda d: {"x": (d.x[0][:, :1], *d.x[1:])}, r"x\[1\] is 3 wide, but x\[0\] is 1 wide"),
        (lambda d: {"y": d.y + 1}, r"y\[2\] is 3, but should be a class, 0..2"),
        (lambda d: {"edge_attr": d.x}, r"edge_attr\[0\] is torch.float32"),
    ],
)
def test_a_record_that_does_not_fit_is_refused(small_tu: Path, change: Any, sentence: str) -> None:
    data = load_tu("TOY", small_tu)
    fields: dict[str, Any] = {name: getattr(data, name) for name in data.__dataclass_fields__}
    with pytest.raises(DataError, match=sentence):
        GraphDataset(**fields | change(data))


TASKS = {"node", "edge", "graph", "image", "segment", "text"}


def test_every_data_set_is_for_some_task() -> None:
    assert all(set(entry.tasks) <= TASKS and entry.tasks for entry in DATASETS.values())
