"""The karate club against PyG's copy."""

from __future__ import annotations

import torch
from torch_geometric.datasets import KarateClub
from torch_geometric.utils import coalesce

from mpnn.datasets.karate import load_karate
from tests.present import present


def test_the_friendships_are_those_of_pyg() -> None:
    theirs = coalesce(KarateClub()[0].edge_index)
    assert torch.equal(coalesce(load_karate().graph.edge_index), theirs)


def test_both_clubs_have_17_members_and_one_labelled_each() -> None:
    data = load_karate()
    y = present(data.y)
    assert y.bincount().tolist() == [17, 17]
    assert y[data.train_mask].tolist() == [0, 1]
    assert y[data.val_mask].bincount().tolist() == [4, 4]
    assert y[data.test_mask].bincount().tolist() == [12, 12]
