"""The largest component is networkx's, and everything about its nodes comes along."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import networkx as nx
import pytest
import torch

from mpnn import Graph
from mpnn.datasets import Entry, NodeDataset
from mpnn.datasets.registry import DATASETS
from mpnn.train import load_model, preset, train
from mpnn.train.inputs.component import largest_component
from tests.present import present


def scattered() -> NodeDataset:
    """Random sparse directed edges, in several components."""
    generator = torch.Generator().manual_seed(3)
    edge_index = torch.randint(60, (2, 45), generator=generator)
    part = torch.arange(60) % 3
    return NodeDataset(
        name="scattered",
        graph=Graph(edge_index, 60),
        x=torch.randn(60, 4, generator=generator),
        y=torch.arange(60) % 2,
        class_names=("even", "odd"),
        train_mask=part == 0,
        val_mask=part == 1,
        test_mask=part == 2,
        edge_attr=torch.arange(45.0).unsqueeze(1),
        node_names=tuple(f"n{node}" for node in range(60)),
    )


def test_the_largest_component_equals_networkxs() -> None:
    data = scattered()
    found = largest_component(data)
    network = nx.MultiDiGraph(data.graph.edge_index.T.tolist())
    largest = max(nx.weakly_connected_components(network), key=len)
    nodes = sorted(largest)
    assert 5 < len(nodes) < 60
    assert found.node_names == tuple(f"n{node}" for node in nodes)
    assert torch.equal(found.x, data.x[nodes])
    assert torch.equal(present(found.y), present(data.y)[nodes])
    assert torch.equal(present(found.val_mask), present(data.val_mask)[nodes])
    ends = [[nodes[node] for node in row] for row in found.graph.edge_index.tolist()]
    kept = present(found.edge_attr).flatten().long()
    assert ends == data.graph.edge_index[:, kept].tolist()
    assert len(kept) == network.subgraph(nodes).number_of_edges()


def test_of_equal_components_the_first_is_taken() -> None:
    data = replace(
        scattered(), graph=Graph(torch.tensor([[4, 2], [5, 3]]), 60), edge_attr=None, train_mask=None,
        val_mask=None, test_mask=None,
    )  # fmt: skip
    assert largest_component(data).node_names == ("n2", "n3")


def test_a_run_is_on_the_component_and_can_be_loaded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data = scattered()
    monkeypatch.setitem(DATASETS, "scattered", Entry(lambda: data, "scattered", False))
    settings = preset("gcn", dataset="scattered", largest_component=True, epochs=2)
    train(settings, tmp_path, draw=False)
    _, task, _ = load_model(tmp_path)
    assert task.data.num_nodes == largest_component(data).num_nodes < 60
