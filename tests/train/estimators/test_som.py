"""The self-organising map with scikit-learn's face."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from minisom import MiniSom
from sklearn.base import clone
from sklearn.datasets import load_iris
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.estimator_checks import check_estimator

from mpnn import Graph, topology
from mpnn.models import SelfOrganisingMap
from mpnn.train.estimators.som import SOM

X = StandardScaler().fit_transform(load_iris().data)


@pytest.mark.parametrize(
    "som",
    [
        SOM((3, 3), sigma=2.0),
        SOM((3, 3), batch=False, max_iter=2),
        SOM((4, 3), hexagonal=True, output="positions"),
    ],
    ids=["batch", "online", "positions"],
)
def test_it_passes_the_checks_of_scikit_learn(som: SOM) -> None:
    check_estimator(som, on_skip=None)


def test_it_is_minisom() -> None:
    ours = SOM((6, 5), sigma=1.5, sigma_decay_function="constant", max_iter=4, random_state=0).fit(X)
    begin = SelfOrganisingMap((6, 5), 4).random_weights_init(torch.from_numpy(X), _seed(0))
    theirs = MiniSom(6, 5, 4, 1.5, 1.0, decay_function=_first, sigma_decay_function="inverse_decay_to_one")
    theirs._sigma_decay_function = _first
    theirs._weights = begin.weight.view(6, 5, 4).numpy().copy()
    theirs.train_batch_offline(X, 4)
    assert np.abs(ours.weights_ - theirs.get_weights().reshape(30, 4)).max() < 1e-12
    assert ours.quantization_error_ == pytest.approx(theirs.quantization_error(X), rel=1e-12)
    assert ours.topographic_error_ == pytest.approx(theirs.topographic_error(X), rel=1e-12)
    assert ours.predict(X).tolist() == [int(np.ravel_multi_index(theirs.winner(x), (6, 5))) for x in X]


def test_online_it_goes_through_the_samples_as_often_as_it_is_told() -> None:
    ours = SOM((6, 5), sigma=1.5, batch=False, max_iter=2, shuffle=False, random_state=3).fit(X)
    module = SelfOrganisingMap((6, 5), 4, sigma=1.5).random_weights_init(torch.from_numpy(X), _seed(3))
    assert np.array_equal(ours.weights_, module.fit(torch.from_numpy(X), 300).weight.numpy())


def test_what_it_returns_fits_together() -> None:
    som = SOM((4, 5), hexagonal=True, init="pca", random_state=0)
    assert np.array_equal(clone(som).fit_predict(X), som.fit(X).predict(X))
    distances = som.transform(X)
    assert distances.shape == (150, 20)
    assert np.array_equal(distances.argmin(1), som.labels_)
    assert distances.min(1).mean() == pytest.approx(som.quantization_error_)
    places = clone(som).set_params(output="positions").fit(X)
    lattice = topology.lattice((4, 5), hexagonal=True)
    assert np.allclose(places.transform(X), lattice.positions.numpy()[som.labels_])
    assert list(places.get_feature_names_out()) == ["som0", "som1"]
    assert len(som.get_feature_names_out()) == 20


def test_it_is_a_step_of_a_pipeline_and_its_map_may_be_any_graph() -> None:
    ring = Graph(torch.tensor([[0, 1, 2, 3, 1, 2, 3, 0], [1, 2, 3, 0, 0, 1, 2, 3]]), 4)
    pipeline = make_pipeline(StandardScaler(), SOM(graph=ring, sigma=2.0, random_state=0))
    assert pipeline.fit_transform(load_iris().data).shape == (150, 4)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"init": "zeros"}, "init is 'zeros', but must be one of random, pca"),
        ({"output": "maps"}, "output is 'maps', but must be one of distances, positions"),
        (
            {"graph": topology.complete(4), "output": "positions"},
            "output is 'positions', but a map of any graph",
        ),
        ({"sigma": 0.9}, "sigma ends at 0.310345, but must be at least 0.5"),
        ({"max_iter": 0}, "max_iter must be at least 1, got 0"),
    ],
)
def test_a_mistake_is_one_sentence(options: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        SOM(**options).fit(X)
    with pytest.raises(ValueError, match="contains NaN"):
        SOM().fit(np.where(X > 2, np.nan, X))
    with pytest.raises(ValueError, match="X has 3 features, but SOM is expecting 4 features"):
        SOM((3, 3)).fit(X).predict(X[:, :3])


def _seed(random_state: int) -> int:
    return int(np.random.RandomState(random_state).randint(np.iinfo(np.int32).max))


def _first(value: float, t: int, steps: int) -> float:
    return value
