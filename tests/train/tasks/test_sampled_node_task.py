"""A graph too large for one step: with all neighbours, batches come to what the whole graph comes to."""

from __future__ import annotations

import copy
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

import mpnn
from mpnn import Graph, NeighborLoader
from mpnn.datasets import NodeDataset
from mpnn.models import CONVS, GNN
from mpnn.train import NodeTask, RunError, load, preset, train
from mpnn.train.command import cli
from mpnn.train.tasks import blocks
from mpnn.train.tasks.sampled_node_task import SampledNodeTask, read_fanouts
from tests.compare import assert_close

# Of cheb a sample cannot tell how many edges leave a node; mpnn changes what edges carry, from both ends.
WHOLE = ("cheb", "mpnn")
SAMPLED = [name for name in CONVS if name not in WHOLE]


def data_for(name: str, seed: int = 0) -> NodeDataset:
    """A directed graph in float64, with what the layer reads from edges; a quarter of it to train on."""
    numbers = torch.Generator().manual_seed(seed)
    edge_index = torch.randint(40, (2, 160), generator=numbers)
    reads = CONVS[name].edge_inputs
    types = torch.randint(3, (160,), generator=numbers) if "edge_type" in reads else None
    graph = Graph(edge_index, 40, types) if types is None else Graph(edge_index, 40, types, num_edge_types=3)
    attr: Tensor | None = None
    if "edge_attr" in reads:
        attr = torch.randn(160, 2, generator=numbers, dtype=torch.float64)
    elif "edge_weight" in reads:
        attr = torch.rand(160, generator=numbers, dtype=torch.float64)
    part = torch.arange(40) % 4
    return NodeDataset(
        "random",
        graph,
        torch.randn(40, 5, generator=numbers, dtype=torch.float64),
        torch.randint(3, (40,), generator=numbers),
        train_mask=part == 0,
        val_mask=part == 1,
        test_mask=part == 2,
        class_names=("a", "b", "c"),
        edge_attr=attr,
    )


def model_for(name: str, data: NodeDataset, **options: Any) -> GNN:
    torch.manual_seed(1)
    if name == "pna":
        options["deg"] = data.graph.in_degree.bincount()
    if name == "rgcn":
        options["num_relations"] = 3
    if data.edge_attr is not None and data.edge_attr.dim() == 2:
        options["edge_dim"] = 2
    return GNN(5, 8, 3, num_layers=2, conv=name, **options).double()


@pytest.mark.parametrize("name", SAMPLED)
@pytest.mark.parametrize("batch_size", [10, 3], ids=["one batch", "batches"])
def test_with_all_neighbours_loss_and_gradients_are_those_of_the_whole_graph(
    name: str, batch_size: int
) -> None:
    data = data_for(name)
    ours, theirs = SampledNodeTask(data, batch_size=batch_size, fanouts=(-1, -1)), NodeTask(data)
    model = model_for(name, data)
    other = copy.deepcopy(model)
    batches = list(ours.batches())
    assert sorted(torch.cat(batches).tolist()) == ours.split.train.tolist()
    loss = sum(ours.loss(model, batch) * len(batch) for batch in batches) / 10
    assert isinstance(loss, Tensor)
    expected = theirs.loss(other, None)
    loss.backward()
    expected.backward()
    assert_close(loss.detach(), expected.detach(), atol=1e-10)
    for mine, its in zip(model.parameters(), other.parameters(), strict=True):
        assert (mine.grad is None) == (its.grad is None)
        if mine.grad is not None and its.grad is not None:
            assert_close(mine.grad, its.grad, atol=1e-10)


@pytest.mark.parametrize("name", CONVS)
@pytest.mark.parametrize(
    "options", [{}, {"norm": "graph", "jk": "cat", "residual": True}], ids=["plain", "rich"]
)
def test_a_block_of_nodes_at_a_time_is_the_whole_graph(name: str, options: dict[str, Any]) -> None:
    data = data_for(name)
    task, model = SampledNodeTask(data, batch_size=7), model_for(name, data, **options).eval()
    expected = NodeTask(data).outputs(model)
    assert_close(task.outputs(model), expected, atol=1e-10)
    states, whole = task.embed(model), NodeTask(data).embed(model)
    assert states is not None and whole is not None
    assert_close(states, whole, atol=1e-10)
    assert_close(model(data.x, data.graph, **task._edges), expected, atol=0)  # the layers are as they were


