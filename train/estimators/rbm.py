"""The restricted Boltzmann machine as a transformer of scikit-learn."""

from __future__ import annotations

import time
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.base import BaseEstimator, ClassNamePrefixFeaturesOutMixin, TransformerMixin
from sklearn.utils import check_random_state
from sklearn.utils.validation import check_is_fitted, validate_data
from torch import Tensor

from mpnn import models
from mpnn.models.energy.units import KINDS, Kind
from mpnn.models.parts.checks import check_count, check_number

Array = NDArray[Any]
FLOATS = (np.float64, np.float32)


class RBM(ClassNamePrefixFeaturesOutMixin, TransformerMixin, BaseEstimator):  # type: ignore[misc]
    """`mpnn.models.RBM`, with the arguments, methods and attributes of `sklearn.neural_network.BernoulliRBM`.

    With the same `random_state` it learns the weights of BernoulliRBM, which is trained by persistent chains
    and one sweep a step; where a batch is short, all chains count, as there. The weights agree to 1e-13:
    SciPy's sigmoid and NumPy's sums and products round otherwise than PyTorch's. With PyTorch's in their
    place scikit-learn's weights are these in every bit.

    Args:
        n_components: the number of hidden units.
        learning_rate: of a step.
        batch_size: how many samples a step has, and how many persistent chains there are.
        n_iter: epochs of `fit`.
        cd_steps: k, the sweeps of the chains in a step.
        persistent: whether chains go on from step to step; else they begin at the samples of each (CD-k).
        gaussian: whether the features are numbers with noise of variance 1, so that they are to be
            standardised; else they are from 0 to 1, which stand for 0 and 1.
        verbose: whether to print the pseudo-likelihood after each epoch.
        random_state: a seed or a generator, of the weights and of all that is drawn.

    Attributes: `network_`, the module; its weights as `components_` `[n_components, num_features]`,
    `intercept_hidden_` and `intercept_visible_`; `h_samples_`, the hidden units of the persistent chains.

    >>> RBM(2, random_state=0).fit_transform([[0.0, 1.0], [1.0, 0.0]]).shape
    (2, 2)
    """

    def __init__(
        self,
        n_components: int = 256,
        *,
        learning_rate: float = 0.1,
        batch_size: int = 10,
        n_iter: int = 10,
        cd_steps: int = 1,
        persistent: bool = True,
        gaussian: bool = False,
        verbose: int = 0,
        random_state: Any = None,
    ) -> None:
        self.n_components, self.learning_rate, self.batch_size = n_components, learning_rate, batch_size
        self.n_iter, self.cd_steps, self.persistent = n_iter, cd_steps, persistent
        self.gaussian, self.verbose, self.random_state = gaussian, verbose, random_state

    @property
    def components_(self) -> Array:
        """The weights, `[n_components, num_features]`."""
        return _array(self.network_.weight)

    @property
    def intercept_hidden_(self) -> Array:
        """The biases of the hidden units, `[n_components]`."""
        return _array(self.network_.hidden_bias)

    @property
    def intercept_visible_(self) -> Array:
        """The biases of the visible units, `[num_features]`."""
        return _array(self.network_.visible_bias)

    @property
    def h_samples_(self) -> Array:
        """The hidden units of the persistent chains, `[batch_size, n_components]`."""
        if self.learning_.chains is None:
            raise AttributeError(
                "h_samples_ are the hidden units of persistent chains, but persistent is False."
            )
        return _array(self.learning_.chains)

    def fit(self, X: Any, y: Any = None) -> RBM:
        """Learn from `[num_samples, num_features]`; `y` is not read."""
        X = self._checked(X, reset=True)
        self._check_numbers()
        random = check_random_state(self.random_state)
        self._begin(X, random)
        for epoch in range(1, self.n_iter + 1):
            began = time.perf_counter()
            for batch in torch.from_numpy(X).split(self.batch_size):  # type: ignore[no-untyped-call]
                self._learn(batch, random)
            if self.verbose:
                score, seconds = self.score_samples(X).mean(), time.perf_counter() - began
                print(f"[RBM] Iteration {epoch}, pseudo-likelihood = {score:.2f}, time = {seconds:.2f}s")
        return self

    def partial_fit(self, X: Any, y: Any = None) -> RBM:
        """Make one step with all samples `[num_samples, num_features]`; `y` is not read."""
        is_first = not hasattr(self, "network_")
        X = self._checked(X, reset=is_first)
        self._check_numbers()
        if not hasattr(self, "random_state_"):
            self.random_state_ = check_random_state(self.random_state)
        if is_first:
            self._begin(X, self.random_state_)
        self._learn(torch.from_numpy(X), self.random_state_)
        return self

    @torch.no_grad()
    def transform(self, X: Any) -> Array:
        """The probabilities of the hidden units, `[num_samples, n_components]`."""
        check_is_fitted(self)
        v = torch.from_numpy(self._checked(X, reset=False))
        hidden: Array = self._like(v).hidden(v).numpy()
        return hidden

    @torch.no_grad()
    def gibbs(self, v: Any) -> Array:
        """One step of a chain from visible units `[num_samples, num_features]`: the hidden ones, and back."""
        check_is_fitted(self)
        given = torch.from_numpy(self._checked(v, reset=False))
        if not hasattr(self, "random_state_"):
            self.random_state_ = check_random_state(self.random_state)
        network, draw = self._like(given), self.random_state_.uniform
        h = network.draw_hidden(given, torch.from_numpy(draw(size=(len(given), self.n_components))))
        new = network.draw_visible(h, torch.from_numpy(draw(size=tuple(given.shape)))).numpy()
        states: Array = new if self.gaussian else new.astype(bool)
        return states

    @torch.no_grad()
    def score_samples(self, X: Any) -> Array:
        """The pseudo-likelihood of samples, `[num_samples]`, from one unit of each, drawn and turned over.

        Of gaussian units it is log p(v) + log Z instead, in which samples differ as in log p(v).
        """
        check_is_fitted(self)
        v = torch.from_numpy(self._checked(X, reset=False))
        network = self._like(v)
        if self.gaussian:
            logarithm: Array = -network.free_energy(v).numpy()
            return logarithm
        number = v.size(1)
        rows = torch.arange(len(v))
        units = torch.from_numpy(check_random_state(self.random_state).randint(0, number, len(v)))
        turned = v.clone()
        turned[rows, units] = 1 - turned[rows, units]
        gain = network.free_energy(turned) - network.free_energy(v)
        score: Array = (-number * torch.logaddexp(torch.zeros_like(gain), -gain)).numpy()
        return score

    # What fit and partial_fit share -----------------------------------------------------------------------

    @torch.no_grad()
    def _begin(self, X: Array, random: Any) -> None:
        units: Kind = "gaussian" if self.gaussian else "binary"
        network = models.RBM(X.shape[1], self.n_components, units=units).to(torch.from_numpy(X).dtype)
        network.weight.copy_(torch.from_numpy(random.normal(0, 0.01, tuple(network.weight.shape))))
        self.network_ = network
        self._n_features_out = self.n_components
        self.learning_ = models.ContrastiveDivergence(
            network, steps=self.cd_steps, num_chains=self.batch_size if self.persistent else None
        )

    @torch.no_grad()
    def _learn(self, v: Tensor, random: Any) -> None:
        network = self.network_
        chains = self.batch_size if self.persistent else len(v)

        def draw(_: int) -> tuple[Tensor, Tensor]:
            sizes = (chains, network.num_visible), (chains, network.num_hidden)
            of_visible, of_hidden = (torch.from_numpy(random.uniform(size=size)) for size in sizes)
            return of_visible, of_hidden

        data, model, _ = self.learning_.phases(v.to(network.weight.dtype), draw)
        for name, there, own in zip(data._fields, data, model, strict=True):
            network.get_parameter(name).add_(float(self.learning_rate) / len(v) * (there - own))

    def _like(self, v: Tensor) -> models.RBM:
        """The network in the type of the samples, for which it is copied where that is another."""
        if v.dtype == self.network_.weight.dtype:
            return self.network_
        other = models.RBM(self.network_.num_visible, self.network_.num_hidden, units=self.network_.units)
        other.load_state_dict(self.network_.state_dict())
        return other.to(v.dtype)

    def _checked(self, X: Any, reset: bool) -> Array:
        checked: Array = validate_data(self, X, reset=reset, dtype=FLOATS)
        checked = np.require(
            checked, requirements=["C", "W"]
        )  # PyTorch has no memory that must not be written
        KINDS["gaussian" if self.gaussian else "binary"].check("X", torch.from_numpy(checked))
        return checked

    def _check_numbers(self) -> None:
        for name, least in (("n_components", 1), ("batch_size", 1), ("n_iter", 0), ("cd_steps", 1)):
            check_count(name, getattr(self, name), least)
        check_number("learning_rate", self.learning_rate, 0)

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.transformer_tags.preserves_dtype = ["float64", "float32"]
        return tags


def _array(values: Tensor) -> Array:
    array: Array = values.detach().numpy()
    return array
