"""Losses and metrics against torch and scikit-learn."""

from __future__ import annotations

import numpy as np
import pytest
import sklearn.metrics
import torch
import torch.nn.functional as F
from sklearn.utils.class_weight import compute_class_weight

from mpnn.train import METRICS, RunError
from mpnn.train.tasks.objective import objective
from tests.compare import assert_close

OUTPUT = torch.randn(40, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
CLASSES = torch.arange(40) % 7 % 3
LABELS = torch.rand(40, 3, generator=torch.Generator().manual_seed(1)) < 0.3
NUMBERS = torch.randn(40, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(2))
NAMES = ("a", "b", "c")


def test_classes_are_compared_by_cross_entropy_and_accuracy() -> None:
    aim = objective(CLASSES, NAMES)
    assert_close(aim.loss(OUTPUT, CLASSES), F.cross_entropy(OUTPUT, CLASSES))
    expected = sklearn.metrics.accuracy_score(CLASSES, OUTPUT.argmax(1))
    assert aim.scores(OUTPUT, CLASSES) == {"accuracy": expected}


@pytest.mark.parametrize(("asked", "weights"), [("1,2,0.5", [1, 2, 0.5]), ("balanced", None)])
def test_classes_may_weigh_differently(asked: str, weights: list[float] | None) -> None:
    if weights is None:
        weights = compute_class_weight("balanced", classes=np.arange(3), y=CLASSES.numpy()).tolist()
    weight = torch.tensor(weights, dtype=torch.float64)
    aim = objective(CLASSES, NAMES, class_weights=asked)
    expected = F.cross_entropy(OUTPUT, CLASSES, weight)
    assert_close(aim.loss(OUTPUT.float(), CLASSES), expected.float(), atol=1e-6)
    one_hot = F.one_hot(CLASSES, 3).double()
    losses = F.binary_cross_entropy_with_logits(OUTPUT, one_hot, reduction="none").sum(1)
    bce = objective(CLASSES, NAMES, "bce", asked).loss(OUTPUT, CLASSES)
    assert float(bce) == pytest.approx(float((losses * weight[CLASSES]).mean()), abs=1e-6)


def test_labels_are_compared_by_binary_cross_entropy_and_f1() -> None:
    aim = objective(LABELS, NAMES)
    assert_close(aim.loss(OUTPUT, LABELS), F.binary_cross_entropy_with_logits(OUTPUT, LABELS.double()))
    scores = aim.scores(OUTPUT, LABELS)
    for mean in ("micro", "macro"):
        assert scores[f"f1_{mean}"] == sklearn.metrics.f1_score(LABELS, OUTPUT > 0, average=mean)
    there = LABELS.sum(0)
    weighted = objective(LABELS, NAMES, class_weights="balanced").loss(OUTPUT.float(), LABELS)
    expected = F.binary_cross_entropy_with_logits(
        OUTPUT.float(), LABELS.float(), pos_weight=(40 - there) / there
    )
    assert_close(weighted, expected, atol=1e-6)


@pytest.mark.parametrize(
    ("loss", "function"),
    [("mse", F.mse_loss), ("mae", F.l1_loss), ("huber", F.huber_loss), (None, F.mse_loss)],
)
def test_numbers_are_compared_by_their_distance(loss: str | None, function: object) -> None:
    aim = objective(NUMBERS, NAMES, loss)
    assert callable(function)
    assert_close(aim.loss(OUTPUT, NUMBERS), function(OUTPUT, NUMBERS))
    scores = aim.scores(OUTPUT, NUMBERS)
    assert scores["mae"] == pytest.approx(sklearn.metrics.mean_absolute_error(NUMBERS, OUTPUT), abs=1e-12)
    square = sklearn.metrics.mean_squared_error(NUMBERS, OUTPUT)
    assert scores["rmse"] == pytest.approx(square**0.5, abs=1e-12)
    assert scores["r2"] == pytest.approx(sklearn.metrics.r2_score(NUMBERS, OUTPUT), abs=1e-12)


def test_numbers_that_are_all_equal_are_explained_only_if_they_are_met() -> None:
    aim = objective(torch.ones(4, 1), ["a"])
    assert aim.scores(torch.ones(4, 1), torch.ones(4, 1))["r2"] == 1
    assert aim.scores(torch.zeros(4, 1), torch.ones(4, 1))["r2"] == 0


@pytest.mark.parametrize(
    ("y", "loss", "weights", "sentence"),
    [
        (CLASSES, "mae", None, "loss is 'mae', but one class for each needs one of cross_entropy, bce"),
        (
            LABELS,
            "cross_entropy",
            None,
            "loss is 'cross_entropy', but several labels for each needs one of bce",
        ),
        (NUMBERS, None, "balanced", "class_weights is 'balanced', but numbers have no classes"),
        (CLASSES, None, "heavy", "class_weights is 'heavy', but should be 'balanced' or 3 numbers"),
        (CLASSES, None, "1,-1,1", "class_weights is '1,-1,1'"),
        (CLASSES, None, "0,0,0", "class_weights is '0,0,0'"),
    ],
)
def test_what_does_not_suit_the_answers_is_refused(
    y: torch.Tensor, loss: str | None, weights: str | None, sentence: str
) -> None:
    with pytest.raises(RunError, match=sentence):
        objective(y, NAMES, loss, weights)


def test_metrics_know_their_direction() -> None:
    assert METRICS["mae"].score(2.0) == -2.0 and METRICS["auc"].score(0.5) == 0.5
    assert (
        METRICS["accuracy"].text(0.8, 0.01) == "80.0 ± 1.0 %"
        and METRICS["mae"].text(0.25, 0.1) == "0.25 ± 0.1"
    )
