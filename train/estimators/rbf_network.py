"""The network of radial basis functions as a regressor and a classifier of scikit-learn."""

from __future__ import annotations

from numbers import Integral
from typing import Any

import numpy as np
import torch
from sklearn.base import BaseEstimator, ClassifierMixin, RegressorMixin
from sklearn.cluster import KMeans
from sklearn.utils import check_random_state
from sklearn.utils.validation import check_is_fitted, validate_data
from torch import Tensor

from mpnn import models
from mpnn.train.estimators.inputs import FLOATS, Array, as_scores, chosen, classes_of, one_against_all


class RBFNetwork(RegressorMixin, BaseEstimator):  # type: ignore[misc]  # scikit-learn has no types
    """`mpnn.models.RBFNetwork` for numbers, one or several of each sample.

    With all samples as centres it is `scipy.interpolate.RBFInterpolator(smoothing=alpha, degree=-1)`, with
    the gaussian `sklearn.kernel_ridge.KernelRidge(kernel="rbf", gamma=epsilon**2)`.

    Args:
        n_centers: how many centres k-means finds; None makes every sample a centre.
        kernel: "gaussian", "multiquadric", "inverse_multiquadric" or "thin_plate_spline".
        epsilon: what distances are multiplied with.
        alpha: how much the weights are held back; see `mpnn.models.RBFNetwork.fit`.
        random_state: a seed or a generator, of k-means.

    Attributes: `centers_` `[num_centers, num_features]`; `coef_` `[num_outputs, num_centers]`; `network_`,
    the module.

    >>> RBFNetwork(alpha=0.0).fit([[0.0], [1.0]], [1.0, 3.0]).predict([[1.0]])
    array([3.])
    """

    def __init__(
        self,
        n_centers: int | None = None,
        *,
        kernel: str = "gaussian",
        epsilon: float = 1.0,
        alpha: float = 1e-3,
        random_state: Any = None,
    ) -> None:
        self.n_centers, self.kernel, self.epsilon = n_centers, kernel, epsilon
        self.alpha, self.random_state = alpha, random_state

    def fit(self, X: Any, y: Any) -> RBFNetwork:
        """Learn from `[num_samples, num_features]` and `[num_samples]` or `[num_samples, num_outputs]`."""
        X, y = validate_data(self, X, y, dtype=FLOATS, multi_output=True, y_numeric=True)
        self._is_flat = y.ndim == 1
        centers = None
        if self.n_centers is not None:
            _check_centers(self.n_centers, len(X), "samples")
            centers = _centers(X, self.n_centers, self.random_state)
        self.network_ = _fitted(self, X, torch.from_numpy(y.reshape(len(y), -1)).double(), centers)
        self.centers_, self.coef_ = _parameters(self.network_)
        return self

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.target_tags.multi_output = True
        return tags

    def predict(self, X: Any) -> Array:
        """`[num_samples]` or `[num_samples, num_outputs]`, as the numbers that it learned from."""
        found = _output(self, X).numpy()
        return found[:, 0] if self._is_flat else found


class RBFClassifier(ClassifierMixin, BaseEstimator):  # type: ignore[misc]  # scikit-learn has no types
    """`mpnn.models.RBFNetwork` for classes: one output for each, 1 where a sample is of it and -1 elsewhere.

    Args:
        n_centers: how many centres k-means finds among the samples of each class; None makes every sample a
            centre.
        kernel, epsilon, alpha, random_state: as for `RBFNetwork`.

    Attributes: `classes_`, and those of `RBFNetwork`; of two classes there is one output.

    >>> RBFClassifier().fit([[0.0], [1.0]], [0, 1]).predict([[0.9]])
    array([1])
    """

    def __init__(
        self,
        n_centers: int | None = None,
        *,
        kernel: str = "gaussian",
        epsilon: float = 1.0,
        alpha: float = 1e-3,
        random_state: Any = None,
    ) -> None:
        self.n_centers, self.kernel, self.epsilon = n_centers, kernel, epsilon
        self.alpha, self.random_state = alpha, random_state

    def fit(self, X: Any, y: Any) -> RBFClassifier:
        """Learn from `[num_samples, num_features]` and the class of each sample."""
        X, y = validate_data(self, X, y, dtype=FLOATS)
        self.classes_, number = classes_of(y)
        target = one_against_all(number, len(self.classes_), torch.float64)
        centers = None
        if self.n_centers is not None:
            counts = np.bincount(number)
            few = int(counts.argmin())
            _check_centers(self.n_centers, int(counts[few]), f"samples of class {self.classes_[few]!r}")
            random = check_random_state(self.random_state)
            each = [_centers(X[number == k], self.n_centers, random) for k in range(len(self.classes_))]
            centers = np.concatenate(each)
        self.network_ = _fitted(self, X, target, centers)
        self.centers_, self.coef_ = _parameters(self.network_)
        return self

    def decision_function(self, X: Any) -> Array:
        """The outputs, `[num_samples, num_classes]`, or of two classes `[num_samples]`."""
        return as_scores(_output(self, X))

    def predict(self, X: Any) -> Array:
        """The class of each sample."""
        scores = self.decision_function(X)
        return chosen(self.classes_, scores)


def _check_centers(number: Any, most: int, of: str) -> None:
    if isinstance(number, bool) or not isinstance(number, Integral):
        raise TypeError(f"n_centers must be a whole number or None, got {number!r}.")
    if not 1 <= int(number) <= most:
        raise ValueError(f"n_centers is {number}, but must be from 1 to {most}: there are {most} {of}.")


def _centers(X: Array, number: int, random_state: Any) -> Array:
    found: Array = KMeans(number, n_init=1, random_state=random_state).fit(X).cluster_centers_
    return found


def _fitted(given: Any, X: Array, target: Tensor, centers: Array | None) -> models.RBFNetwork:
    x = torch.from_numpy(X)
    number = len(X if centers is None else centers)
    network = models.RBFNetwork(x.size(1), target.size(1), number, given.kernel, given.epsilon).to(x.dtype)
    return network.fit(x, target, None if centers is None else torch.from_numpy(centers), alpha=given.alpha)


def _parameters(network: models.RBFNetwork) -> tuple[Array, Array]:
    return network.centers.detach().numpy(), network.weight.detach().T.numpy()


@torch.no_grad()
def _output(given: Any, X: Any) -> Tensor:
    check_is_fitted(given)
    X = validate_data(given, X, dtype=FLOATS, reset=False)
    out: Tensor = given.network_(torch.from_numpy(X).to(given.network_.weight))
    return out
