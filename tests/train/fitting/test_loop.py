"""The loop against a plain one around PyG's model, and what it does when something goes wrong."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
import torch_geometric.nn
from torch import Tensor, nn

from mpnn import Graph
from mpnn.datasets import NodeDataset
from mpnn.datasets.karate import load_karate
from mpnn.models import GNN
from mpnn.train import NodeTask, Recipe, RunError, fit
from tests.present import present

EPOCHS = 30


@pytest.mark.parametrize("decayed", ["all", "first"])
def test_every_epoch_is_that_of_a_plain_loop_around_pyg(decayed: str) -> None:
    data = load_karate()
    data, y = replace(data, x=data.x.double()), present(data.y)
    torch.manual_seed(0)
    theirs = torch_geometric.nn.GCN(34, 16, num_layers=2, out_channels=2).double()
    ours = GNN(34, 16, 2, num_layers=2, conv="gcn").double()
    ours.load_state_dict(theirs.state_dict())

    first, last = theirs.convs[0].parameters(), theirs.convs[1].parameters()
    decay = {"all": 0.1, "first": 0.0}[decayed]
    optimizer = torch.optim.Adam(
        [{"params": first, "weight_decay": 0.1}, {"params": last, "weight_decay": decay}], lr=0.02
    )
    edge_index, expected = data.graph.edge_index, []
    for _ in range(EPOCHS):
        optimizer.zero_grad()
        loss = F.cross_entropy(theirs(data.x, edge_index)[data.train_mask], y[data.train_mask])
        loss.backward()
        optimizer.step()
        logits = theirs(data.x, edge_index).detach()
        val_loss = F.cross_entropy(logits[data.val_mask], y[data.val_mask])
        right = (logits.argmax(dim=1) == y)[data.test_mask].double().mean()
        expected.append((loss.item(), val_loss.item(), right.item()))

    recipe = Recipe(lr=0.02, weight_decay=0.1, decayed=decayed, epochs=EPOCHS)
    result = fit(ours, NodeTask(data), recipe)
    found = [(row["train_loss"], row["val_loss"], row["test_accuracy"]) for row in result.history]
    torch.testing.assert_close(torch.tensor(found), torch.tensor(expected), rtol=0, atol=1e-10)
    losses = [row[1] for row in expected]
    assert result.best_epoch == 1 + losses.index(min(losses))


@pytest.fixture
def hopeless() -> NodeDataset:
    """Classes that have nothing to do with the graph: whatever is learned makes validation worse."""
    data = load_karate()
    return replace(data, y=present(data.y)[torch.randperm(34, generator=torch.Generator().manual_seed(5))])


def test_the_model_ends_as_it_was_in_its_best_epoch(hopeless: NodeDataset) -> None:
    torch.manual_seed(1)
    model = GNN(34, 16, 2, dropout=0.5)
    task = NodeTask(hopeless)
    result = fit(model, task, Recipe(lr=0.1, epochs=40))
    assert result.best_epoch < 40
    assert not model.training
    assert task.evaluate(model).items() <= result.best.items()


def test_a_run_stops_when_its_patience_ends(hopeless: NodeDataset) -> None:
    torch.manual_seed(1)
    result = fit(GNN(34, 16, 2), NodeTask(hopeless), Recipe(epochs=500, patience=7))
    assert len(result.history) == result.best_epoch + 7 < 500


class Explodes(nn.Module):
    """Gives NaN from its fifth training step, in training or in evaluation."""

    def __init__(self, when_training: bool) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(2))
        self.when_training, self.calls = when_training, 0

    def forward(self, x: Tensor, graph: Graph) -> Tensor:
        self.calls += self.training
        bad = self.calls >= 5 and self.training == self.when_training
        return (x[:, :2] + 1) * self.weight * (float("nan") if bad else 1.0)


@pytest.mark.parametrize(("when_training", "name"), [(True, "loss"), (False, "validation loss")])
def test_a_loss_that_is_not_a_number_stops_the_run_and_keeps_its_best(
    tmp_path: Path, when_training: bool, name: str
) -> None:
    kept = "the best model before, of epoch [1-4], is in .*best.pt"
    with pytest.raises(RunError, match=f"the {name} became nan in epoch 5.*; {kept}"):
        fit(Explodes(when_training), NodeTask(load_karate()), folder=tmp_path)
    best = torch.load(tmp_path / "best.pt", weights_only=True)
    assert best["epoch"] in range(1, 5)
    assert best["model"]["weight"].isfinite().all()


def test_a_model_without_parameters_is_refused() -> None:
    with pytest.raises(RunError, match="Identity has no parameters to train"):
        fit(nn.Identity(), NodeTask(load_karate()))


def test_decay_of_the_first_layer_needs_a_list_of_layers() -> None:
    with pytest.raises(RunError, match="decayed is 'first', but Linear has no list `convs`"):
        fit(nn.Linear(2, 2), NodeTask(load_karate()), Recipe(decayed="first"))


def test_resuming_needs_a_folder() -> None:
    with pytest.raises(RunError, match="folder is None, but resume needs"):
        fit(nn.Linear(2, 2), NodeTask(load_karate()), resume=True)
