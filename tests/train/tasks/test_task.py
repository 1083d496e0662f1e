"""The loss and the scores of node classification, and dropout that skips zeros."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mpnn import Graph
from mpnn.datasets.karate import load_karate
from mpnn.train import InputDropout, NodeTask
from tests.present import present


class Fixed(nn.Module):
    """Answers with its parameter, whatever it is asked."""

    def __init__(self, logits: Tensor) -> None:
        super().__init__()
        self.logits = nn.Parameter(logits)

    def forward(self, x: Tensor, graph: Graph) -> Tensor:
        return self.logits


@pytest.fixture
def model() -> Fixed:
    return Fixed(torch.randn(34, 2, generator=torch.Generator().manual_seed(0)))


def test_the_loss_is_over_the_training_nodes_only(model: Fixed) -> None:
    data = load_karate()
    loss = NodeTask(data).loss(model, None)
    loss.backward()
    assert model.logits.grad is not None
    assert model.logits.grad.abs().sum(dim=1).nonzero().flatten().tolist() == [0, 33]
    assert torch.equal(loss, F.cross_entropy(model.logits[[0, 33]], present(data.y)[[0, 33]]))


def test_the_scores_are_those_of_each_split(model: Fixed) -> None:
    data = load_karate()
    scores, y = NodeTask(data).evaluate(model), present(data.y)
    for split in ("train", "val", "test"):
        mask = getattr(data, f"{split}_mask")
        right = (model.logits.argmax(dim=1) == y)[mask].double().mean()
        assert scores[f"{split}_accuracy"] == pytest.approx(float(right), abs=1e-12)
    expected = F.cross_entropy(model.logits[data.val_mask], y[data.val_mask])
    assert scores["val_loss"] == expected.item()


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_features_that_are_not_numbers_are_warned_of_once_by_name(bad: float) -> None:
    data = load_karate()
    x = data.x.clone()
    x[4, 2] = x[7, 1] = bad
    with pytest.warns(
        UserWarning, match=r"x of karate holds 2 values that are NaN .* at x\[4, 2\]"
    ) as caught:
        NodeTask(replace(data, x=x), 0.5)
    assert len(caught) == 1


@pytest.mark.parametrize("density", [0.02, 0.9], ids=["sparse", "dense"])
def test_input_dropout_keeps_the_mean_and_the_zeros(density: float) -> None:
    generator = torch.Generator().manual_seed(2)
    x = torch.rand(60, 50, generator=generator) * (torch.rand(60, 50, generator=generator) < density)
    drop = InputDropout(x, 0.4)
    torch.manual_seed(0)
    draws = torch.stack([drop().clone() for _ in range(4000)])
    kept = draws != 0
    torch.testing.assert_close(draws[kept], (x / 0.6).expand_as(draws)[kept], rtol=1e-6, atol=0)
    # The standard error of a mean of 4000 draws is 1.3 % of x; 5 of them leave room for 3000 entries.
    assert ((draws.mean(0) - x).abs() <= 0.065 * x).all()


@pytest.mark.parametrize("density", [0.02, 0.9], ids=["sparse", "dense"])
def test_input_dropout_of_nothing_is_the_input(density: float) -> None:
    x = torch.rand(20, 50) * (torch.rand(20, 50) < density)
    assert torch.equal(InputDropout(x, 0.0)(), x)


def test_input_dropout_accepts_a_transposed_matrix() -> None:
    x = torch.eye(9)[:7].T
    dropped = InputDropout(x, 0.5)()
    assert dropped.shape == (9, 7)
    assert set(dropped.unique().tolist()) <= {0.0, 2.0}
