"""Weights of edges, from a column of a table to the layer that reads them."""

from __future__ import annotations

import warnings
from dataclasses import replace
from pathlib import Path
from typing import Any

import networkx as nx
import pytest
import scipy.sparse
import torch
from torch_geometric.data import Data

from mpnn.datasets import Columns, DataError, GraphDataset, NodeDataset, load
from mpnn.models import GCNConv
from mpnn.train import GraphTask, preset
from mpnn.train.command import cli
from mpnn.train.runs.build import build_model, make_task
from mpnn.train.runs.run import load_data, prepare
from tests.compare import assert_close
from tests.train.conftest import Complaint

WEIGHTS = {
    ("a", "b"): 0.5,
    ("b", "c"): 2.0,
    ("c", "d"): 0.25,
    ("d", "e"): 3.0,
    ("e", "f"): 1.0,
    ("f", "a"): 4.0,
}


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "net.csv").write_text(
        "from,to,strength,year\n"
        + "".join(f"{i},{j},{w},{k}\n" for k, ((i, j), w) in enumerate(WEIGHTS.items()))
    )
    (tmp_path / "nodes.csv").write_text(
        "id,club\n" + "".join(f"{n},{'xy'[k % 2]}\n" for k, n in enumerate("abcdef"))
    )
    return tmp_path


def weighted(**more: Any) -> NodeDataset:
    data = load("net.csv", columns=Columns(nodes="nodes.csv", label="club", edge_weight="strength", **more))
    assert isinstance(data, NodeDataset)
    return data


def test_each_edge_has_the_weight_of_its_line_in_both_directions(home: Path) -> None:
    data = weighted(ignore="year")
    assert data.weighted and data.edge_dim is None and data.edge_attr is not None
    names = data.node_names
    found = {
        (names[i], names[j]): float(w)
        for (i, j), w in zip(data.graph.edge_index.T.tolist(), data.edge_attr, strict=True)
    }
    assert found == WEIGHTS | {(j, i): w for (i, j), w in WEIGHTS.items()}


def test_attributes_of_graphml_are_weights_too(home: Path) -> None:
    graph = nx.Graph()
    for (i, j), weight in WEIGHTS.items():
        graph.add_edge(i, j, strength=weight)
    nx.write_graphml(graph, home / "net.graphml")
    data = load("net.graphml", columns=Columns(edge_weight="strength"))
    assert isinstance(data, NodeDataset) and data.edge_attr is not None
    assert sorted(data.edge_attr.tolist()) == sorted([*WEIGHTS.values()] * 2)


def test_entries_of_a_matrix_weigh_too(home: Path) -> None:
    matrix = scipy.sparse.coo_array(([0.5, 2.0], ([0, 1], [1, 2])), shape=(3, 3))
    scipy.sparse.save_npz(home / "m.npz", matrix)
    data = load("m.npz", columns=Columns(edge_weight="value", directed=True))
    assert isinstance(data, NodeDataset) and data.edge_attr is not None
    assert data.edge_attr.tolist() == [0.5, 2.0]
    with pytest.raises(DataError, match=r"edge_weight is 'w', but entries of m.npz go by 'value'"):
        load("m.npz", columns=Columns(edge_weight="w"))


def test_a_model_gets_the_weights_as_its_layers_take_them(home: Path) -> None:
    settings = preset(
        "gcn",
        dataset="net.csv",
        nodes="nodes.csv",
        label="club",
        edge_weight="strength",
        ignore="year",
        layers=1,
    )
    data = load_data(settings)
    assert isinstance(data, NodeDataset)
    task = make_task(settings, data)
    model = build_model(settings, task).eval()
    layer = GCNConv(data.num_features, 2)
    layer.load_state_dict(
        {name.removeprefix("convs.0."): value for name, value in model.state_dict().items()}
    )
    assert_close(task.outputs(model), layer(data.x, data.graph, data.edge_attr), atol=1e-6)
    assert not torch.allclose(task.outputs(model), layer(data.x, data.graph))


