"""The RBM as scikit-learn's transformer, beside scikit-learn's own."""

from __future__ import annotations

import pickle
import warnings
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import scipy.sparse
import torch
import torch.nn.functional as F
from sklearn.datasets import load_digits
from sklearn.neural_network import BernoulliRBM, _rbm
from sklearn.utils.estimator_checks import check_estimator
from torch import Tensor

from mpnn.train.estimators.rbm import RBM

DIGITS = load_digits().data / 16
LEARNED = ("components_", "intercept_hidden_", "intercept_visible_", "h_samples_")


def _pair(**arguments: Any) -> tuple[Any, RBM]:
    arguments = {"n_components": 30, "learning_rate": 0.06, "n_iter": 3, "random_state": 0} | arguments
    return BernoulliRBM(**arguments), RBM(**arguments)


# 1,797 samples are no multiple of 7, 10 or 100: the last batch is short.
@pytest.mark.parametrize("batch_size", [7, 10, 100])
def test_it_draws_and_learns_what_scikit_learns_does(batch_size: int) -> None:
    theirs, ours = (one.fit(DIGITS) for one in _pair(batch_size=batch_size))
    np.testing.assert_array_equal(ours.h_samples_, theirs.h_samples_)
    for name in LEARNED:  # products, sums and the logistic function are rounded otherwise
        np.testing.assert_allclose(getattr(ours, name), getattr(theirs, name), rtol=0, atol=1e-13)
    np.testing.assert_allclose(ours.transform(DIGITS), theirs.transform(DIGITS), rtol=0, atol=1e-13)
    np.testing.assert_allclose(ours.score_samples(DIGITS), theirs.score_samples(DIGITS), rtol=0, atol=1e-10)
    for _ in range(3):
        np.testing.assert_array_equal(ours.gibbs(DIGITS), theirs.gibbs(DIGITS))


def test_the_steps_of_partial_fit_are_those_of_scikit_learn() -> None:
    theirs, ours = _pair()
    for rows in np.array_split(DIGITS, 40):
        theirs.partial_fit(rows)
        ours.partial_fit(rows)
    np.testing.assert_array_equal(ours.h_samples_, theirs.h_samples_)
    for name in LEARNED:
        np.testing.assert_allclose(getattr(ours, name), getattr(theirs, name), rtol=0, atol=1e-13)


class _Summed(np.ndarray):
    """An array whose sums are rounded as PyTorch rounds them."""

    def sum(self, axis: Any = None, **_: Any) -> Any:
        return torch.from_numpy(np.array(self)).sum(axis).numpy()


def _tensor(array: Any) -> Tensor:
    return torch.from_numpy(np.ascontiguousarray(array)).double()


