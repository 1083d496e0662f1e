"""Nodes of several graphs, several labels each, and edges of several types."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest
import torch
from sklearn.metrics import f1_score
from torch import Tensor, nn

from mpnn import Graph
from mpnn.datasets import GraphDataset, NodeDataset, load
from mpnn.datasets.synthetic import load_crowds
from mpnn.models import GNN
from mpnn.train import InductiveNodeTask, NodeTask, build_model, preset, train
from mpnn.train.command import cli
from mpnn.train.runs.build import make_task
from mpnn.train.tasks.objective import objective
from tests.train.conftest import Complaint
from tests.train.toys import rings_and_stars


def crowds() -> NodeDataset:
    data = load_crowds(count=8)
    attr = torch.rand(data.graph.num_edges, 2, generator=torch.Generator().manual_seed(1))
    return NodeDataset(**{**vars(data), "edge_attr": attr})


class Listening(nn.Module):
    """A model that notes what it is called with."""

    def __init__(self) -> None:
        super().__init__()
        self.gnn, self.heard = GNN(4, 8, 4, conv="gine", edge_dim=2), list[Tensor]()

    def forward(self, x: Tensor, graph: Graph, edge_attr: Tensor) -> Tensor:
        self.heard.append(x)
        out: Tensor = self.gnn(x, graph, edge_attr=edge_attr)
        return out


def test_only_graphs_to_train_on_are_seen_in_training_and_each_once() -> None:
    data = crowds()
    task, model = InductiveNodeTask(data), Listening()
    for batch in task.batches():
        task.loss(model, batch)
    assert len(model.heard) == 2  # four graphs, two a batch
    assert data.train_mask is not None
    seen = sorted(torch.cat(model.heard).tolist())
    assert seen == sorted(data.x[data.train_mask].tolist())


def test_an_epoch_of_one_batch_has_the_loss_and_gradient_of_all_graphs_as_one() -> None:
    data, model = crowds(), Listening().double()
    data = NodeDataset(**{**vars(data), "x": data.x.double(), "edge_attr": data.edge_attr.double()})  # type: ignore[union-attr]
    several, one = InductiveNodeTask(data, batch_size=8), NodeTask(data)
    (batch,) = several.batches()
    losses = [several.loss(model, batch), one.loss(model, None)]
    torch.testing.assert_close(losses[0], losses[1], atol=1e-10, rtol=0)
    ours, theirs = (torch.autograd.grad(loss, list(model.parameters())) for loss in losses)
    torch.testing.assert_close(ours, theirs, atol=1e-10, rtol=0)


def test_labels_of_graphs_that_were_not_seen_are_told(tmp_path: Path) -> None:
    report = train(preset("sage", dataset="crowds", epochs=60, dropout=0.0, hidden=32), tmp_path / "run")
    assert report.metrics[0].name == "f1_micro" and report.test()[0] > 0.9
    assert cli.main(["predict", str(tmp_path / "run"), "--output", str(tmp_path / "out.csv")]) == 0
    rows = list(csv.DictReader((tmp_path / "out.csv").read_text().splitlines()))
    parts = {row["graph"]: row["part"] for row in rows}
    assert list(parts.values()) == ["train"] * 20 + ["val"] * 2 + ["test"] * 2


def test_a_random_split_is_of_whole_graphs(tmp_path: Path) -> None:
    settings = preset("gcn", dataset="crowds", split="random", epochs=1)
    task = make_task(settings, load("crowds"))
    owner = task.data.graph.graph_index
    parts = [set(owner[part].tolist()) for part in task.split]
    assert sum(map(len, parts)) == 24 and set.union(*parts) == set(range(24))


def test_as_many_labels_are_told_as_there_are() -> None:
    generator = torch.Generator().manual_seed(0)
    y = torch.rand(40, 6, generator=generator) < 0.3
    output = torch.randn(40, 6, generator=generator)
    found = torch.zeros_like(y)
    for row in range(40):  # the protocol of Perozzi et al. (2014), in its own words
        best = sorted(range(6), key=lambda k: -output[row, k])[: int(y[row].sum())]
        found[row, best] = True
    aim = objective(y, list("abcdef"), known_counts=True)
    for mean in ("micro", "macro"):
        expected = f1_score(y.numpy(), found.numpy(), average=mean, zero_division=0.0)
        assert aim.scores(output, y)[f"f1_{mean}"] == pytest.approx(expected)
    assert objective(y, list("abcdef")).scores(output, y)["f1_micro"] != aim.scores(output, y)["f1_micro"]


@pytest.fixture
def tables(tmp_path: Path) -> Path:
    """Two triangles and a pair: three graphs, mixed up; who goes round, and who is tall."""
    rows = ["a,1,train,0,1,5", "x,2,val,1,1,6", "b,1,train,1,0,7", "y,2,val,0,0,8", "c,1,train,1,1,9"]
    rows += ["p,3,test,1,1,1", "q,3,,,0,2", "z,2,val,1,0,3"]
    (tmp_path / "nodes.csv").write_text("\n".join(["id,club,use,round,tall,age", *rows]))
    edges = [
        "a,b,likes",
        "b,c,knows",
        "c,a,likes",
        "x,y,knows",
        "y,z,knows",
        "z,x,likes",
        "p,q,knows",
        "a,b,knows",
    ]
    (tmp_path / "net.csv").write_text("\n".join(["u,v,kind", *edges]))
    return tmp_path


OWN = ["--dataset", "net.csv", "--nodes", "nodes.csv", "--label", "round,tall"]
KINDS = [*OWN, "--edge-type", "kind"]
SEVERAL = [*OWN, "--graph-id", "club", "--part", "use", "--edge-type", "kind"]


def test_tables_of_several_graphs_are_read_and_learned(
    tables: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tables)
    for model in ("rgcn", "gcn", "gat"):
        flags = ["--model", model, "--epochs", "2", "--no-pictures", "--out", model]
        assert cli.main(["train", "node", *SEVERAL, *flags]) == 0
    out = capsys.readouterr().out
    assert "net: 8 nodes in 3 graphs, 16 edges, 1 features, 2 labels, 3/3/1 nodes to train" in out
    cli.main(["predict", "rgcn", "--output", "out.csv"])
    rows = list(csv.DictReader(Path("out.csv").read_text().splitlines()))
    assert [row["node"] for row in rows] == list("abcxyzpq")
    assert [row["graph"] for row in rows] == list("00011122")
    assert rows[7]["true round"] == "" and rows[7]["part"] == ""


@pytest.mark.parametrize(
    ("flags", "sentence"),
    [
        (["--model", "rgcn"], "model is 'rgcn', which reads edge types, but karate has no edge types"),
        (["--model", "nn"], "model is 'nn', which reads edge features, but karate has none"),
        (["--fanouts", "5"], "fanouts is '5', but there are 2 layers: give a number or all for each"),
        (["--known-counts"], "known_counts is set, but the data has one class for each"),
        (["--virtual-node", "--layers", "1"], "num_layers is 1, but must be at least 2 with virtual_node"),
        (
            [*KINDS, "--ignore", "use", "--part", "age"],
            "line 2: age is '5', but should be train, val, test or nothing",
        ),
        ([*KINDS, "--label", "round,id"], "line 2: id is 'a', but of several columns to learn each should"),
        (
            [*KINDS, "--label", "round", "--ignore", "use", "--graph-id", "tall"],
            "goes from one tall to another, but graph_id is 'tall', so it should stay within one",
        ),
        ([*OWN, "--edge-type", "sort"], "net.csv has no column 'sort', but u, v, kind"),
        (["--dataset", "crowds", "--split", "per-class"], "split is 'per-class', but that is for nodes"),
    ],
)
def test_a_mistake_gets_one_sentence(
    flags: list[str],
    sentence: str,
    tables: Path,
    monkeypatch: pytest.MonkeyPatch,
    complaint: Complaint,
) -> None:
    monkeypatch.chdir(tables)
    assert sentence in complaint("train", "node", *flags)


@pytest.mark.parametrize("model", ["rgcn", "gine", "nn", "gat"])
def test_types_and_features_of_edges_are_read_by_name_of_the_model(tmp_path: Path, model: str) -> None:
    graphs = rings_and_stars()
    kinds = tuple(torch.eye(2)[(graph.src < graph.dst).long()] for graph in graphs.graphs)
    # Where all nodes are alike, attention can weigh them as it likes, and nothing changes.
    draw = torch.Generator().manual_seed(0)
    x = tuple(torch.randn(graph.num_nodes, 1, generator=draw) for graph in graphs.graphs)
    graphs = GraphDataset(**{**vars(graphs), "x": x})
    data = GraphDataset(**{**vars(graphs), "edge_attr": kinds})
    settings = preset(model, task="graph", virtual_node=True)
    task = make_task(settings, data)
    out = task.outputs(build_model(settings, task).eval())
    assert out.shape == (60, 2)
    swapped = GraphDataset(**{**vars(graphs), "edge_attr": tuple(kind.flip(1) for kind in kinds)})
    torch.manual_seed(0)
    first = build_model(settings, task).eval()
    other = make_task(settings, swapped).outputs(first)
    assert (task.outputs(first) - other).abs().max() > 1e-3  # rounding is 1e-7