OWN = ["--dataset", "net.csv", "--nodes", "nodes.csv", "--label", "club", "--ignore", "year"]
SHORT = ["--epochs", "2", "--no-pictures", "--val-share", "0.3", "--test-share", "0.3"]


@pytest.mark.parametrize("model", ["gcn", "cheb", "appnp", "gine"])
def test_the_command_trains_and_predicts_with_weights(
    home: Path, model: str, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["train", "node", *OWN, "--edge-weight", "strength", "--model", model, "--out", model, *SHORT]
    assert cli.main(command) == 0
    assert f"{model} on net.csv: test accuracy" in capsys.readouterr().out  # not its whole path
    assert cli.main(["predict", model, "--output", "out.csv"]) == 0


def test_walks_go_by_the_weights(home: Path) -> None:
    flags = ["--walks", "2", "--length", "3", "--dimensions", "4", "--share", "0.7", "--no-pictures"]
    assert cli.main(["train", "embed", *OWN, "--edge-weight", "strength", "--out", "walks", *flags]) == 0


@pytest.fixture
def pyg_file(home: Path) -> Path:
    """Twenty weighted rings, each with a class, in a file of PyTorch Geometric."""
    rings = []
    for size in range(3, 23):
        nodes = torch.arange(size)
        ends = torch.stack([nodes, (nodes + 1) % size])
        edges, y = torch.cat([ends, ends.flip(0)], 1), torch.tensor([size % 2])
        rings.append(Data(edge_index=edges, num_nodes=size, edge_weight=torch.rand(2 * size), y=y))
    torch.save(rings, home / "rings.pt")
    return home


@pytest.mark.parametrize("model", ["gcn", "gine"])
def test_whole_graphs_are_told_apart_by_their_weights(pyg_file: Path, model: str) -> None:
    settings = preset(model, "graph", dataset="rings.pt")
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # none is left out
        data, task = prepare(settings)
    assert isinstance(data, GraphDataset) and isinstance(task, GraphTask) and data.weighted
    network = build_model(settings, task).eval()
    ones = replace(data, edge_attr=tuple(torch.ones_like(weight) for weight in data.edge_attr or ()))
    assert not torch.allclose(task.outputs(network), make_task(settings, ones).outputs(network))


def test_a_model_that_reads_no_weights_trains_once_they_are_ignored(
    pyg_file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["train", "graph", "--dataset", "rings.pt", "--model", "sage", "--epochs", "2", "--no-pictures"]
    assert cli.main(command) == 2
    assert "reads no weights of edges" in capsys.readouterr().err
    assert cli.main([*command, "--ignore", "edge_weight"]) == 0


@pytest.mark.parametrize(
    ("command", "sentence"),
    [
        (
            ["train", "node", *OWN, "--model", "sage"],
            "model is 'sage', which reads no weights of edges: take one of",
        ),
        (
            ["communities", *OWN],
            "the edges of net have weights, but communities are of edges that all weigh the same",
        ),
        (["train", "node", *OWN[:6]], "net.csv has year besides edge_weight 'strength'"),
    ],
)
def test_a_mistake_gets_one_sentence(
    command: list[str], sentence: str, home: Path, complaint: Complaint
) -> None:
    assert sentence in complaint(*command, "--edge-weight", "strength")


def test_a_column_that_is_not_there_or_holds_no_numbers_is_named(home: Path) -> None:
    with pytest.raises(DataError, match=r"net.csv has no column 'force', but from, to, strength, year"):
        load("net.csv", columns=Columns(edge_weight="force"))
    (home / "bad.csv").write_text("from,to,strength\na,b,1\nb,c,much\n")
    with pytest.raises(DataError, match=r"bad.csv line 3: .*much"):
        load("bad.csv", columns=Columns(edge_weight="strength"))
