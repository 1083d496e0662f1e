"""Networks have torchvision's names, shapes and numbers of parameters, without torchvision."""

from __future__ import annotations

import pytest
import torch

from tests.peers.listing import LISTS, listing
from tests.peers.vision import NETWORKS, Network

PUBLISHED = {
    "resnet18": 11_689_512,
    "resnet34": 21_797_672,
    "resnet50": 25_557_032,
    "googlenet": 6_624_904,
    "googlenet_aux": 13_004_888,
    "fcn_resnet50": 32_957_013,
    "fcn_resnet50_aux": 35_322_218,
}


def test_every_list_is_of_a_network_and_has_its_published_count() -> None:
    counts = {path.stem: path.read_text().splitlines()[-1] for path in LISTS.iterdir()}
    assert counts == {name: f"parameters {count}" for name, count in PUBLISHED.items()}
    assert {network.name for network in NETWORKS} == PUBLISHED.keys()


@pytest.mark.parametrize("network", NETWORKS, ids=str)
def test_a_network_has_the_listed_names_and_shapes(network: Network) -> None:
    with torch.device("meta"):
        assert listing(network.ours()) == (LISTS / f"{network.name}.txt").read_text()
