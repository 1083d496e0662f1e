"""Parts are disjoint, of the size asked for, stratified, and decided by the seed."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from mpnn.train import RunError
from mpnn.train.tasks.split import class_split, fold_split, random_split

CLASSES = torch.arange(300) % 10 % 3  # 120, 90 and 90 members


@given(st.integers(20, 200), st.floats(0.05, 0.4), st.floats(0.05, 0.4), st.integers(0, 99), st.booleans())
def test_random_parts_are_all_there_is(
    count: int, val: float, test: float, seed: int, stratified: bool
) -> None:
    classes = torch.arange(count) % 3 if stratified else None
    split = random_split(count, classes, seed=seed, val_share=val, test_share=test)
    assert torch.equal(torch.cat(split).sort().values, torch.arange(count))
    assert abs(len(split.val) - val * count) <= 1 and abs(len(split.test) - test * count) <= 1


def test_parts_have_every_class_in_its_proportion() -> None:
    split = random_split(300, CLASSES, seed=1, val_share=0.1, test_share=0.2)
    assert CLASSES[split.val].bincount().tolist() == [12, 9, 9]
    assert CLASSES[split.test].bincount().tolist() == [24, 18, 18]


def test_the_seed_decides_the_parts() -> None:
    def draw(seed: int) -> list[int]:
        return random_split(300, CLASSES, seed=seed, val_share=0.1, test_share=0.1).test.tolist()

    assert draw(0) == draw(0) != draw(1)


@pytest.mark.parametrize("classes", [None, CLASSES])
def test_folds_test_on_everything_once(classes: torch.Tensor | None) -> None:
    splits = [fold_split(300, classes, seed=2, fold=k, folds=10, val_share=0.1) for k in range(10)]
    assert torch.equal(torch.cat([split.test for split in splits]).sort().values, torch.arange(300))
    for split in splits:
        assert torch.equal(torch.cat(split).sort().values, torch.arange(300))
        assert (len(split.val), len(split.test)) == (27, 30)
        if classes is not None:
            assert classes[split.test].bincount().tolist() == [12, 9, 9]


def test_each_class_has_its_share_by_number() -> None:
    split = class_split(CLASSES, seed=0)
    assert CLASSES[split.train].bincount().tolist() == [20] * 3
    assert CLASSES[split.val].bincount().tolist() == [30] * 3
    assert torch.equal(torch.cat(split).sort().values, torch.arange(300))
    with pytest.raises(
        RunError, match="class 1 has 50 members, and 20 to train and 30 to validate on leave none"
    ):
        class_split(torch.tensor([0] * 60 + [1] * 50), seed=0)