def test_no_block_has_more_nodes_than_it_should(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[tuple[int, list[int]]] = []
    sample = mpnn.sample_neighbors

    def noted(graph: Graph, nodes: Tensor, fanouts: list[int]) -> Any:
        asked.append((len(nodes), fanouts))
        return sample(graph, nodes, fanouts)

    monkeypatch.setattr(blocks, "sample_neighbors", noted)
    data = data_for("sage")
    SampledNodeTask(data, batch_size=16).evaluate(model_for("sage", data).eval())
    assert asked == [(16, [-1]), (16, [-1]), (8, [-1])] * 2


@pytest.mark.parametrize(
    ("name", "fanouts", "hops"),
    [
        ("sage", (3, 2), [3, 2]),
        ("sage", (-1, -1), [-1, -1]),
        ("gcn", (3, 2), [3, 2]),
        ("gcn", (-1, -1), [-1, -1, -1]),  # the degrees of the nodes that send
        ("gated", (3, 2), [3, 3, 2, 2]),
        ("tag", (2, 1), [2, 2, 2, 1, 1, 1]),
    ],
)
def test_a_layer_of_several_steps_has_as_many_hops(
    name: str, fanouts: tuple[int, int], hops: list[int]
) -> None:
    assert blocks.hops_of(model_for(name, data_for(name)), fanouts) == hops


def test_with_fanouts_a_batch_is_that_of_the_loader() -> None:
    data = data_for("sage")
    model = model_for("sage", data)
    task = SampledNodeTask(data, batch_size=100, fanouts=(2, 1))
    nodes = task.split.train
    torch.manual_seed(5)
    ours = task.loss(model, nodes)
    torch.manual_seed(5)
    (batch,) = NeighborLoader(data.graph, [2, 1], nodes=nodes, batch_size=100)
    logits = model(data.x[batch.nodes], batch.graph)[: batch.num_seeds]
    truth = task.y[nodes]
    assert_close(ours, torch.nn.functional.cross_entropy(logits, truth), atol=1e-12)
    torch.manual_seed(6)
    assert not torch.equal(ours, task.loss(model, nodes))  # another draw


def test_a_run_with_all_neighbours_in_one_batch_is_that_of_the_whole_graph(tmp_path: Path) -> None:
    # The first epochs: rounding grows, since a batch has its nodes in another order.
    usual = preset("gcn", dataset="karate", epochs=5, dropout=0.0, decayed="all")
    whole = train(usual, tmp_path / "whole", draw=False)
    sampled = train(replace(usual, batch_size=1000, fanouts="all"), tmp_path / "sampled", draw=False)
    for ours, theirs in zip(sampled.results[0].history, whole.results[0].history, strict=True):
        assert ours == pytest.approx(theirs, abs=1e-4)


def test_the_command_samples_and_goes_on_and_the_model_is_loaded(tmp_path: Path) -> None:
    flags = ["--batch-size", "16", "--fanouts", "4,3", "--no-pictures"]
    command = ["train", "node", "--dataset", "sbm", "--model", "sage", *flags]
    assert cli.main([*command, "--epochs", "4", "--out", str(tmp_path / "whole")]) == 0
    assert cli.main([*command, "--epochs", "2", "--out", str(tmp_path / "run")]) == 0
    assert cli.main(["train", "node", "--resume", str(tmp_path / "run"), "--epochs", "4"]) == 0
    ours, theirs = (tmp_path / name / "metrics.csv" for name in ("run", "whole"))
    assert ours.read_bytes() == theirs.read_bytes()
    assert cli.main(["evaluate", str(tmp_path / "run")]) == 0
    assert load(tmp_path / "run") is not None


@pytest.mark.parametrize(
    ("fanouts", "sentence"),
    [
        ("5", "there are 2 layers: give a number or all for each"),
        ("5,some", "should be numbers of edges divided by commas, or all"),
        ("5,-2", "should be numbers of edges divided by commas, or all"),
    ],
)
def test_fanouts_that_do_not_suit_the_layers_get_a_sentence(fanouts: str, sentence: str) -> None:
    with pytest.raises(RunError, match=sentence):
        read_fanouts(fanouts, 2)


def test_several_graphs_are_taken_whole(tmp_path: Path) -> None:
    with pytest.raises(RunError, match="fanouts is '5,5', but crowds is 24 graphs, which are taken whole"):
        train(preset("sage", dataset="crowds", epochs=1, fanouts="5,5"), tmp_path, draw=False)
