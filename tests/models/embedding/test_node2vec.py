"""Node2Vec equals PyG's: the same windows of the same walks, the same loss and gradient."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch
import torch_geometric.nn as pyg

import mpnn
from mpnn.datasets.karate import load_karate
from mpnn.models import Node2Vec
from tests.compare import assert_close
from tests.present import present

CLUB = load_karate().graph
theirs = pyg.Node2Vec  # it cannot be made without a compiled package, but its methods can be called


def test_loss_and_gradient_equal_pygs() -> None:
    model = Node2Vec(CLUB, 6, walk_length=5, context_size=3).double()
    windows = model.sample(torch.arange(34))
    ours = model.loss(*windows)
    expected = theirs.loss(SimpleNamespace(embedding=model.embedding, embedding_dim=6, EPS=0.0), *windows)
    assert_close(ours, expected)
    gradient, wanted = (torch.autograd.grad(loss, model.embedding.weight)[0] for loss in (ours, expected))
    assert_close(gradient, wanted)


def test_windows_equal_pygs() -> None:
    model = Node2Vec(CLUB, 6, walk_length=7, context_size=4, walks_per_node=3, p=0.5, num_negative_samples=2)
    batch = torch.tensor([3, 0, 33])
    other = SimpleNamespace(
        rowptr=None, col=None, walk_length=6, context_size=4, walks_per_node=3, p=0.5, q=1.0,
        num_negative_samples=2, num_nodes=34,
        random_walk_fn=lambda _, __, start, length, p, q: mpnn.random_walks(CLUB, start, length, p=p, q=q),
    )  # fmt: skip
    for name in ("pos_sample", "neg_sample"):
        torch.manual_seed(1)
        ours = getattr(model, name)(batch)
        torch.manual_seed(1)
        assert torch.equal(ours, getattr(theirs, name)(other, batch))


@pytest.mark.parametrize("sparse", [False, True])
def test_node2vec_learns_the_two_clubs(sparse: bool) -> None:
    model = Node2Vec(CLUB, 16, walk_length=10, context_size=5, walks_per_node=5, sparse=sparse)
    kind = torch.optim.SparseAdam if sparse else torch.optim.Adam
    optimizer = kind(list(model.parameters()), lr=0.05)
    losses = []
    for _ in range(30):
        for windows in model.loader(batch_size=34, shuffle=True):
            optimizer.zero_grad()
            loss = model.loss(*windows)
            loss.backward()
            optimizer.step()
            losses.append(loss.item())
    assert losses[-1] < 0.75 * losses[0]
    y, z = present(load_karate().y), model()
    assert model.test(z[::2], y[::2], z[1::2], y[1::2]) > 0.8


def test_the_state_is_the_one_table_that_pygs_has() -> None:
    state = Node2Vec(CLUB.edge_index, 4, walk_length=3, context_size=2, num_nodes=40).state_dict()
    assert {name: tuple(value.shape) for name, value in state.items()} == {"embedding.weight": (40, 4)}


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"walk_length": 2}, "walk_length is 2, but should be at least context_size, 3"),
        ({"context_size": 1}, "context_size must be at least 2, got 1"),
        ({"p": -1.0}, "p is -1.0, but should be above 0"),
    ],
    ids=str,
)
def test_a_mistake_gets_one_sentence(change: dict[str, float], sentence: str) -> None:
    arguments = {"embedding_dim": 4, "walk_length": 5, "context_size": 3} | change
    with pytest.raises(ValueError, match=sentence):
        Node2Vec(CLUB, **arguments)  # type: ignore[arg-type]
