"""What a linear model makes of vectors: how embeddings are judged."""

from __future__ import annotations

import numpy as np
from torch import Tensor

from mpnn.train.errors import RunError

MOST_STEPS = 1000


def linear_probe(
    vectors: Tensor, y: Tensor, *, share: float = 0.5, splits: int = 10, seed: int = 0
) -> dict[str, list[float]]:
    """Train logistic regression on a share of the vectors, test it on the others, several times.

    One label at a time against the rest, with scikit-learn's penalty (C = 1). Of a vector with k labels the k
    most likely ones are predicted, as in the protocol of Tang and Liu (2009) that DeepWalk and node2vec were
    measured by. The number of labels is given, which makes it easier than a prediction in practice.

    Args:
        vectors: `[count, channels]`.
        y: classes int64 `[count]`, or several labels bool `[count, num_labels]`.
        share: of the vectors, how many to train on.
        splits: how many random shares to draw.
        seed: of the draws.

    Returns:
        `accuracy` of classes, `f1_micro` and `f1_macro` of labels: a number for each split.

    Raises:
        RunError: there are too few vectors, or y holds numbers, or all vectors have one class.

    >>> y = torch.arange(40) % 2
    >>> linear_probe(torch.randn(40, 3) + 9 * y[:, None], y, splits=2)
    {'accuracy': [1.0, 1.0]}
    """
    from sklearn.linear_model import LogisticRegression  # slow to import: only where it is needed
    from sklearn.metrics import accuracy_score, f1_score

    if y.is_floating_point():
        raise RunError("embeddings are judged by classes or labels, but y holds numbers")
    x, truth = vectors.detach().cpu().numpy().astype(np.float64), y.cpu().numpy()
    cut = round(share * len(x))
    if not 0 < cut < len(x):
        raise RunError(f"share is {share}, but of {len(x)} vectors that leaves none to train or to test on")
    scores: dict[str, list[float]] = {}
    for split in range(splits):
        order = np.random.default_rng(seed + split).permutation(len(x))
        known, other = order[:cut], order[cut:]
        if truth.ndim == 1:
            if len(set(truth[known])) < 2:
                raise RunError(f"a share of {cut} vectors holds one class only: take a larger share")
            model = LogisticRegression(max_iter=MOST_STEPS).fit(x[known], truth[known])
            found = {"accuracy": accuracy_score(truth[other], model.predict(x[other]))}
        else:
            chance = np.stack([_chance(x[known], label, x[other]) for label in truth[known].T], axis=1)
            rank = np.argsort(np.argsort(-chance, axis=1, kind="stable"), axis=1, kind="stable")
            predicted = rank < truth[other].sum(axis=1, keepdims=True)
            found = {
                f"f1_{mean}": f1_score(truth[other], predicted, average=mean, zero_division=0.0)
                for mean in ("micro", "macro")
            }
        for name, value in found.items():
            scores.setdefault(name, []).append(float(value))
    return scores


def _chance(x: np.ndarray, label: np.ndarray, tested: np.ndarray) -> np.ndarray:
    """How likely each tested vector has the label: 1 or 0 where all or none of the known ones have it."""
    from sklearn.linear_model import LogisticRegression

    if label.all() or not label.any():
        return np.full(len(tested), float(label[0]))
    model = LogisticRegression(solver="newton-cholesky", max_iter=MOST_STEPS).fit(x, label)
    chance: np.ndarray = model.predict_proba(tested)[:, 1]
    return chance
