"""Networks with scikit-learn's face obey scikit-learn's laws."""

from __future__ import annotations

import pickle
import subprocess
import sys
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.interpolate import RBFInterpolator
from sklearn.base import clone
from sklearn.datasets import load_digits
from sklearn.linear_model import Perceptron as ScikitPerceptron
from sklearn.model_selection import GridSearchCV
from sklearn.utils.estimator_checks import check_estimator

import mpnn
import mpnn.train
from mpnn.models.neurons.kernels import RADIAL
from mpnn.train import estimators
from mpnn.train.estimators import KernelPerceptron, Perceptron, RBFClassifier, RBFNetwork

X, Y = load_digits(return_X_y=True)
ALL = [
    Perceptron(),
    Perceptron(average=True, fit_intercept=False),
    KernelPerceptron(),
    KernelPerceptron("rbf", average=True),
    RBFNetwork(),
    RBFNetwork(8, epsilon=0.2),
    RBFClassifier(),
    RBFClassifier(kernel="thin_plate_spline"),
]
# Needs an environment variable of scipy from the start of the process, and another kind of array: estimators
# take those of NumPy.
SKIPPED = {"check_array_api_input"}


@pytest.mark.parametrize("estimator", ALL, ids=repr)
def test_it_passes_the_checks_of_scikit_learn(estimator: Any) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # what a check that is skipped says
        found = check_estimator(estimator, on_fail=None, on_skip=None)
    other = {one["check_name"]: one["exception"] for one in found if one["status"] != "passed"}
    assert other.keys() <= SKIPPED, other
    assert len(found) > 40


def test_every_estimator_is_checked_and_public_twice() -> None:
    elsewhere = {"RBM", "SOM"}  # in files of their own
    assert {type(one).__name__ for one in ALL} | elsewhere == set(estimators.__all__)
    assert all(getattr(mpnn.train, name) is getattr(estimators, name) for name in estimators.__all__)


def test_training_does_not_wait_for_scikit_learn() -> None:
    code = (
        "import sys, mpnn.train; mpnn.train.fit; assert 'sklearn' not in sys.modules; mpnn.train.Perceptron"
    )
    subprocess.run([sys.executable, "-c", code], check=True, cwd=Path(mpnn.__file__).parents[1])


@pytest.mark.parametrize("fit_intercept", [True, False])
@pytest.mark.parametrize("classes", [10, 2], ids=["all", "two"])
def test_a_perceptron_in_order_is_scikit_learns(classes: int, fit_intercept: bool) -> None:
    x, y = X[classes > Y], Y[classes > Y]
    options: dict[str, Any] = {"max_iter": 5, "shuffle": False, "fit_intercept": fit_intercept}
    ours, theirs = Perceptron(**options).fit(x, y), ScikitPerceptron(tol=None, **options).fit(x, y)
    assert np.array_equal(ours.coef_, theirs.coef_)
    assert np.array_equal(ours.intercept_, theirs.intercept_)
    assert np.array_equal(ours.decision_function(x), theirs.decision_function(x))
    assert ours.score(x, y) == theirs.score(x, y)


def test_samples_may_come_in_parts() -> None:
    ours, theirs = Perceptron(shuffle=False), ScikitPerceptron(shuffle=False)
    for part in np.array_split(np.arange(len(X)), 7):
        ours.partial_fit(X[part], Y[part], classes=np.arange(10))
        theirs.partial_fit(X[part], Y[part], classes=np.arange(10))
        assert np.array_equal(ours.coef_, theirs.coef_)
        assert np.array_equal(ours.intercept_, theirs.intercept_)
    with pytest.raises(ValueError, match="y has 10, which is none of the classes"):
        ours.partial_fit(X[:1], [10])
    with pytest.raises(ValueError, match=r"classes is \[0, 1\], but the first samples had \[0 1 2"):
        ours.partial_fit(X[:1], Y[:1], classes=[0, 1])
    assert not hasattr(Perceptron(average=True), "partial_fit")


