"""A run tells why its model says what it says of nodes, edges and graphs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image

import mpnn
from mpnn import backend
from mpnn.datasets import load as data_called
from mpnn.train import RunError, preset, train
from mpnn.train.command import cli
from mpnn.train.runs.trained import Trained
from tests.train.conftest import Complaint


@pytest.fixture(scope="module")
def tables(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """People whose team is told by the badges of those who point at them, and by nothing else."""
    home = tmp_path_factory.mktemp("tables")
    draw = np.random.default_rng(0)
    badge = draw.normal(size=60).round(2)
    names = [f"n{k}" for k in range(60)]
    pairs = [(j, i) for i in range(60) for j in draw.choice(60, 3, replace=False) if j != i]
    sums = np.zeros(60)
    for j, i in pairs:
        sums[i] += badge[j]
    nodes = pd.DataFrame({"id": names, "noise": draw.normal(size=60).round(2), "badge": badge})
    nodes["team"] = np.where(sums > 0, "red", "blue")
    nodes.to_csv(home / "nodes.csv", index=False)
    pd.DataFrame([(names[j], names[i]) for j, i in pairs], columns=["u", "v"]).to_csv(
        home / "net.csv", index=False
    )
    return home


@pytest.fixture(scope="module")
def people(tables: Path) -> Path:
    given: dict[str, Any] = {"dataset": str(tables / "net.csv"), "nodes": str(tables / "nodes.csv")}
    own: dict[str, Any] = {
        "label": "team",
        "directed": True,
        "epochs": 150,
        "layers": 1,
        "dropout": 0.0,
        "lr": 0.05,
    }
    train(preset("graph", **given | own), tables / "run", draw=False)
    return tables / "run"


def test_the_edges_and_the_feature_that_matter_come_first(people: Path) -> None:
    model = mpnn.load(people)
    why = model.why("n3")
    assert why.item == "node n3" and why.said == model.predict().set_index("node").predicted["n3"]
    assert why.score == pytest.approx(
        float(model.predict().set_index("node")[f"p({why.said})"]["n3"]), abs=1e-4
    )
    assert set(why.edges.target) == {"n3"} and 1 <= len(why.edges) <= 3
    assert why.features.feature.tolist()[0] == "badge"
    badges = pd.read_csv(people.parent / "nodes.csv").set_index("id").badge[why.edges.source].to_numpy()
    towards_red = why.edges.effect * (1 if why.said == "red" else -1)
    assert ((towards_red > 0) == (badges > 0))[abs(badges) > 0.3].all()
    hops = why.neighbours.set_index("node").hops
    assert hops["n3"] == 0 and set(hops[why.edges.source]) == {1}


def test_another_class_is_explained_when_it_is_asked_for(people: Path) -> None:
    model = mpnn.load(people)
    said = model.why("n3", epochs=5)
    other = {"red": "blue", "blue": "red"}[said.said]
    not_said = model.why("n3", of=other, epochs=5)
    assert not_said.said == other and not_said.score == pytest.approx(1 - said.score, abs=1e-5)
    assert not_said.features.effect.sum() == pytest.approx(-said.features.effect.sum(), abs=1e-4)


def test_the_same_seed_gives_the_same_answer(people: Path) -> None:
    state = torch.random.get_rng_state()
    first, again = (mpnn.load(people).why("n3", epochs=5, seed=1).table for _ in range(2))
    pd.testing.assert_frame_equal(first, again)
    assert torch.equal(torch.random.get_rng_state(), state)


def test_the_command_writes_a_table_and_a_picture(
    people: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["why", str(people), "--node", "n3", "--epochs", "5"]) == 0
    out = capsys.readouterr().out
    assert "node n3: " in out and "badge" in out and "importance" in out
    table = pd.read_csv(people / "why" / "node-3.csv")
    assert set(table.what) == {"edge", "neighbour", "feature"}
    assert set(table.columns) == {"what", "name", "source", "target", "hops", "importance", "effect"}
    with Image.open(people / "why" / "node-3.png") as picture:
        assert min(picture.size) > 500
    output = tmp_path / "here" / "why.csv"
    assert cli.main(["why", str(people), "--node", "n3", "--epochs", "5", "--output", str(output)]) == 0
    pd.testing.assert_frame_equal(pd.read_csv(output), table)


def test_a_published_data_set_is_read_again(tmp_path: Path, complaint: Complaint) -> None:
    train(preset("gat", dataset="karate", epochs=3), tmp_path / "run", draw=False)
    assert cli.main(["why", str(tmp_path / "run"), "--node", "8", "--epochs", "2"]) == 0
    table = pd.read_csv(tmp_path / "run" / "why" / "node-8.csv")
    model = mpnn.load(tmp_path / "run")
    why = model.why(8, data=data_called("karate"), epochs=2)
    assert table.importance.tolist() == pytest.approx(why.table.importance.tolist(), abs=1e-5)
    with pytest.raises(RunError, match="the run has kept no graph to explain a prediction on"):
        model.why(8)


def loaded(tmp_path: Path, task: str, **options: Any) -> Trained:
    given: dict[str, Any] = {"task": task, "epochs": 3} | options
    train(preset(**given), tmp_path / "run", draw=False)
    return mpnn.load(tmp_path / "run")


def test_a_link_is_explained(tmp_path: Path) -> None:
    model = loaded(tmp_path, "edge", dataset="karate", model="sage")
    assert cli.main(["why", str(tmp_path / "run"), "--edge", "0,33", "--epochs", "2"]) == 0
    table = pd.read_csv(tmp_path / "run" / "why" / "edge-0-33.csv")
    assert (table[table.what == "neighbour"].hops == 0).sum() == 2
    assert model.kept.learns == "links"


def test_a_graph_is_explained(tmp_path: Path) -> None:
    loaded(tmp_path, "graph", dataset="cycles", model="gin")
    assert cli.main(["why", str(tmp_path / "run"), "--graph", "3", "--epochs", "2"]) == 0
    table = pd.read_csv(tmp_path / "run" / "why" / "graph-3.csv")
    assert (table.what == "edge").sum() > 2 and (table[table.what == "neighbour"].hops == 0).all()


@pytest.mark.parametrize("options", [{"virtual_node": True}, {"norm": "pair"}, {"jk": "cat"}], ids=str)
def test_what_reads_all_nodes_is_explained_on_the_whole_graph(
    tmp_path: Path, options: dict[str, Any]
) -> None:
    model = loaded(tmp_path, "node", dataset="grid", model="gcn", **options)
    with backend("eager"):
        data = data_called("grid")
        why = model.why(5, data=data, epochs=2)
        said = model.predict(data)
    number = said.set_index("node").filter(like="predicted").iloc[5, 0]
    assert why.score == pytest.approx(float(number), abs=1e-4)


def test_mistakes_are_named(people: Path, complaint: Complaint) -> None:
    run = str(people)
    assert "the model tells something of nodes, but nothing is asked about" in complaint("why", run)
    assert "but graph 1 is asked about: give one node" in complaint("why", run, "--graph", "1")
    assert "'N3' is no node that the run knows: did you mean 'n3'?" in complaint("why", run, "--node", "N3")
    assert "edge is 'n3', but should be two names" in complaint("why", run, "--edge", "n3")
    wrong = complaint("why", run, "--node", "n3", "--of", "redd")
    assert "of is 'redd', but the model tells blue, red: did you mean 'red'?" in wrong
    assert "epochs is 0, but should be at least 1" in complaint("why", run, "--node", "n3", "--epochs", "0")
    wrong = complaint("why", run, "--node", "n3", "--epochs", "1", "--output", "why.txt")
    assert "output is 'why.txt', but should end in .csv" in wrong