def test_where_scikit_learn_rounds_as_pytorch_does_its_training_is_equal_in_every_bit(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """scikit-learn's own code, with PyTorch's product, sum and logistic function in the place of NumPy's."""

    def logistic(p: Any, out: Any = None) -> Any:
        out[...] = torch.sigmoid(_tensor(p)).numpy()
        return out

    def product(a: Any, b: Any, dense_output: bool = False) -> Any:
        if dense_output:  # vᵀ h, which it transposes
            found = (_tensor(b).T @ _tensor(a.T)).T
        elif not a.flags.c_contiguous:  # hᵀ v
            found = _tensor(a.T).T @ _tensor(b)
        elif b.shape[0] == DIGITS.shape[1]:  # v Wᵀ
            found = F.linear(_tensor(a), _tensor(b.T))
        else:
            found = _tensor(a) @ _tensor(b)
        return found.numpy().view(_Summed)

    numpy = SimpleNamespace(**{name: getattr(np, name) for name in np.__all__} | {"dot": product})
    monkeypatch.setattr(_rbm, "expit", logistic)
    monkeypatch.setattr(_rbm, "safe_sparse_dot", product)
    monkeypatch.setattr(_rbm, "np", numpy)
    theirs, ours = (one.fit(DIGITS) for one in _pair())
    for name in LEARNED:
        np.testing.assert_array_equal(getattr(ours, name), getattr(theirs, name))


def test_what_was_pickled_learns_on() -> None:
    ours = RBM(8, n_iter=1, random_state=0).fit(DIGITS)
    other = pickle.loads(pickle.dumps(ours))
    for one in (ours, other):
        one.partial_fit(DIGITS[:50])
    assert not np.array_equal(ours.components_, RBM(8, n_iter=1, random_state=0).fit(DIGITS).components_)
    for name in LEARNED:
        np.testing.assert_array_equal(getattr(other, name), getattr(ours, name))


def test_single_precision_stays_what_it_is() -> None:
    found = RBM(8, n_iter=1, random_state=0).fit(DIGITS.astype(np.float32))
    assert {getattr(found, name).dtype for name in LEARNED} == {np.dtype(np.float32)}
    assert found.transform(DIGITS.astype(np.float32)).dtype == np.float32
    np.testing.assert_allclose(found.transform(DIGITS), found.transform(DIGITS.astype(np.float32)), atol=1e-5)


@pytest.mark.parametrize("persistent", [True, False])
def test_training_makes_the_data_more_likely(persistent: bool) -> None:
    x = (DIGITS > 0.5).astype(float)
    before = RBM(16, n_iter=0, random_state=0).fit(x)
    after = RBM(16, n_iter=3, cd_steps=3, persistent=persistent, random_state=0).fit(x)
    means = [one.network_.log_likelihood(torch.from_numpy(x)).mean().item() for one in (before, after)]
    assert means[1] > means[0] + 5


def test_gaussian_units_learn_too() -> None:
    x = np.random.RandomState(0).normal(size=(500, 1)) @ np.array([[1.0, -1.0, 0.5]])
    x = (x - x.mean(0)) / x.std(0)
    found = RBM(2, gaussian=True, n_iter=60, learning_rate=0.05, random_state=0).fit(x)
    likelihood = found.network_.log_likelihood(torch.from_numpy(x)).mean().item()
    assert likelihood > -0.5 * 3 * (1 + np.log(2 * np.pi)) + 0.2  # of independent normal numbers
    np.testing.assert_allclose(
        found.score_samples(x) - found.network_.log_partition().item(),
        found.network_.log_likelihood(torch.from_numpy(x)).detach().numpy(),
    )
    assert found.gibbs(x).dtype == np.float64


class Squashed(RBM):
    """An RBM of the probabilities that any numbers stand for: scikit-learn's checks have no others."""

    def _checked(self, X: Any, reset: bool) -> Any:
        self.gaussian = True
        found = super()._checked(X, reset)
        del self.gaussian
        self.gaussian = False
        return (1 / (1 + np.exp(-found.clip(-50, 50)))).astype(found.dtype)


DRAWN = "the unit that is turned over is drawn for each row, as in BernoulliRBM"


@pytest.mark.parametrize("estimator", [RBM(4, gaussian=True), Squashed(4)], ids=["gaussian", "binary"])
def test_it_passes_the_checks_of_scikit_learn(estimator: RBM) -> None:
    known = ("check_methods_sample_order_invariance", "check_methods_subset_invariance")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that a check is left out where SCIPY_ARRAY_API is not set
        found = check_estimator(
            estimator,
            expected_failed_checks={} if estimator.gaussian else dict.fromkeys(known, DRAWN),
        )
    assert len(found) > 40


@pytest.mark.parametrize(
    ("arguments", "data", "words"),
    [
        ({}, [[0.0, 1.5]], r"X\[0, 1\] is 1.5, but binary units are from 0 to 1"),
        ({}, [[-0.25, 1.0]], r"X\[0, 0\] is -0.25, but binary units are from 0 to 1"),
        ({"n_components": 0}, [[0.0, 1.0]], "n_components must be at least 1, got 0"),
        ({"cd_steps": 0}, [[0.0, 1.0]], "cd_steps must be at least 1, got 0"),
        ({"batch_size": 0}, [[0.0, 1.0]], "batch_size must be at least 1, got 0"),
        ({"learning_rate": -1.0}, [[0.0, 1.0]], "learning_rate must be a finite number of at least 0"),
    ],
)
def test_a_mistake_is_one_sentence(arguments: dict[str, Any], data: Any, words: str) -> None:
    for learn in ("fit", "partial_fit"):
        with pytest.raises(ValueError, match=words):
            getattr(RBM(**arguments), learn)(np.array(data))


def test_chains_that_do_not_persist_are_not_kept() -> None:
    with pytest.raises(AttributeError, match="persistent is False"):
        _ = RBM(2, n_iter=1, persistent=False).fit(DIGITS[:20]).h_samples_


def test_a_sparse_matrix_is_refused_in_words() -> None:
    with pytest.raises(TypeError, match="dense data is required"):
        RBM().fit(scipy.sparse.csr_array(DIGITS))
