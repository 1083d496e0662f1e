"""Networks of radial basis functions against scipy's interpolation and scikit-learn's regressions."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from scipy.interpolate import RBFInterpolator
from sklearn.kernel_ridge import KernelRidge
from sklearn.linear_model import Ridge
from torch import Tensor

import mpnn
from mpnn.models import RBFNetwork
from mpnn.models.neurons import rbf_network
from mpnn.models.neurons.kernels import RADIAL
from tests.compare import assert_close, assert_same


def _drawn(*shape: int, seed: int = 0) -> Tensor:
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


X, Y, NEW = _drawn(60, 3), _drawn(60, 2, seed=1), _drawn(40, 3, seed=2)


def _network(centers: int = 60, kernel: str = "gaussian", epsilon: float = 6.0) -> RBFNetwork:
    torch.manual_seed(0)
    return RBFNetwork(3, 2, centers, kernel, epsilon).double()


@pytest.mark.parametrize("alpha", [0.0, 0.1])
@pytest.mark.parametrize("kernel", RADIAL)
def test_with_all_samples_as_centres_it_is_scipys_interpolator(kernel: str, alpha: float) -> None:
    theirs = RBFInterpolator(X.numpy(), Y.numpy(), kernel=kernel, epsilon=6.0, smoothing=alpha, degree=-1)
    ours = _network(60, kernel).fit(X, Y, alpha=alpha)
    assert_close(ours(NEW).detach(), torch.from_numpy(theirs(NEW.numpy())), atol=1e-12)
    if alpha == 0:
        assert_close(ours(X).detach(), Y, atol=1e-11)


def test_the_gaussian_with_all_samples_is_kernel_ridge_regression() -> None:
    theirs = KernelRidge(kernel="rbf", gamma=36.0, alpha=0.1).fit(X, Y).predict(NEW)
    assert_close(_network().fit(X, Y, alpha=0.1)(NEW).detach(), torch.from_numpy(theirs), atol=1e-12)


@pytest.mark.parametrize("rows", [8192, 7])
def test_few_centres_are_ridge_regression_block_by_block(rows: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rbf_network, "ROWS", rows)
    centers = _drawn(20, 3, seed=3)
    network = _network(20).fit(X, Y, centers, alpha=0.1)
    phi = network.kernel.matrix(X, centers)
    theirs = Ridge(alpha=0.1, fit_intercept=False, solver="svd").fit(phi, Y)
    weight = torch.from_numpy(theirs.coef_.T)
    assert_close(network.weight.detach(), weight, atol=1e-12)
    assert_close(network(NEW).detach(), network.kernel.matrix(NEW, centers) @ weight, atol=1e-12)


def test_centres_that_are_the_same_share_the_shortest_weights() -> None:
    centers = _drawn(6, 3, seed=3).repeat(2, 1)
    network = _network(12).fit(X, Y, centers)
    phi = network.kernel.matrix(X, centers).numpy()
    assert_close(network.weight.detach(), torch.from_numpy(np.linalg.pinv(phi) @ Y.numpy()), atol=1e-11)


@pytest.mark.parametrize("kernel", RADIAL)
def test_blocks_of_rows_are_messages_from_centres_to_samples(kernel: str) -> None:
    network = _network(9, kernel)
    graph = mpnn.topology.complete_bipartite(9, 40)

    def by_messages(x: Tensor) -> Tensor:
        out: Tensor = network(x, graph)
        return out

    parameters = list(network.parameters())
    assert_same(lambda x, *_: network(x), lambda x, *_: by_messages(x), [NEW, *parameters], atol=1e-10)
    with mpnn.backend("eager"):
        edge_by_edge = network(NEW)
    assert_close(by_messages(NEW), edge_by_edge, atol=1e-12)


def test_a_sparse_graph_leaves_out_what_is_far() -> None:
    network = _network(30)
    distances = torch.cdist(NEW, network.centers)
    near = distances.detach().topk(4, dim=1, largest=False).indices
    graph = mpnn.Graph(torch.stack([near.flatten(), torch.arange(40).repeat_interleave(4)]), (30, 40))
    phi = torch.exp(-36 * distances.gather(1, near) ** 2)
    expected = (phi[..., None] * network.weight[near]).sum(1)
    assert_close(network(NEW, graph), expected, atol=1e-12)


def test_at_a_centre_gradients_are_those_of_a_smooth_function() -> None:
    for kernel in RADIAL:
        network = _network(5, kernel, 1.0)
        x = network.centers.detach().clone().requires_grad_()
        assert torch.autograd.gradcheck(network, (x,))


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: RBFNetwork(3, 2, 0), "num_centers must be at least 1, got 0"),
        (lambda: RBFNetwork(3, 2, 5, "cubic"), "kernel is 'cubic', but must be one of gaussian, "),
        (lambda: RBFNetwork(3, 2, 5, epsilon=0.0), "epsilon must be above 0, got 0.0"),
        (lambda: _network()(X[:, :2]), r"x must be \[num_samples, 3\], got shape \[60, 2\]"),
        (lambda: _network(5).fit(X, Y), "all 60 samples are centres, but num_centers is 5"),
        (lambda: _network(5).fit(X, Y, X), r"centers must be \[5, 3\], got shape \[60, 3\]"),
        (lambda: _network().fit(X, Y[:, :1]), r"target must be \[60, 2\], got shape \[60, 1\]"),
        (lambda: _network().fit(X, Y / 0), r"target\[0, 0\] is inf, but must be a finite number"),
        (lambda: _network().fit(X, Y, alpha=-1.0), "alpha must be a finite number of at least 0, got -1.0"),
        (
            lambda: _network().fit(torch.ones_like(X), Y),
            "the samples cannot be met, as some are the same: give alpha, above 0",
        ),
    ],
)
def test_a_mistake_is_one_sentence(call: Callable[[], Any], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        call()
