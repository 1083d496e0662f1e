"""The perceptron against scikit-learn's, its equation edge by edge, its dual, and Novikoff's bound."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.datasets import load_digits
from sklearn.linear_model import Perceptron as ScikitPerceptron
from sklearn.linear_model import SGDClassifier
from torch import Tensor

from mpnn import Graph, Schedule, iterate, topology
from mpnn.models import KernelPerceptron, Perceptron
from mpnn.models.neurons import kernel_perceptron
from mpnn.models.neurons.kernels import Kernel, PolynomialKernel, RadialKernel
from tests.compare import assert_close

DIGITS = load_digits()
X, Y = torch.from_numpy(DIGITS.data), torch.from_numpy(DIGITS.target)
TARGET = torch.where(Y[:, None] == torch.arange(10), 1.0, -1.0).double()
CENTRED = (X - X.mean(0)) / 7  # no whole numbers


def _trained(x: Tensor, epochs: int, **options: float | bool) -> Perceptron:
    return Perceptron(64, 10, dtype=torch.float64).fit(x, TARGET, epochs=epochs, **options)  # type: ignore[arg-type]


# Against scikit-learn ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("epochs", [1, 5, 20])
@pytest.mark.parametrize(("x", "lr"), [(X, 1.0), (CENTRED, 1.0), (CENTRED, 0.1)], ids=["whole", "real", "η"])
def test_weights_are_scikit_learns_bit_for_bit(x: Tensor, lr: float, epochs: int) -> None:
    theirs = ScikitPerceptron(shuffle=False, tol=None, max_iter=epochs, eta0=lr).fit(x.numpy(), DIGITS.target)
    ours = _trained(x, epochs, lr=lr)
    assert np.array_equal(ours.weight.numpy(), theirs.coef_)
    assert np.array_equal(ours.get_parameter("bias").numpy(), theirs.intercept_)


@pytest.mark.parametrize("x", [X, CENTRED], ids=["whole", "real"])
def test_averaged_weights_are_those_of_averaged_gradients(x: Tensor) -> None:
    theirs = SGDClassifier(
        loss="perceptron", penalty=None, learning_rate="constant", eta0=1.0, average=True, shuffle=False,
        tol=None, max_iter=5,
    ).fit(x.numpy(), DIGITS.target)  # fmt: skip
    ours = _trained(x, 5, averaged=True)
    assert_close(ours.weight, torch.from_numpy(theirs.coef_), atol=1e-12)
    assert_close(ours.get_parameter("bias"), torch.from_numpy(theirs.intercept_), atol=1e-12)


def test_the_mean_of_all_epochs_is_known_once_nothing_changes() -> None:
    x, target = X[Y < 2], TARGET[Y < 2][:, :1]
    options = {"shuffle": False, "tol": None, "average": True, "max_iter": 40}
    theirs = SGDClassifier(
        loss="perceptron", penalty=None, learning_rate="constant", eta0=1.0, **options
    ).fit(x.numpy(), target[:, 0].numpy())
    ours = Perceptron(64, 1, dtype=torch.float64).fit(x, target, epochs=40, averaged=True)
    assert len(ours.mistakes) < 40
    assert_close(ours.weight, torch.from_numpy(theirs.coef_), atol=1e-12)


# Against its equation ---------------------------------------------------------------------------------------


def test_blocks_of_samples_are_one_sample_after_the_other() -> None:
    quick, slow = (Perceptron(64, 10, dtype=torch.float64) for _ in range(2))
    quick.fit(CENTRED[:600], TARGET[:600], epochs=2)
    wrong = [slow.learn(x, t) for _ in range(2) for x, t in zip(CENTRED[:600], TARGET[:600], strict=True)]
    assert torch.equal(quick.weight, slow.weight)
    assert torch.equal(quick.mistakes, torch.stack(wrong).view(2, 600, 10).sum(1))
    assert torch.equal(quick(CENTRED), torch.where(slow.decision(CENTRED) > 0, 1.0, -1.0).double())


@pytest.mark.parametrize("averaged", [False, True])
def test_on_a_graph_a_neuron_sees_its_own_inputs_alone(averaged: bool) -> None:
    keep = torch.rand(10, 64, generator=torch.Generator().manual_seed(0)) < 0.4
    dst, src = keep.nonzero().T
    sparse = Perceptron(64, 10, dtype=torch.float64, graph=Graph(torch.stack([src, dst]), (64, 10)))
    sparse.fit(X[:300], TARGET[:300], epochs=2, averaged=averaged)
    for k in range(10):
        alone = Perceptron(64, 1, dtype=torch.float64)
        alone.fit(X[:300] * keep[k], TARGET[:300, k : k + 1], epochs=2, averaged=averaged)
        assert_close(sparse.weight[dst == k], alone.weight[0, keep[k]], atol=1e-12)
        assert_close(sparse.get_parameter("bias")[k], alone.get_parameter("bias")[0], atol=1e-12)


def test_an_order_of_samples_is_drawn_for_each_epoch() -> None:
    generator = torch.Generator().manual_seed(3)
    drawn = Perceptron(64, 10, dtype=torch.float64)
    drawn.fit(X, TARGET, epochs=2, generator=torch.Generator().manual_seed(3))
    one_by_one = Perceptron(64, 10, dtype=torch.float64)
    for _ in range(2):
        order = torch.randperm(len(X), generator=generator)
        one_by_one.fit(X[order], TARGET[order], epochs=1)
    assert torch.equal(drawn.weight, one_by_one.weight)


# The dual ---------------------------------------------------------------------------------------------------


def test_on_whole_numbers_the_dual_is_the_perceptron_exactly() -> None:
    primal, dual = _trained(X, 5), KernelPerceptron().fit(X, TARGET, epochs=5)
    assert torch.equal(dual.mistakes, primal.mistakes)
    assert torch.equal(dual.weight.T @ dual.samples, primal.weight)
    assert torch.equal(dual.weight.sum(0), primal.get_parameter("bias"))
    assert torch.equal(dual.decision(X), primal.decision(X))


def test_on_whole_numbers_the_averaged_dual_is_the_averaged_perceptron() -> None:
    dual = KernelPerceptron().fit(X, TARGET, epochs=3, averaged=True)
    assert_close(dual.weight.T @ dual.samples, _trained(X, 3, averaged=True).weight, atol=1e-11)


KERNELS = [PolynomialKernel(), PolynomialKernel(4, 1.0, 0.01), RadialKernel("gaussian", 0.05)]


@pytest.mark.parametrize("kernel", KERNELS, ids=repr)
def test_the_dual_is_the_asynchronous_schedule_on_the_complete_graph(kernel: Kernel) -> None:
    number, order = 120, torch.randperm(120, generator=torch.Generator().manual_seed(1))
    x, target = X[:number], TARGET[:number]
    layer = KernelPerceptron(kernel)
    found = iterate(
        layer,
        topology.complete(number),
        torch.zeros_like(target),
        schedule=Schedule.asynchronous(order),
        until=0,
        t=target,
        x=x,
    )
    quick = KernelPerceptron(kernel).fit(x[order], target[order], epochs=found.sweeps)
    assert found.converged and found.sweeps > 2
    assert torch.equal(found.state.sum(0), quick.mistakes.sum(0).double())
    alpha = found.state[order]
    assert torch.equal((alpha * target[order])[(alpha > 0).any(1)], quick.weight)
    assert not quick.mistakes[-1].any()  # the sweep that changes nothing is an epoch without mistakes
    assert torch.equal(quick(x), target)


def test_a_kernel_of_pairs_is_that_of_the_matrix() -> None:
    x, y = CENTRED[:30], CENTRED[30:60]
    for kernel in [*KERNELS, *(RadialKernel(name, 0.3) for name in ("multiquadric", "thin_plate_spline"))]:
        matrix = kernel.matrix(x, y)
        assert_close(kernel(x, y), matrix.diagonal(), atol=1e-10)
    expected = (0.5 * x @ y.T + 2) ** 5
    assert_close(PolynomialKernel(5, 2.0, 0.5).matrix(x, y) / expected, torch.ones_like(expected), atol=1e-12)


# The law ----------------------------------------------------------------------------------------------------


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**31 - 1), st.integers(1, 6), st.integers(2, 60), st.floats(0.02, 1.0))
def test_mistakes_are_at_most_the_radius_over_the_margin_squared(
    seed: int, features: int, number: int, margin: float
) -> None:
    generator = torch.Generator().manual_seed(seed)
    plane = torch.randn(features, generator=generator, dtype=torch.float64)
    plane /= plane.norm()
    x = torch.randn(number, features, generator=generator, dtype=torch.float64)
    side = torch.where(x @ plane > 0, 1.0, -1.0).double()
    x += margin * side[:, None] * plane  # every sample is now at least `margin` off the plane
    neuron = Perceptron(features, 1, bias=False, dtype=torch.float64)
    radius, gap = x.norm(dim=1).max(), (side * (x @ plane)).min()
    bound = int((radius / gap) ** 2)
    neuron.fit(x, side[:, None], epochs=bound + 1)
    made = int(neuron.mistakes.sum())
    assert 1 <= made <= bound
    assert not neuron.mistakes[-1].any()
    assert torch.equal(neuron(x)[:, 0], side)


def test_a_kernel_perceptron_keeps_no_matrix_of_all_pairs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kernel_perceptron, "BLOCK", 50)
    monkeypatch.setattr(kernel_perceptron, "ROWS", 200)
    sizes: list[int] = []

    class Watched(PolynomialKernel):
        def matrix(self, x: Tensor, y: Tensor) -> Tensor:
            sizes.append(len(x) * len(y))
            return super().matrix(x, y)

    small = KernelPerceptron(Watched()).fit(X, TARGET, epochs=2)
    assert max(sizes) <= 50 * 200
    monkeypatch.undo()
    assert torch.equal(small.weight, KernelPerceptron().fit(X, TARGET, epochs=2).weight)


def test_a_kernel_perceptron_is_saved_with_the_samples_that_it_is_made_of() -> None:
    trained, other = (
        KernelPerceptron().double().fit(X[:200], TARGET[:200], epochs=2),
        KernelPerceptron().double(),
    )
    other.load_state_dict(trained.state_dict())
    assert torch.equal(other.decision(X), trained.decision(X))


def test_a_perceptron_is_saved_with_its_weights() -> None:
    trained, other = _trained(X, 1), Perceptron(64, 10, dtype=torch.float64)
    other.load_state_dict(trained.state_dict())
    assert torch.equal(other(X), trained(X))


# Mistakes ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("layer", [Perceptron(64, 10), KernelPerceptron()], ids=["primal", "dual"])
@pytest.mark.parametrize(
    ("x", "target", "options", "words"),
    [
        (X[0], TARGET, {}, "x must be \\[num_samples, .*got shape \\[64\\]"),
        (X[:0], TARGET[:0], {}, r"x must be \[num_samples, .*got shape \[0, 64\]"),
        (X, TARGET[:5], {}, r"target must be \[1797, .*got shape \[5, 10\]"),
        (X, (TARGET + 1) / 2, {}, r"target\[0, 1\] is 0.0, but must be 1 or -1"),
        (X / 0, TARGET, {}, r"x\[0, 0\] is nan, but must be a finite number"),
        (X, TARGET, {"epochs": 0}, "epochs must be at least 1, got 0"),
    ],
)
def test_what_cannot_be_learned_is_one_sentence(
    layer: Perceptron | KernelPerceptron, x: Tensor, target: Tensor, options: dict[str, int], words: str
) -> None:
    with pytest.raises(ValueError, match=words):
        layer.fit(x, target, **options)  # type: ignore[arg-type]


def test_a_number_of_a_kernel_that_cannot_be_is_one_sentence() -> None:
    for build, words in (
        (lambda: PolynomialKernel(0), "degree must be at least 1, got 0"),
        (lambda: PolynomialKernel(2, scale=0.0), "scale must be above 0, got 0.0"),
        (lambda: RadialKernel("cubic"), "kernel is 'cubic', but must be one of gaussian, "),
        (lambda: RadialKernel("gaussian", -1.0), "epsilon must be a finite number of at least 0, got -1.0"),
        (lambda: Perceptron(64, 10).fit(X, TARGET, lr=-1.0), "lr must be a finite number of at least 0"),
        (lambda: Perceptron(64, 10).fit(X, TARGET, lr=0.0), "lr must be above 0, got 0.0"),
        (lambda: Perceptron(3, 10).fit(X, TARGET), r"x must be \[num_samples, 3\]"),
        (lambda: Perceptron(64, 3).fit(X, TARGET), r"target must be \[1797, 3\]"),
    ):
        with pytest.raises(ValueError, match=words):
            build()
    with pytest.raises(ValueError, match=r"K of the samples is beyond torch\.float32: scale x"):
        KernelPerceptron(PolynomialKernel(12)).fit(X.float(), TARGET)
    with pytest.raises(TypeError, match="kernel must be a Kernel, got str"):
        KernelPerceptron("poly")  # type: ignore[arg-type]