def test_scores_on_digits_are_those_that_the_order_gives() -> None:
    for epochs, score in ((1, 0.8614), (5, 0.9516), (20, 0.9572)):
        assert round(Perceptron(max_iter=epochs, shuffle=False).fit(X, Y).score(X, Y), 4) == score


def test_a_kernel_divides_what_a_plane_does_not() -> None:
    for kernel in ("poly", "rbf"):
        options: dict[str, Any] = {"gamma": 0.001, "max_iter": 30, "random_state": 0}
        assert KernelPerceptron(kernel, **options).fit(X, Y).score(X, Y) == 1.0
    linear, plain = (
        KernelPerceptron("linear", max_iter=3, shuffle=False),
        Perceptron(max_iter=3, shuffle=False),
    )
    assert np.array_equal(linear.fit(X, Y).predict(X), plain.fit(X, Y).predict(X))
    assert np.array_equal(linear.dual_coef_ @ linear.support_vectors_, plain.coef_)


@pytest.mark.parametrize("kernel", RADIAL)
def test_all_samples_as_centres_are_scipys_interpolator(kernel: str) -> None:
    x, y = X[:200] / 16, X[:200, 20:22]
    ours = RBFNetwork(kernel=kernel, epsilon=2.0, alpha=0.1).fit(x, y)
    theirs = RBFInterpolator(x, y, kernel=kernel, epsilon=2.0, smoothing=0.1, degree=-1)
    new = X[200:300] / 16
    assert np.abs(ours.predict(new) - theirs(new)).max() < 1e-10


def test_centres_of_each_class_tell_digits_apart() -> None:
    network = RBFClassifier(15, epsilon=0.3, alpha=1e-6, random_state=0).fit(X[:1200] / 16, Y[:1200])
    assert network.centers_.shape == (150, 64)
    assert network.score(X[1200:] / 16, Y[1200:]) > 0.94


def test_a_search_finds_its_parameters_and_a_copy_on_disk_predicts_the_same() -> None:
    search = GridSearchCV(KernelPerceptron(shuffle=False, max_iter=3), {"degree": [1, 2]}, cv=3)
    search.fit(X[:300], Y[:300])
    assert search.best_params_["degree"] in (1, 2)
    best = search.best_estimator_
    assert np.array_equal(pickle.loads(pickle.dumps(best)).predict(X), best.predict(X))
    assert clone(best).get_params() == best.get_params()


def test_in_single_precision_networks_stay_there() -> None:
    x = X.astype(np.float32)
    for network in (Perceptron(max_iter=2), RBFNetwork(5), KernelPerceptron(max_iter=2)):
        out = network.fit(x, Y).predict(x)
        assert len(out) == len(x)
    assert Perceptron(max_iter=2).fit(x, Y).coef_.dtype == np.float32


@pytest.mark.parametrize(
    ("estimator", "words"),
    [
        (Perceptron(max_iter=0), "epochs must be at least 1, got 0"),
        (KernelPerceptron("cubic"), "kernel is 'cubic', but must be 'linear', 'poly' or 'rbf'"),
        (KernelPerceptron("rbf", gamma=0.0), "gamma must be above 0, got 0.0"),
        (
            RBFClassifier(1000),
            r"n_centers is 1000, but must be from 1 to \d+: there are \d+ samples of",
        ),
        (RBFNetwork(5000), "n_centers is 5000, but must be from 1 to 1797: there are 1797 samples"),
        (RBFNetwork(kernel="cubic"), "kernel is 'cubic', but must be one of"),
    ],
    ids=repr,
)
def test_a_parameter_that_cannot_be_is_one_sentence(estimator: Any, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        estimator.fit(X, Y)


def test_a_number_of_centres_is_a_whole_number() -> None:
    with pytest.raises(TypeError, match=r"n_centers must be a whole number or None, got 2\.5"):
        RBFNetwork(2.5).fit(X, Y)  # type: ignore[arg-type]


def test_one_class_alone_cannot_be_learned() -> None:
    with pytest.raises(ValueError, match="y has 1 class, 'a', but should have at least 2 classes"):
        Perceptron().fit(X[:3], ["a", "a", "a"])
