"""Pooling against PyTorch Geometric."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import torch_geometric.nn as pyg
from torch import Tensor, nn

from mpnn import Graph, models
from tests.compare import assert_close, assert_same
from tests.models.graphs import GRAPHS, edge_input, features

BATCH = GRAPHS["batch"]
INDEX = torch.tensor([0, 2, 2, 0, 3, 2, 0, 3])  # unsorted, and graph 1 is empty


@pytest.mark.parametrize("pool", ["global_add_pool", "global_mean_pool", "global_max_pool"])
@pytest.mark.parametrize(("index", "size"), [(INDEX, None), (INDEX, 6), (None, None)])
def test_a_global_pool_equals_pygs(pool: str, index: Tensor | None, size: int | None) -> None:
    ours, theirs = getattr(models, pool), getattr(pyg, pool)
    x = features(8)
    if index is None:
        assert_same(lambda x: ours(x, None), lambda x: theirs(x, torch.zeros(8, dtype=torch.int64)), [x])
    else:
        assert_same(lambda x: ours(x, index, size), lambda x: theirs(x, index, size), [x])


@pytest.mark.parametrize("pool", ["global_add_pool", "global_mean_pool", "global_max_pool"])
def test_a_batched_graph_says_which_nodes_go_together(pool: str) -> None:
    x = features(BATCH.num_nodes)
    expected = getattr(pyg, pool)(x, BATCH.graph_index, BATCH.num_graphs)
    assert_close(getattr(models, pool)(x, BATCH), expected)


@pytest.mark.parametrize("with_nn", [False, True])
@pytest.mark.parametrize("scores", [1, 6])
def test_attention_pooling_equals_pygs(with_nn: bool, scores: int) -> None:
    def build(library: Any) -> nn.Module:
        torch.manual_seed(0)
        gate, network = nn.Linear(6, scores), nn.Linear(6, 6)
        module: nn.Module = library.AttentionalAggregation(gate, network if with_nn else None).double()
        return module

    ours, theirs = build(models), build(pyg)
    ours.load_state_dict(theirs.state_dict())
    by_graph = BATCH.graph_index
    assert_same(ours, theirs, [features(BATCH.num_nodes), by_graph])


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"ratio": 0.3},
        {"ratio": 3},
        {"min_score": 0.2},
        {"min_score": 0.9, "multiplier": 2.0},
        {"nonlinearity": "sigmoid", "multiplier": 0.5},
    ],
    ids=str,
)
@pytest.mark.parametrize("kind", ["plain", "no edges", "batch"])
def test_top_k_pooling_equals_pygs(options: dict[str, Any], kind: str) -> None:
    graph = GRAPHS[kind]
    ours, theirs = models.TopKPooling(6, **options).double(), pyg.TopKPooling(6, **options).double()
    ours.load_state_dict(theirs.state_dict())
    given = [
        features(graph.num_nodes),
        graph.edge_index,
        edge_input("edge_attr", graph.num_edges),
        graph.graph_index,
    ]
    assert_same(ours, theirs, given)


def test_top_k_pooling_scores_other_features_than_it_pools() -> None:
    ours, theirs = models.TopKPooling(4).double(), pyg.TopKPooling(4).double()
    ours.load_state_dict(theirs.state_dict())
    given = [
        features(BATCH.num_nodes),
        BATCH.edge_index,
        None,
        BATCH.graph_index,
        features(BATCH.num_nodes, 4),
    ]
    assert_same(ours, theirs, given)


def test_top_k_pooling_of_a_batch_leaves_a_batch() -> None:
    pool = models.TopKPooling(6).double()
    x, pooled, _, batch, perm, _ = pool(features(BATCH.num_nodes), BATCH)
    assert isinstance(pooled, Graph)
    assert pooled.num_graphs == BATCH.num_graphs
    assert_close(pooled.graph_index, batch)
    assert_close(batch, BATCH.graph_index[perm])
    assert_close(models.global_add_pool(x, pooled), pyg.global_add_pool(x, batch))


@pytest.mark.parametrize(
    ("call", "sentence"),
    [
        (
            lambda x: models.global_add_pool(x, INDEX),
            r"batch must be \[5\], one graph for each row of x, got \[8\]\.",
        ),
        (lambda x: models.global_add_pool(x, BATCH), r"x has 5 rows, but the graph has 8 nodes\."),
        (
            lambda x: models.TopKPooling(6, ratio=0),
            r"ratio must be a share or a number of nodes above 0, got 0\.",
        ),
    ],
)
def test_a_misfit_is_named(call: Any, sentence: str) -> None:
    with pytest.raises(ValueError, match=f"^{sentence}$"):
        call(features(5))
