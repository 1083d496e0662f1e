"""A run is used again without the files that it was trained on: new nodes, known nodes, other graphs."""

from __future__ import annotations

import csv
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import networkx as nx
import numpy as np
import pandas as pd
import pytest
import torch
from torch_geometric.data import Data
from torch_geometric.nn.models import GCN, GraphSAGE

import mpnn
from mpnn.datasets import DataError, GraphDataset, NodeDataset, load
from mpnn.train import RunError, load_model, preset, train
from mpnn.train.command import cli
from tests.compare import assert_close
from tests.train.conftest import Complaint


@pytest.fixture
def tables(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Two blocks of nodes; the last five nodes and their edges are tables of their own, `new*.csv`."""
    draw = np.random.default_rng(0)
    graph = nx.planted_partition_graph(2, 40, 0.2, 0.02, seed=0)
    block = np.arange(80) // 40
    frame = pd.DataFrame({"town": draw.choice(["Bonn", "Ulm"], 80), "id": [f"n{k}" for k in range(80)]})
    frame["age"] = (40 + 20 * block + draw.normal(size=80)).round(3)
    frame["team"] = np.array(["red", "blue"])[block]
    order = draw.permutation(80)
    held = {f"n{k}" for k in order[:5]}
    new = frame.id.isin(held)
    frame[~new].to_csv(tmp_path / "nodes.csv", index=False)
    frame[new][["age", "id", "town"]].to_csv(tmp_path / "new.csv", index=False)  # in another order, no label
    frame[new].to_csv(tmp_path / "truth.csv", index=False)
    edges = pd.DataFrame([(f"n{i}", f"n{j}") for i, j in graph.edges], columns=["u", "v"])
    joins = edges.u.isin(held) | edges.v.isin(held)
    edges[~joins].to_csv(tmp_path / "net.csv", index=False)
    edges[joins].to_csv(tmp_path / "new_edges.csv", index=False)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def run(tables: Path, model: str = "gcn", **options: Any) -> Path:
    own: dict[str, Any] = {"dataset": "net.csv", "nodes": "nodes.csv", "label": "team", "epochs": 40}
    train(preset(model, **own | options), "run", draw=False)
    return tables / "run"


def without_training_files(tables: Path) -> None:
    for name in ("net.csv", "nodes.csv"):
        (tables / name).unlink()


def by_pyg(tables: Path, model: str) -> pd.DataFrame:
    """Probabilities of the new nodes in PyG, on the whole graph put together by pandas, features by hand."""
    nodes = pd.concat([pd.read_csv("nodes.csv"), pd.read_csv("new.csv")], ignore_index=True)
    edges = pd.concat([pd.read_csv("net.csv"), pd.read_csv("new_edges.csv")])
    place = pd.Series(range(len(nodes)), index=nodes.id)
    ends = torch.tensor([place[edges.u].tolist(), place[edges.v].tolist()])
    split = pd.read_csv("run/split.csv")
    trained = nodes.age[nodes.id.isin(split.node[split.part == "train"])]
    columns = [nodes.town == "Bonn", nodes.town == "Ulm", (nodes.age - trained.mean()) / trained.std(ddof=0)]
    x = torch.tensor(np.stack(columns, axis=1).astype(np.float32))
    theirs = {"gcn": GCN, "sage": GraphSAGE}[model](3, 16, 2, out_channels=2)
    theirs.load_state_dict(torch.load("run/best.pt", weights_only=True)["model"])
    with torch.no_grad():
        p = theirs.eval()(x, torch.cat([ends, ends.flip(0)], dim=1)).softmax(dim=1)
    rows = [int(place[name]) for name in pd.read_csv("new.csv").id]
    return pd.DataFrame(p[rows].numpy(), columns=["p(blue)", "p(red)"])


@pytest.mark.parametrize("model", ["gcn", "sage"])
def test_new_nodes_join_the_known_ones_as_they_would_in_pyg(tables: Path, model: str) -> None:
    run(tables, model)
    theirs = by_pyg(tables, model)
    without_training_files(tables)
    said = mpnn.load("run").predict("new.csv", "new_edges.csv")
    assert said.node.tolist() == pd.read_csv("new.csv").id.tolist()
    for name in ("p(blue)", "p(red)"):
        assert_close(torch.tensor(said[name]), torch.tensor(theirs[name]).double(), atol=1e-5)
    truth = pd.read_csv("truth.csv").set_index("id").team
    assert (said.predicted.to_numpy() == truth[said.node].to_numpy()).mean() >= 0.8
    frames = mpnn.load("run").predict(pd.read_csv("new.csv"), pd.read_csv("new_edges.csv"))
    pd.testing.assert_frame_equal(frames, said)


def test_the_card_of_a_run_says_what_was_trained_and_how_to_use_it(tables: Path) -> None:
    """Every figure in it stands in the other files of the run."""
    run(tables)
    card = Path("run/README.md").read_text()
    results = json.loads(Path("run/results.json").read_text())
    assert f"| accuracy | {100 * results['test_accuracy']['mean']:.1f} % |" in card
    split = pd.read_csv("run/split.csv").part.value_counts()
    assert f"Of its nodes {split['train']} to train on, {split['val']} to validate on" in card
    weights = torch.load("run/best.pt", weights_only=True)["model"].values()
    assert f"2 layers, {sum(weight.numel() for weight in weights)} parameters" in card
    assert "| town | 2 | 2 values |" in card and "| age | 1 | a number; less" in card
    assert "mpnn predict run --output answers.csv" in card and 'mpnn.load("run")' in card
    assert "| epochs | 40 |" in card and "| label | team |" in card


def test_known_nodes_are_predicted_as_evaluate_sees_them(tables: Path) -> None:
    run(tables)
    model, task, _ = load_model("run")
    with torch.no_grad():
        expected = task.outputs(model).softmax(dim=1)
    without_training_files(tables)
    said = mpnn.load("run").predict()
    assert said.node.tolist() == task.names()["node"]
    assert_close(torch.tensor(said["p(blue)"]), expected[:, 0].double(), atol=1e-5)


def test_edges_alone_change_what_is_said_of_their_ends(tables: Path) -> None:
    run(tables)
    model = mpnn.load("run")
    before = model.predict().set_index("node")
    names = before.index[:2].tolist()
    said = model.predict(edges=pd.DataFrame({"source": [names[0]], "target": [names[1]]}))
    assert said.node.tolist() == sorted(names, key=lambda name: int(name[1:]))
    assert (said["p(blue)"].to_numpy() != before["p(blue)"][said.node].to_numpy()).any()


def test_degrees_of_new_nodes_are_those_of_the_grown_graph(tables: Path) -> None:
    pd.read_csv("nodes.csv")[["id", "team"]].to_csv("nodes.csv", index=False)
    run(tables)
    model = mpnn.load("run")
    new = pd.read_csv("new.csv")[["id"]]
    ends = pd.concat([pd.read_csv("net.csv"), pd.read_csv("new_edges.csv")])
    degree = nx.from_pandas_edgelist(ends, "u", "v").degree
    seen = []
    model.model.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    said = model.predict(new, "new_edges.csv")
    x = seen[0][-len(new) :]
    highest = x.size(1) - 1
    assert x.argmax(dim=1).tolist() == [min(degree[name], highest) for name in said.node]


def test_the_command_predicts_new_nodes(tables: Path, complaint: Complaint) -> None:
    run(tables)
    without_training_files(tables)
    new = ["--nodes", "new.csv", "--dataset", "new_edges.csv"]
    assert cli.main(["predict", "run", *new, "--output", "out.csv"]) == 0
    rows = list(csv.DictReader((tables / "out.csv").read_text().splitlines()))
    said = mpnn.load("run").predict("new.csv", "new_edges.csv")
    assert [row["node"] for row in rows] == said.node.tolist()
    assert [float(row["p(blue)"]) for row in rows] == pytest.approx(said["p(blue)"].tolist())
    said_of_data = complaint("predict", "run", *new, "--data", "x", "--output", "out.csv")
    assert "data is 'x', but this needs none of the run's data" in said_of_data
    links = ["--for", "n1", "--output", "out.csv"]
    said_of_nodes = complaint("predict", "run", *new, *links)
    assert "nodes is 'new.csv', but missing links are those of the run" in said_of_nodes
    top = ["--top", "3", "--output", "out.csv"]
    assert "top is 3, but for is not given" in complaint("predict", "run", *top)


def called(pair: tuple[str, str], directed: bool) -> object:
    """What stands for a pair in both directions, or in this one."""
    return pair if directed else frozenset(pair)


@pytest.mark.parametrize("directed", [False, True])
def test_missing_links_are_those_that_networkx_has_not_ranked_by_hand(tables: Path, directed: bool) -> None:
    own: dict[str, Any] = {"dataset": "net.csv", "nodes": "nodes.csv", "ignore": "team", "directed": directed}
    train(preset("gae", task="edge", **own, epochs=10), "links", draw=False)
    network, task, _ = load_model("links")
    names = task.data.node_names
    with torch.no_grad():
        z = network.encoder(task.data.x, task.data.graph)  # type: ignore[operator]
    score = (z @ z.T).sigmoid().numpy()
    kind = nx.DiGraph if directed else nx.Graph
    graph = nx.from_pandas_edgelist(pd.read_csv("net.csv"), "u", "v", create_using=kind)
    without_training_files(tables)
    asked = [names[3], names[8]]
    said = mpnn.load("links").missing_links(asked, top=400)
    free = [pair for pair in nx.non_edges(graph) if {*pair} & {*asked} and {*pair} <= {*names}]
    places = [[names.index(name) for name in pair] for pair in free]
    expected = {called(pair, directed): float(score[i, j]) for pair, (i, j) in zip(free, places, strict=True)}
    rows = [*zip(said.source, said.target, strict=True)]
    found = {called(row, directed): p for row, p in zip(rows, said["p(link)"], strict=True)}
    assert len(rows) == len(expected) and found == pytest.approx(expected, rel=1e-4)
    assert said["p(link)"].tolist() == sorted(said["p(link)"], reverse=True)
    flags = ["--for", ",".join(asked), "--top", "7", "--output", "out.csv"]
    assert cli.main(["predict", "links", *flags]) == 0
    pd.testing.assert_frame_equal(pd.read_csv("out.csv"), said[:7], check_dtype=False, rtol=1e-5)
    with pytest.raises(RunError, match="'N3' is no node that the run knows: did you mean 'n3'"):
        mpnn.load("links").missing_links(["N3"])


def test_what_is_wrong_with_new_tables_is_said(tables: Path) -> None:
    run(tables)
    model = mpnn.load("run")
    new = pd.read_csv("new.csv")
    with pytest.raises(DataError, match=r"no column 'age', which .*: did you mean 'Age'"):
        model.predict(new.rename(columns={"age": "Age"}))
    with pytest.raises(DataError, match="node 'stranger' is neither among the new nodes nor among those"):
        model.predict(new, pd.DataFrame({"source": ["stranger"], "target": [new.id[0]]}))
    with pytest.raises(DataError, match="age is 'old' in line 0, but should be a finite number"):
        model.predict(new.assign(age="old"))
    with pytest.raises(DataError, match=r"nodes has no column 'id', but age, town, Id: did you mean 'Id'"):
        model.predict(new.rename(columns={"id": "Id"})[["age", "town", "Id"]])
    with pytest.raises(DataError, match="nodes should hold a row of data at least"):
        model.predict(new.iloc[:0])


@pytest.mark.parametrize(
    ("model", "task", "dataset"),
    [
        ("gcn", "node", "karate"),
        ("pna", "node", "sbm"),
        ("gin", "graph", "cycles"),
        ("gat", "graph", "trees"),
    ],
)
def test_a_model_says_the_same_without_its_data(tmp_path: Path, model: str, task: str, dataset: str) -> None:
    train(preset(model, task=task, dataset=dataset, epochs=3), tmp_path / "run", draw=False)
    network, made, _ = load_model(tmp_path / "run")
    with torch.no_grad():
        expected = made.objective.columns(made.outputs(network))
    said = mpnn.load(tmp_path / "run").predict(load(dataset))
    assert len(said) == len(made.y)
    for name, cells in expected.items():
        if name != "predicted":
            assert said[name].tolist() == pytest.approx([float(cell) for cell in cells], rel=1e-4, abs=1e-6)


def test_data_of_pyg_is_predicted_as_ours_is(tmp_path: Path) -> None:
    karate, cycles = load("karate"), load("cycles")
    assert isinstance(karate, NodeDataset) and isinstance(cycles, GraphDataset)
    train(preset("gcn", dataset="karate", epochs=5, features="standard"), tmp_path / "node", draw=False)
    train(preset("gin", task="graph", dataset="cycles", epochs=2), tmp_path / "graph", draw=False)
    node, graph = (mpnn.load(tmp_path / name) for name in ("node", "graph"))
    theirs = Data(x=karate.x, edge_index=karate.graph.edge_index)
    pd.testing.assert_frame_equal(node.predict(theirs), node.predict(karate))
    several = [Data(x=x, edge_index=one.edge_index) for x, one in zip(cycles.x, cycles.graphs, strict=True)]
    pd.testing.assert_frame_equal(graph.predict(several), graph.predict(cycles))
    with pytest.raises(RunError, match=r"x is \[34, 3\], but the model reads features \[num_nodes, 34\]"):
        node.predict(Data(x=karate.x[:, :3], edge_index=theirs.edge_index))
    with pytest.raises(RunError, match="the model is of whole graphs: give a table of their edges, or"):
        graph.predict()


def test_data_without_the_table_that_a_model_reads_is_refused(tables: Path) -> None:
    run(tables)
    bare = load_model("run")[1].data
    with pytest.raises(RunError, match="has no table, but the model was trained with its columns town, age"):
        mpnn.load("run").predict(replace(bare, table=None))


def test_what_a_run_cannot_do_is_said(tmp_path: Path) -> None:
    train(preset("gcn", dataset="karate", epochs=2), tmp_path / "run", draw=False)
    with pytest.raises(RunError, match="the run has kept no graph that new nodes could join"):
        mpnn.load(tmp_path / "run").predict()
    train(preset("gae", task="edge", dataset="karate", epochs=2), tmp_path / "links", draw=False)
    with pytest.raises(RunError, match="a run of mpnn train edge, but this is for node, graph, image and"):
        mpnn.load(tmp_path / "links").predict()
    with pytest.raises(RunError, match="holds no run"):
        mpnn.load(tmp_path / "nothing")
