"""`mpnn export RUN`: the file of a run gives what the run's model gives."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

import mpnn
from mpnn import Graph
from mpnn.datasets import GraphDataset, NodeDataset, load
from mpnn.train import preset, train
from mpnn.train.command import cli
from tests.compare import assert_close
from tests.train.conftest import Complaint

pytestmark = pytest.mark.filterwarnings("ignore:`torch.jit.load` is deprecated")


def exported(home: Path) -> tuple[Any, dict[str, Any]]:
    """The file of a run, and what it says of itself."""
    assert cli.main(["export", str(home), "--to", "torchscript"]) == 0
    extra: dict[str, Any] = {"mpnn.json": ""}
    return torch.jit.load(home / "model.pt", _extra_files=extra), json.loads(extra["mpnn.json"])


def test_new_nodes_get_the_probabilities_that_predict_gives(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    train(preset("gat", dataset="karate", epochs=2), tmp_path, draw=False)
    file, facts = exported(tmp_path)
    out = capsys.readouterr().out
    assert "[num_nodes, 34]" in out
    assert "softmax over the last dimension" in out
    assert facts["names"] == ["Mr. Hi", "Officer"]
    karate = load("karate")
    assert isinstance(karate, NodeDataset)
    with torch.no_grad():
        found = file(karate.x, karate.graph.edge_index).softmax(-1)
    wanted = mpnn.load(tmp_path).predict(karate)[["p(Mr. Hi)", "p(Officer)"]]
    assert_close(found, torch.tensor(wanted.to_numpy(), dtype=torch.float32), atol=1e-5)


def test_a_file_says_how_features_are_made_and_takes_them_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    rows = "\n".join(f"n{k},{k * k},{'red' if k % 3 else 'blue'}" for k in range(30))
    Path("nodes.csv").write_text(f"id,age,team\n{rows}\n")
    edges = "\n".join(f"n{k},n{(k + 3) % 30},{k + 1}" for k in range(30))
    Path("net.csv").write_text(f"u,v,strength\n{edges}\n")
    own = {"dataset": "net.csv", "nodes": "nodes.csv", "label": "team", "edge_weight": "strength"}
    train(preset("gcn", epochs=2, **own), "run", draw=False)
    file, facts = exported(Path("run"))
    assert [one["name"] for one in facts["inputs"]] == ["x", "edge_index", "edge_weight"]
    assert facts["preparation"]["features"] == "standard"
    known = mpnn.load("run").known
    assert known is not None
    with torch.no_grad():
        found = file(known.x, known.graph.edge_index, known.edge_attr).softmax(-1)
    wanted = mpnn.load("run").predict().filter(like="p(")
    assert_close(found, torch.tensor(wanted.to_numpy(), dtype=torch.float32), atol=1e-5)


def test_whole_graphs_are_told_apart_by_where_their_nodes_begin(tmp_path: Path) -> None:
    train(preset("gin", task="graph", dataset="cycles", epochs=1), tmp_path, draw=False)
    file, _ = exported(tmp_path)
    cycles = load("cycles")
    assert isinstance(cycles, GraphDataset)
    model = mpnn.load(tmp_path).model
    for count in (1, 2, 7):
        batch = Graph.batch(cycles.graphs[:count])
        x = torch.cat(cycles.x[:count])
        with torch.no_grad():
            assert_close(file(x, batch.edge_index, batch.node_ptr), model(x, batch), atol=1e-5)


def test_links_are_scored_pair_by_pair(tmp_path: Path) -> None:
    train(preset("vgae", task="edge", dataset="karate", epochs=1), tmp_path, draw=False)
    file, facts = exported(tmp_path)
    assert "probability of a link" in facts["scores"]
    karate = load("karate")
    assert isinstance(karate, NodeDataset)
    pairs = torch.tensor([[0, 3, 5], [1, 9, 30]])
    with torch.no_grad():
        wanted = mpnn.load(tmp_path).model(karate.x, karate.graph, pairs)
        assert_close(file(karate.x, karate.graph.edge_index, pairs), wanted, atol=1e-5)


def test_images_come_in_batches(tmp_path: Path) -> None:
    train(preset("lenet", task="image", dataset="digits", epochs=1), tmp_path, draw=False)
    file, _ = exported(tmp_path)
    images = torch.rand(7, 1, 8, 8)
    with torch.no_grad():
        assert_close(file(images), mpnn.load(tmp_path).model(images), atol=1e-5)


@pytest.mark.parametrize("name", ["lstm", "transformer"])
def test_a_text_goes_on_from_the_state_before(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("text.txt").write_text("the quick brown fox jumps over the lazy dog. " * 40)
    small = {"hidden": 8, "layers": 1, "epochs": 1, "steps": 1, "context": 16, "batch_size": 2}
    train(preset(name, task="text", dataset="text.txt", **small), "run", draw=False)
    file, _ = exported(Path("run"))
    model = mpnn.load("run").model
    tokens = torch.randint(10, (3, 12))

    def flat(output: Any) -> list[Tensor]:
        logits, state = output
        return [logits, *(state or ())]

    with torch.no_grad():
        state = flat(model(tokens))[1:]
        found = file(tokens, *state)
        found = [found] if isinstance(found, Tensor) else list(found)
        for one, other in zip(found, flat(model(tokens, tuple(state) or None)), strict=True):
            assert_close(one, other, atol=1e-5)


def test_several_runs_and_embeddings_are_refused(tmp_path: Path, complaint: Complaint) -> None:
    train(preset("gcn", dataset="karate", epochs=1, runs=2), tmp_path, draw=False)
    assert "holds 2 runs: export one of them" in complaint("export", str(tmp_path), "--to", "pt2")
