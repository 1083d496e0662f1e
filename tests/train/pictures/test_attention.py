"""Attention weights of a whole model against PyTorch Geometric's layers, and their picture."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
import torch_geometric.nn as pyg

from mpnn.datasets import NodeDataset, load
from mpnn.datasets.karate import load_karate
from mpnn.models import GAE, GNN
from mpnn.train import attention_picture, attention_weights, load_model, preset, train

LAYERS = {"gat": pyg.GATConv, "gatv2": pyg.GATv2Conv, "transformer": pyg.TransformerConv}


@pytest.mark.parametrize("conv", LAYERS)
def test_the_weights_of_a_model_are_those_of_pygs_layers(conv: str) -> None:
    data = load_karate()
    model = GNN(34, 8, 2, conv=conv, heads=4, dropout=0.5).double().train()
    x = data.x.double()
    attended = attention_weights(model, x, data.graph)
    assert [one.name for one in attended] == ["convs.0", "convs.1"] and model.training
    theirs = LAYERS[conv](34, 2, heads=4).double()
    theirs.load_state_dict(model.convs[0].state_dict())
    _, (edge_index, weights) = theirs(x, data.graph.edge_index, return_attention_weights=True)
    assert attended[0].graph.edge_index.equal(edge_index)
    torch.testing.assert_close(attended[0].weights, weights, atol=1e-10, rtol=0)
    received = torch.zeros(34, 4).double().index_add_(0, attended[0].graph.dst, attended[0].weights)
    torch.testing.assert_close(received, torch.ones_like(received))


def test_a_model_without_attention_has_no_weights() -> None:
    data = load_karate()
    assert attention_weights(GNN(34, 8, 2), data.x, data.graph) == []


def test_the_picture_shows_the_largest_weights_and_each_head() -> None:
    data = load_karate()
    assert data.y is not None
    (first, _) = attention_weights(GNN(34, 8, 2, conv="gat", heads=4), data.x, data.graph)
    _, heads, _ = attention_picture(first, 0, data.y, data.class_names).axes
    shown = heads.images[0].get_array()
    assert shown is not None and shown.shape == (4, 16)  # of 17, with itself
    weights = first.weights[first.graph.dst == 0].mean(1).sort(descending=True).values
    torch.testing.assert_close(torch.tensor(shown.mean(0)) / 100, weights[:16])
    assert heads.images[0].get_clim() == (
        shown.min(),
        shown.max(),
    )  # its colours tell the weights from each other
    with pytest.raises(ValueError, match="node is 3, but no edge goes into it"):
        attention_picture(first._replace(graph=first.graph.subgraph(torch.arange(4))[0].edge_subgraph(
            torch.tensor([0]))), 3, data.y, data.class_names)  # fmt: skip


def test_a_run_with_attention_draws_it(tmp_path: Path) -> None:
    train(preset("gat", dataset="karate", epochs=2), tmp_path)
    assert (tmp_path / "attention.png").read_bytes().startswith(b"\x89PNG")


def test_a_run_on_links_draws_its_vectors(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    drawn: list[tuple[torch.Tensor, list[int], tuple[str, ...]]] = []

    def noted(vectors: torch.Tensor, classes: torch.Tensor, names: tuple[str, ...], **look: object) -> None:
        drawn.append((vectors, classes.tolist(), names))

    monkeypatch.setattr("mpnn.train.pictures.of_a_run.embedding_picture", noted)
    for k, (dataset, model) in enumerate((("karate", "vgae"), ("grid", "sage"))):
        settings = preset(model, task="edge", dataset=dataset, epochs=2, embedding=5, predict="links")
        train(settings, tmp_path / str(k))
        found, task, _ = load_model(tmp_path / str(k))
        x, graph, edges = task.example()
        assert isinstance(found, GAE)
        vectors, classes, names = drawn[k]
        torch.testing.assert_close(vectors, found.encode(x, graph, **edges))
        data = load(dataset)
        assert isinstance(data, NodeDataset) and data.y is not None
        classed = (data.y.tolist(), data.class_names) if k == 0 else ([0] * data.num_nodes, ("nodes",))
        assert (classes, names) == classed
