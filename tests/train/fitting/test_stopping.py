"""Early stopping against the rules as they are written in words."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mpnn.train.fitting.stopping import EarlyStopping

CURVE = st.lists(st.tuples(st.integers(0, 5), st.integers(0, 5)), min_size=1, max_size=30)


@given(CURVE)
def test_the_best_by_loss_is_the_first_of_the_lowest(curve: list[tuple[int, int]]) -> None:
    watch = EarlyStopping("loss", None)
    best = [epoch for epoch, point in enumerate(curve) if watch.is_best(*point)][-1]
    losses = [loss for loss, _ in curve]
    assert best == losses.index(min(losses))


@given(CURVE)
def test_the_best_by_accuracy_breaks_ties_by_loss(curve: list[tuple[int, int]]) -> None:
    watch = EarlyStopping("accuracy", None)
    best = [epoch for epoch, point in enumerate(curve) if watch.is_best(*point)][-1]
    assert best == min(range(len(curve)), key=lambda epoch: (-curve[epoch][1], curve[epoch][0], epoch))


@given(CURVE)
def test_the_best_by_both_is_as_good_as_all_before_in_both(curve: list[tuple[int, int]]) -> None:
    watch = EarlyStopping("both", None)
    for epoch, (loss, accuracy) in enumerate(curve):
        before = curve[:epoch]
        as_good = all(loss <= other and accuracy >= rival for other, rival in before)
        assert watch.is_best(loss, accuracy) == as_good


@given(CURVE, st.integers(1, 4), st.sampled_from(["loss", "accuracy"]))
def test_patience_counts_epochs_since_the_best(
    curve: list[tuple[int, int]], patience: int, monitor: str
) -> None:
    watch, best = EarlyStopping(monitor, patience), 0
    for epoch, point in enumerate(curve):
        if watch.is_best(*point):
            best = epoch
        assert watch.exhausted == (epoch - best >= patience)


def test_with_both_an_improvement_of_either_continues_the_run() -> None:
    watch = EarlyStopping("both", 2)
    for loss, accuracy, exhausted in [
        (1.0, 0.5, False),
        (0.9, 0.4, False),
        (2.0, 0.5, False),
        (2, 0.4, False),
    ]:
        watch.is_best(loss, accuracy)
        assert watch.exhausted == exhausted
    watch.is_best(2, 0.4)
    assert watch.exhausted


@pytest.mark.parametrize("monitor", ["loss", "accuracy", "both"])
def test_what_was_seen_survives_a_checkpoint(monitor: str) -> None:
    first, second = EarlyStopping(monitor, 3), EarlyStopping(monitor, 3)
    first.is_best(1.0, 0.5)
    first.is_best(2.0, 0.4)
    second.recall(first.memory())
    assert second == first
