"""What estimators share: arrays become tensors, and classes targets of one neuron each."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.utils import check_random_state
from sklearn.utils.multiclass import check_classification_targets
from torch import Tensor

Array = NDArray[Any]
FLOATS = (np.float64, np.float32)  # the types of features; others become the first


def classes_of(y: Array) -> tuple[Array, NDArray[np.intp]]:
    """The classes in order, and the number of each sample's.

    Raises:
        ValueError: y is no class, or all samples are of one.
    """
    check_classification_targets(y)
    classes, number = np.unique(y, return_inverse=True)
    if len(classes) < 2:
        raise ValueError(f"y has 1 class, {classes[0].item()!r}, but should have at least 2 classes.")
    return classes, number


def one_against_all(number: NDArray[np.intp], num_classes: int, dtype: torch.dtype) -> Tensor:
    """`[num_samples, num_classes]`, 1 at the class of a sample, else -1; of two classes the second alone."""
    own = torch.from_numpy(number)[:, None] == torch.arange(num_classes)
    return torch.where(own[:, 1:] if num_classes == 2 else own, 1.0, -1.0).to(dtype)


def as_scores(decision: Tensor) -> Array:
    """Scores as scikit-learn has them: `[num_samples]` of two classes, else `[num_samples, num_classes]`."""
    scores: Array = decision.detach().numpy()
    return scores[:, 0] if scores.shape[1] == 1 else scores


def chosen(classes: Array, scores: Array) -> Array:
    """The class that the scores are for."""
    number = (scores > 0).astype(np.intp) if scores.ndim == 1 else scores.argmax(1)
    found: Array = classes[number]
    return found


def seeded(random_state: Any) -> torch.Generator:
    """PyTorch's generator for scikit-learn's `random_state`."""
    seed = check_random_state(random_state).randint(np.iinfo(np.int32).max)
    return torch.Generator().manual_seed(int(seed))
