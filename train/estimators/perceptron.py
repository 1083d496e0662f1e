"""The perceptron and the kernel perceptron as classifiers of scikit-learn."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.utils.metaestimators import available_if
from sklearn.utils.validation import check_is_fitted, validate_data

from mpnn import models
from mpnn.models.neurons.kernels import Kernel, check_positive
from mpnn.train.estimators.inputs import (
    FLOATS,
    Array,
    as_scores,
    chosen,
    classes_of,
    one_against_all,
    seeded,
)


class Perceptron(ClassifierMixin, BaseEstimator):  # type: ignore[misc]  # scikit-learn has no types
    """`mpnn.models.Perceptron`, one neuron against all others for each class.

    With `shuffle=False` the weights are those of `sklearn.linear_model.Perceptron(tol=None)`, and with
    `average=True` those of `sklearn.linear_model.SGDClassifier(loss="perceptron", average=True)`.

    Args:
        max_iter: epochs at most; it ends before where no sample is mistaken.
        eta0: η, the learning rate.
        fit_intercept: whether neurons have a bias.
        average: whether to keep the mean of the weights after each sample.
        shuffle: whether each epoch has an order of its own, which `random_state` draws.
        random_state: a seed or a generator, of the orders.

    Attributes: `classes_`; `coef_` `[num_classes, num_features]` and `intercept_`, of two classes one row;
    `n_iter_`, how many epochs there were; `network_`, the module.

    >>> Perceptron().fit([[0.0], [1.0]], [0, 1]).predict([[2.0]])
    array([1])
    """

    def __init__(
        self,
        *,
        max_iter: int = 100,
        eta0: float = 1.0,
        fit_intercept: bool = True,
        average: bool = False,
        shuffle: bool = True,
        random_state: Any = None,
    ) -> None:
        self.max_iter, self.eta0, self.fit_intercept = max_iter, eta0, fit_intercept
        self.average, self.shuffle, self.random_state = average, shuffle, random_state

    def fit(self, X: Any, y: Any) -> Perceptron:
        """Learn from `[num_samples, num_features]` and the class of each sample."""
        X, y = validate_data(self, X, y, dtype=FLOATS)
        classes, number = classes_of(y)
        self._begin(classes, X)
        self.n_iter_ = self._learn(X, number, self.max_iter)
        return self

    # The mean of `average` is over one `fit`.
    @available_if(lambda self: not self.average)  # type: ignore[untyped-decorator]  # it has no types
    def partial_fit(self, X: Any, y: Any, classes: Any = None) -> Perceptron:
        """Go on with one epoch of further samples, from the weights as they are; not with `average`.

        Args:
            X: `[num_samples, num_features]`.
            y: the class of each sample.
            classes: all that there will be; with the first samples, where some of them are missing.

        Raises:
            ValueError: a class that is none of them.
        """
        is_first = not hasattr(self, "network_")
        X, y = validate_data(self, X, y, dtype=FLOATS, reset=is_first)
        if is_first:
            self._begin(classes_of(y if classes is None else classes)[0], X)
            self.n_iter_ = 0
        elif classes is not None and not np.array_equal(np.unique(classes), self.classes_):
            raise ValueError(f"classes is {classes!r}, but the first samples had {self.classes_}.")
        unknown = np.setdiff1d(y, self.classes_)
        if len(unknown):
            raise ValueError(f"y has {unknown[0].item()!r}, which is none of the classes {self.classes_}.")
        self.n_iter_ += self._learn(X, np.searchsorted(self.classes_, y), 1)
        return self

    def _begin(self, classes: Array, X: Array) -> None:
        self.classes_ = classes
        num_neurons = 1 if len(classes) == 2 else len(classes)
        dtype = torch.from_numpy(X).dtype
        self.network_ = models.Perceptron(X.shape[1], num_neurons, self.fit_intercept, dtype=dtype)
        self.coef_: Array = self.network_.weight.numpy()
        bias = self.network_.bias
        self.intercept_: Array = np.zeros(num_neurons, X.dtype) if bias is None else bias.numpy()

    def _learn(self, X: Array, number: Array, epochs: int) -> int:
        """How many epochs there were."""
        x = torch.from_numpy(X)
        self.network_.fit(
            x,
            one_against_all(number, len(self.classes_), x.dtype),
            epochs=epochs,
            lr=self.eta0,
            averaged=self.average,
            generator=seeded(self.random_state) if self.shuffle else None,
        )
        return len(self.network_.mistakes)

    def decision_function(self, X: Any) -> Array:
        """What each neuron sums up, `[num_samples, num_classes]`, or of two classes `[num_samples]`."""
        check_is_fitted(self)
        X = validate_data(self, X, dtype=FLOATS, reset=False)
        return as_scores(self.network_.decision(torch.from_numpy(X).to(self.network_.weight)))

    def predict(self, X: Any) -> Array:
        """The class of each sample."""
        scores = self.decision_function(X)
        return chosen(self.classes_, scores)


class KernelPerceptron(ClassifierMixin, BaseEstimator):  # type: ignore[misc]  # scikit-learn has no types
    """`mpnn.models.KernelPerceptron`, one output against all others for each class.

    Args:
        kernel: "linear", x·y + c; "poly", (γ x·y + c)^d; or "rbf", exp(-γ |x - y|²).
        degree, gamma, coef0: d, γ and c.
        max_iter, average, shuffle, random_state: as for `Perceptron`.

    Attributes: `classes_`; `support_vectors_` `[num_support, num_features]`, the samples that were mistaken,
    and `dual_coef_` `[num_classes, num_support]`, how often, with the sign of the target; `n_iter_`;
    `network_`, the module.

    >>> X, y = [[0, 0], [0, 1], [1, 0], [1, 1]], [0, 1, 1, 0]
    >>> KernelPerceptron(degree=2, random_state=0).fit(X, y).predict(X)
    array([0, 1, 1, 0])
    """

    def __init__(
        self,
        kernel: str = "poly",
        *,
        degree: int = 3,
        gamma: float = 1.0,
        coef0: float = 1.0,
        max_iter: int = 100,
        average: bool = False,
        shuffle: bool = True,
        random_state: Any = None,
    ) -> None:
        self.kernel, self.degree, self.gamma, self.coef0 = kernel, degree, gamma, coef0
        self.max_iter, self.average = max_iter, average
        self.shuffle, self.random_state = shuffle, random_state

    def fit(self, X: Any, y: Any) -> KernelPerceptron:
        """Learn from `[num_samples, num_features]` and the class of each sample."""
        X, y = validate_data(self, X, y, dtype=FLOATS)
        self.classes_, number = classes_of(y)
        x = torch.from_numpy(X)
        self.network_ = models.KernelPerceptron(self._kernel())
        self.network_.fit(
            x,
            one_against_all(number, len(self.classes_), x.dtype),
            epochs=self.max_iter,
            averaged=self.average,
            generator=seeded(self.random_state) if self.shuffle else None,
        )
        self.n_iter_ = len(self.network_.mistakes)
        self.support_vectors_: Array = self.network_.samples.numpy()
        self.dual_coef_: Array = self.network_.weight.T.numpy()
        return self

    def _kernel(self) -> Kernel:
        if self.kernel == "linear":
            return models.PolynomialKernel(1, self.coef0)
        if self.kernel == "poly":
            return models.PolynomialKernel(self.degree, self.coef0, self.gamma)
        if self.kernel == "rbf":
            check_positive("gamma", self.gamma)
            return models.RadialKernel("gaussian", self.gamma**0.5)
        raise ValueError(f"kernel is {self.kernel!r}, but must be 'linear', 'poly' or 'rbf'.")

    def decision_function(self, X: Any) -> Array:
        """What each output sums up, `[num_samples, num_classes]`, or of two classes `[num_samples]`."""
        check_is_fitted(self)
        X = validate_data(self, X, dtype=FLOATS, reset=False)
        return as_scores(self.network_.decision(torch.from_numpy(X).to(self.network_.samples)))

    def predict(self, X: Any) -> Array:
        """The class of each sample."""
        scores = self.decision_function(X)
        return chosen(self.classes_, scores)
