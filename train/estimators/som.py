"""The self-organising map as a transformer of scikit-learn."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.base import BaseEstimator, ClassNamePrefixFeaturesOutMixin, TransformerMixin
from sklearn.utils import check_random_state
from sklearn.utils.validation import check_is_fitted, validate_data

from mpnn import Graph, topology
from mpnn.models.neurons.som import SelfOrganisingMap
from mpnn.models.parts.checks import check_count

Array = NDArray[Any]
INITS, OUTPUTS = ("random", "pca"), ("distances", "positions")


class SOM(ClassNamePrefixFeaturesOutMixin, TransformerMixin, BaseEstimator):  # type: ignore[misc]  # scikit-learn has no types
    """`mpnn.models.SelfOrganisingMap`: units on a map, each of which stands for the samples that it wins.

    Args:
        shape: rows and columns of the map; other numbers of dimensions too.
        hexagonal: six neighbours in place of four.
        torus: whether opposite edges of the map meet.
        graph: a map of any other form, in place of these three.
        sigma, learning_rate, neighborhood_function, decay_function, sigma_decay_function: those of
            `SelfOrganisingMap`.
        batch: whether all samples are learned from at once in each epoch; else one after the other.
        max_iter: the number of epochs.
        init: where units begin, "random", at samples that are drawn, or "pca", on the plane of two principal
            components.
        shuffle: whether samples are learned from in an order that is drawn; without `batch`.
        output: what `transform` returns, "distances" from the units, or "positions", the place of the winning
            unit on the map, where neighbours are 1 from each other; a map of any graph has no places.
        random_state: a seed or a generator.

    Attributes: `weights_` `[num_units, num_features]`; `labels_`, the winning unit of each sample;
    `quantization_error_` and `topographic_error_` of the samples; `n_iter_`; `map_`, the module.

    >>> SOM((1, 2), random_state=0).fit([[0.0], [0.1], [5.0]]).predict([[0.05], [6.0]]).shape
    (2,)
    """

    def __init__(
        self,
        shape: int | tuple[int, ...] = (10, 10),
        *,
        hexagonal: bool = False,
        torus: bool = False,
        graph: Graph | None = None,
        sigma: float = 3.0,
        learning_rate: float = 0.5,
        neighborhood_function: str = "gaussian",
        decay_function: str | Callable[[float, int, int], float] = "asymptotic_decay",
        sigma_decay_function: str | Callable[[float, int, int], float] = "asymptotic_decay",
        batch: bool = True,
        max_iter: int = 20,
        init: str = "random",
        shuffle: bool = True,
        output: str = "distances",
        random_state: Any = None,
    ) -> None:
        self.shape, self.hexagonal, self.torus, self.graph = shape, hexagonal, torus, graph
        self.sigma, self.learning_rate = sigma, learning_rate
        self.neighborhood_function = neighborhood_function
        self.decay_function, self.sigma_decay_function = decay_function, sigma_decay_function
        self.batch, self.max_iter, self.init, self.shuffle = batch, max_iter, init, shuffle
        self.output, self.random_state = output, random_state

    def fit(self, X: Any, y: Any = None) -> SOM:
        """Learn from `[num_samples, num_features]`.

        Raises:
            TypeError, ValueError: an argument that is none of those that it can be.
        """
        x = self._as_tensor(X, reset=True)
        for name, known in (("init", INITS), ("output", OUTPUTS)):
            if getattr(self, name) not in known:
                raise ValueError(f"{name} is {getattr(self, name)!r}, but must be one of {', '.join(known)}.")
        if self.output == "positions" and not isinstance(self._graph(), topology.Lattice):
            raise ValueError("output is 'positions', but a map of any graph has none: take 'distances'.")
        check_count("max_iter", self.max_iter, 1)
        seed = int(check_random_state(self.random_state).randint(np.iinfo(np.int32).max))
        self.map_ = SelfOrganisingMap(
            self._graph(),
            x.size(1),
            sigma=self.sigma,
            learning_rate=self.learning_rate,
            neighborhood_function=self.neighborhood_function,
            decay_function=self.decay_function,
            sigma_decay_function=self.sigma_decay_function,
        )
        if self.init == "pca":
            self.map_.pca_weights_init(x)
        else:
            self.map_.random_weights_init(x, seed)
        if self.batch:
            self.map_.fit_batch(x, self.max_iter)
        else:
            self.map_.fit(x, self.max_iter * len(x), random_order=self.shuffle, seed=seed)
        self.n_iter_ = self.max_iter
        self.weights_: Array = self.map_.weight.numpy()
        self.labels_: Array = self.map_.winner(x).numpy()
        self.quantization_error_ = self.map_.quantization_error(x)
        self.topographic_error_ = self.map_.topographic_error(x)
        return self

    def predict(self, X: Any) -> Array:
        """The winning unit of each sample, `[num_samples]`."""
        x = self._given(X)
        found: Array = self.map_.winner(x).numpy()
        return found

    def fit_predict(self, X: Any, y: Any = None) -> Array:
        """`fit`, and the winning unit of each sample."""
        return self.fit(X).labels_

    def transform(self, X: Any) -> Array:
        """Distances from all units, `[num_samples, num_units]`; or positions, `[num_samples, dimensions]`."""
        x = self._given(X)
        if self.output == "distances":
            distances: Array = self.map_(x).numpy()
            return distances
        lattice = self.map_.graph
        assert isinstance(lattice, topology.Lattice)  # `fit` has seen to it
        positions: Array = lattice.positions.to(x)[self.map_.winner(x)].numpy()
        return positions

    @property
    def _n_features_out(self) -> int:
        return len(self.weights_) if self.output == "distances" else len(self.map_.shape)

    def _graph(self) -> Graph:
        if self.graph is not None:
            return self.graph
        return topology.lattice(self.shape, hexagonal=self.hexagonal, torus=self.torus)

    def _given(self, X: Any) -> torch.Tensor:
        check_is_fitted(self)
        return self._as_tensor(X, reset=False)

    def _as_tensor(self, X: Any, reset: bool) -> torch.Tensor:
        # PyTorch warns of an array that it may not write to.
        types = (np.float64, np.float32)
        return torch.from_numpy(validate_data(self, X, dtype=types, reset=reset, force_writeable=True))

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.transformer_tags.preserves_dtype = ["float64", "float32"]
        return tags
