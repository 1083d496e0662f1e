"""Several networks that answer together."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from mpnn import Graph
from mpnn.models import GNN, Ensemble
from tests.compare import assert_close

x = torch.randn(6, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(1))


def _members() -> list[nn.Module]:
    return [nn.Linear(4, 3).double() for _ in range(5)]


def _each(members: list[nn.Module]) -> Tensor:
    return torch.stack([member(x) for member in members])


def test_classes_have_the_mean_of_the_members_probabilities() -> None:
    members = _members()
    said = Ensemble(members)(x)
    assert_close(said.exp(), _each(members).softmax(-1).mean(0))
    assert_close(said.exp().sum(1), torch.ones(6).double())


def test_labels_have_the_mean_of_the_members_probabilities() -> None:
    members = _members()
    assert_close(Ensemble(members, "labels")(x).sigmoid(), _each(members).sigmoid().mean(0))


def test_numbers_are_the_mean_of_the_members() -> None:
    members = _members()
    assert_close(Ensemble(members, "numbers")(x), _each(members).mean(0))


@pytest.mark.parametrize("answers", ["classes", "labels"])
def test_what_is_certain_stays_finite_and_has_gradients(answers: str) -> None:
    scores = torch.tensor([[800.0, -800.0], [-800.0, 800.0], [0.0, 0.0]], requires_grad=True)
    said = Ensemble([nn.Identity(), nn.Identity()], answers)(scores)
    said.sum().backward()
    assert scores.grad is not None and bool(said.isfinite().all() and scores.grad.isfinite().all())


def test_members_are_called_with_all_that_it_is_called_with() -> None:
    graph = Graph(torch.tensor([[0, 1, 2, 3], [1, 2, 3, 4]]), 6)
    members = [GNN(4, 8, 3, conv="gcn").double().eval() for _ in range(2)]
    weight = torch.rand(4, dtype=torch.float64)
    expected = torch.stack([one(x, graph, edge_weight=weight) for one in members]).softmax(-1).mean(0)
    assert_close(Ensemble(members).eval()(x, graph, edge_weight=weight).exp(), expected)


def test_no_member_and_unknown_answers_are_refused() -> None:
    with pytest.raises(ValueError, match="members are none"):
        Ensemble([])
    with pytest.raises(ValueError, match="answers is 'votes', but must be one of classes, labels, numbers"):
        Ensemble(_members(), "votes")
