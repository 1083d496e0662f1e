"""Links and labels of edges, end to end; autoencoders and negative samples against PyG."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
import torch_geometric.nn as pyg
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

from mpnn import Graph
from mpnn.datasets import Entry, NodeDataset, load
from mpnn.datasets.registry import DATASETS
from mpnn.models import CONVS, GAE, GNN, VGAE, PairMLP
from mpnn.models.networks.autoencoder import divergence
from mpnn.train import EdgeTask, LinkTask, Recipe, RunError, Split, fit, load_model, preset, train
from mpnn.train.tasks.edge_task import labelled_pairs
from mpnn.train.tasks.held_out import hold_out
from mpnn.train.tasks.links import Links
from mpnn.train.tasks.pairs import Pairs, draw_unlinked
from mpnn.train.tasks.split import random_split
from tests.compare import assert_close
from tests.train.breaks import assert_goes_on
from tests.train.conftest import Complaint
from tests.train.toys import two_blocks

SHORT = preset("vgae", task="edge", dataset="blocks", epochs=5, hidden=8, embedding=4, predict="links")


@pytest.fixture(autouse=True)
def blocks(monkeypatch: pytest.MonkeyPatch) -> NodeDataset:
    data = two_blocks()
    monkeypatch.setitem(DATASETS, "blocks", Entry(lambda: data, "two blocks", False))
    return data


def link_task(data: NodeDataset, **options: Any) -> LinkTask:
    pairs = Pairs.of(data.graph)
    split = random_split(pairs.ends.size(1), None, seed=0, val_share=0.1, test_share=0.2)
    return LinkTask(hold_out(data, pairs, split), **options)


def as_set(pairs: Tensor) -> set[tuple[int, int]]:
    return set(zip(*pairs.tolist(), strict=True))


def test_the_loss_of_an_autoencoder_is_that_of_pyg(blocks: NodeDataset) -> None:
    torch.manual_seed(0)
    encoder = GNN(6, 8, 4).double()
    theirs, ours = pyg.GAE(encoder), GAE(encoder)  # each of which draws the parameters anew
    task = link_task(replace(blocks, x=blocks.x.double(), edge_attr=None))
    ((pairs, y),) = task.batches()
    z = encoder(task.data.x, task.graph)
    half = y.flatten()
    expected = theirs.recon_loss(z, pairs[:, half], pairs[:, ~half])
    # Ours is the mean over all, theirs the sum of two means; theirs adds 1e-15 inside the logarithm.
    assert_close(2 * task.loss(ours, (pairs, y)), expected, atol=1e-9)


def test_the_divergence_is_that_of_pyg() -> None:
    mean, deviation = torch.randn(2, 9, 4, dtype=torch.float64)
    assert_close(divergence(mean, deviation), pyg.VGAE(nn.Identity()).kl_loss(mean, deviation))


def test_a_variational_autoencoder_draws_in_training_only(blocks: NodeDataset) -> None:
    torch.manual_seed(0)
    model, pairs = VGAE(GNN(6, 8, 8)), torch.tensor([[0, 1], [2, 3]])
    (first, penalty), (second, _) = (model.reconstruct(blocks.x, blocks.graph, pairs) for _ in range(2))
    assert not torch.equal(first, second) and float(penalty.detach()) > 0
    model.eval()
    assert torch.equal(model(blocks.x, blocks.graph, pairs), model(blocks.x, blocks.graph, pairs))


def test_the_model_sees_only_the_links_to_train_on(blocks: NodeDataset) -> None:
    task = link_task(blocks)
    train_links = as_set(task.pairs[:, task.split.train[: len(task.split.train) // 2]])
    seen = as_set(task.graph.edge_index)
    assert seen == train_links | {(j, i) for i, j in train_links}
    hidden = as_set(task.pairs[:, torch.cat([task.split.val, task.split.test])])
    assert not seen & (hidden | {(j, i) for i, j in hidden})
    assert task._edges["edge_attr"].size(0) == task.graph.num_edges


def test_links_and_others_are_as_many_and_no_pair_is_both(blocks: NodeDataset) -> None:
    task, edges = link_task(blocks), as_set(blocks.graph.edge_index)
    for part in task.split:
        assert task.y[part].double().mean() == 0.5
    links, others = (as_set(task.pairs[:, task.y.flatten() == kind]) for kind in (True, False))
    assert links <= edges and not others & edges and all(i < j for i, j in others)
    assert len(others) == len(links)
    ((first, _),), ((second, _),) = task.batches(), task.batches()
    assert not torch.equal(first, second)


def test_with_self_links_each_node_is_linked_with_itself_in_training_only(blocks: NodeDataset) -> None:
    plain, task = link_task(blocks), link_task(blocks, self_links=True)
    assert torch.equal(task.pairs, plain.pairs) and task.split.test.equal(plain.split.test)
    assert task.graph.num_edges == plain.graph.num_edges
    ((pairs, y),) = task.batches()
    loops = {(node, node) for node in range(blocks.num_nodes)}
    ((links, _),) = plain.batches()
    links = links[:, : links.size(1) // 2]
    assert as_set(pairs[:, y.flatten()]) == as_set(links) | loops
    others = as_set(pairs[:, ~y.flatten()])
    assert not others & (loops | as_set(links))
    assert y.double().mean() == 0.5


@given(st.integers(3, 12), st.integers(0, 40), st.booleans(), st.booleans(), st.integers(0, 999))
def test_pairs_without_a_link_are_drawn_from_all_of_them(
    num_nodes: int, num_edges: int, undirected: bool, distinct: bool, seed: int
) -> None:
    generator = torch.Generator().manual_seed(seed)
    edge_index = torch.randint(num_nodes, (2, num_edges), generator=generator)
    if undirected:
        edge_index = torch.cat([edge_index, edge_index.flip(0)], dim=1)
    linked = Pairs.of(Graph(edge_index, num_nodes))
    everything = {
        (i, j) for i in range(num_nodes) for j in range(num_nodes) if (i < j if undirected else i != j)
    }
    free = everything - as_set(edge_index)
    if undirected:
        assert linked.undirected
    if linked.undirected != undirected:
        return  # a directed graph that happens to be symmetric
    assert as_set(linked.ends) == everything & as_set(edge_index)
    count = len(free) if distinct else 3
    if not free:
        return
    options: dict[str, Any] = {"undirected": undirected, "generator": generator, "distinct": distinct}
    drawn = draw_unlinked(num_nodes, linked.ends, count, **options)
    assert drawn.shape == (2, count) and as_set(drawn) <= free
    assert not distinct or as_set(drawn) == free


def test_a_large_sparse_graph_is_drawn_from_without_listing_its_pairs() -> None:
    linked = torch.stack([torch.arange(99_999), torch.arange(1, 100_000)])
    drawn = draw_unlinked(100_000, linked, 50_000, undirected=True, distinct=True)
    assert len(as_set(drawn)) == 50_000
    assert bool((drawn[1] > drawn[0]).all()) and not as_set(drawn) & as_set(linked)


def test_a_graph_without_free_pairs_is_refused() -> None:
    complete = torch.triu_indices(5, 5, 1)
    with pytest.raises(RunError, match="the graph has 0 pairs of nodes without a link, but 10 are needed"):
        draw_unlinked(5, complete, 10, undirected=True, distinct=True)


@given(
    st.lists(st.integers(0, 6), min_size=1, max_size=20),
    st.lists(st.integers(0, 6), min_size=1, max_size=20),
    st.integers(1, 5),
)
def test_rankings_are_measured_as_they_are_defined(links: list[int], others: list[int], k: int) -> None:
    output = torch.tensor([[float(score)] for score in links + others])
    y = (torch.arange(len(output)) < len(links)).unsqueeze(1)
    found = Links(k).scores(output, y)
    best = sorted(others, reverse=True)
    hits = [len(others) < k or link > best[k - 1] for link in links]
    assert found["hits"] == pytest.approx(sum(hits) / len(links))
    ranks = [1 + sum(o > link for o in others) + sum(o == link for o in others) / 2 for link in links]
    assert found["mrr"] == pytest.approx(sum(1 / rank for rank in ranks) / len(links))
    wins = sum((link > o) + 0.5 * (link == o) for link in links for o in others)
    assert found["auc"] == pytest.approx(wins / (len(links) * len(others)))


def test_both_directions_of_an_edge_with_one_label_are_one_item(blocks: NodeDataset) -> None:
    pairs, y = labelled_pairs(blocks)
    assert 2 * pairs.size(1) == blocks.graph.num_edges
    assert len({(min(pair), max(pair)) for pair in as_set(pairs)}) == len(y)
    truth = (pairs[0] // 30 == pairs[1] // 30).long()
    assert torch.equal(y, truth)
    assert blocks.edge_y is not None
    one_way = replace(blocks, edge_y=(blocks.graph.src < blocks.graph.dst).long())
    assert labelled_pairs(one_way)[0].size(1) == blocks.graph.num_edges


def test_links_are_predicted(tmp_path: Path) -> None:
    report = train(replace(SHORT, epochs=60, model="gae", features="standard"), tmp_path)
    assert report.test("auc")[0] > 0.7
    assert "gae on blocks: test AUC " in str(report) and "Hits@20 " in str(report) and "MRR " in str(report)
    model, task, _ = load_model(tmp_path)
    assert task.evaluate(model).items() <= report.results[0].best.items()


def test_edges_are_classified_and_regressed(tmp_path: Path, blocks: NodeDataset) -> None:
    settings = preset("gcn", task="edge", dataset="blocks", epochs=60, hidden=16)
    report = train(settings, tmp_path)
    assert report.test("accuracy")[0] > 0.9
    assert blocks.edge_y is not None
    numbers = replace(
        blocks, edge_y=blocks.edge_y.float()[:, None], edge_class_names=("weight",), edge_attr=None
    )
    pairs, y = labelled_pairs(numbers)
    split = random_split(len(y), None, seed=0, val_share=0.1, test_share=0.2)
    assert isinstance(split, Split)
    torch.manual_seed(0)
    model = GAE(GNN(6, 16, 8), PairMLP(8, 1))
    result = fit(model, EdgeTask(numbers, pairs, y, split), Recipe(epochs=150, lr=0.02))
    assert result.best["test_mae"] < 0.25 < result.history[0]["test_mae"]


def test_a_resumed_run_has_the_numbers_of_one_without_a_break(tmp_path: Path) -> None:
    assert_goes_on(replace(SHORT, features="standard"), tmp_path)


@pytest.mark.parametrize("predict", ["links", "labels"])
@pytest.mark.parametrize("model", [name for name in CONVS if name != "rgcn"])
def test_every_layer_encodes_for_edges(tmp_path: Path, model: str, predict: str) -> None:
    settings = preset(model, task="edge", dataset="blocks", epochs=1, hidden=4, predict=predict)
    assert len(train(settings, tmp_path, draw=False).results[0].history) == 1


def test_autoencoders_come_near_the_published_figures_on_cora(tmp_path: Path, real_data: Path) -> None:
    settings = preset("vgae", task="edge", dataset="cora", data=str(real_data), seed=1, epochs=120)
    assert train(settings, tmp_path, draw=False).test("auc")[0] > 0.89  # 0.914 in the paper


@pytest.fixture
def real_data() -> Path:
    folder = os.environ.get("MPNN_DATA")
    if not folder or not Path(folder).is_dir():
        pytest.skip("set MPNN_DATA to a folder with the published data files")
    return Path(folder)


MISTAKES: list[tuple[list[str], str]] = [
    (["--model", "gae"], "model is 'gae', but that predicts links: take a layer for labels"),
    (["--model", "gcn", "--hits", "3"], "hits is 3, but that is for predicting links"),
    (["--model", "gcn", "--self-links"], "self_links is True, but that is for predicting links"),
    (["--model", "gcn", "--decoder", "dot"], "decoder is 'dot', but that is for predicting links"),
    (
        ["--predict", "links", "--decoder", "mlp"],
        "decoder is 'mlp', but gae has dot: take a layer, such as gcn",
    ),
    (["--predict", "links", "--loss", "mse"], "loss is 'mse', but links are learned by bce"),
    (["--predict", "links", "--class-weights", "balanced"], "class_weights is 'balanced', but links are"),
    (
        ["--predict", "links", "--monitor", "accuracy"],
        "monitor is 'accuracy', but this task is measured by auc, ap",
    ),
    (["--predict", "links", "--features", "rows"], "features is 'rows', but blocks has features below zero"),
    (
        ["--predict", "links", "--batch-size", "3"],
        "batch_size is 3, but edge tasks have none: node, graph, image, text, segment tasks have",
    ),
    (
        ["--dataset", "karate", "--predict", "labels"],
        "karate has no classes, labels or numbers of edges to learn",
    ),
    (
        ["--predict", "links", "--split", "public"],
        "split is 'public', but these links have none: take random",
    ),
]


@pytest.mark.parametrize(("flags", "sentence"), MISTAKES, ids=lambda value: " ".join(value))
def test_a_mistake_gets_one_sentence_and_exit_code_2(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, complaint: Complaint, flags: list[str], sentence: str
) -> None:
    monkeypatch.chdir(tmp_path)
    flags = flags if "--dataset" in flags else ["--dataset", "blocks", *flags]
    assert sentence in complaint("train", "edge", "--features", "standard", *flags)
    assert list(tmp_path.iterdir()) == []


def test_karate_has_no_labels_of_edges() -> None:
    with pytest.raises(RunError, match="karate has no classes, labels or numbers of edges to learn"):
        labelled_pairs(load("karate"))  # type: ignore[arg-type]
