"""Batches hold every item once and are even."""

from __future__ import annotations

import pytest
import torch

from mpnn.train.tasks.batches import shuffled_batches


@pytest.mark.parametrize(("count", "most"), [(1, 4), (4, 4), (5, 4), (9, 4), (3329, 128), (10, 1)])
def test_batches_are_few_and_even_and_hold_each_item_once(count: int, most: int) -> None:
    items = torch.arange(count) * 3
    parts = shuffled_batches(items, most)
    sizes = [len(part) for part in parts]
    assert len(parts) == -(-count // most) and max(sizes) <= most and max(sizes) - min(sizes) <= 1
    assert torch.cat(parts).sort().values.equal(items)


def test_each_epoch_has_an_order_of_its_own() -> None:
    torch.manual_seed(0)
    one, other = (torch.cat(shuffled_batches(torch.arange(100), 10)) for _ in range(2))
    assert not one.equal(other)
