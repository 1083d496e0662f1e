"""Batch normalisation of images and of nodes is torch.nn's, on its kernel and by messages."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from torch import nn

import mpnn
from mpnn import models
from tests.compare import assert_close, assert_same

OPTIONS: dict[str, dict[str, Any]] = {
    "usual": {},
    "another epsilon and momentum": {"eps": 1e-3, "momentum": 0.3},
    "the mean of all batches": {"momentum": None},
    "without weights": {"affine": False},
    "without running statistics": {"track_running_stats": False},
}


def pair(options: dict[str, Any], training: bool) -> tuple[nn.Module, nn.Module]:
    theirs = nn.BatchNorm2d(3, **options).double().train(training)
    for value in (*theirs.parameters(), theirs.running_mean, theirs.running_var):
        if value is not None:
            nn.init.uniform_(value, 0.5, 1.5)
    ours = models.BatchNorm2d(3, **options).double().train(training)
    ours.load_state_dict(theirs.state_dict())
    return ours, theirs


@pytest.mark.parametrize("backend", ["auto", "eager"])
@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize("options", OPTIONS.values(), ids=list(OPTIONS))
def test_it_is_torchs_in_outputs_gradients_and_running_statistics(
    options: dict[str, Any], training: bool, backend: str
) -> None:
    ours, theirs = pair(options, training)
    images = 3 + torch.randn(4, 3, 5, 6, dtype=torch.float64)
    for _ in range(2):  # the running statistics of the first call are read by the second
        with mpnn.backend(backend):
            assert_same(ours, theirs, [images])
    for name, value in theirs.named_buffers():
        assert_close(ours.get_buffer(name), value, name=name)


@pytest.mark.parametrize("backend", ["auto", "eager"])
@pytest.mark.parametrize("training", [False, True])
def test_nodes_are_normalised_as_the_pixels_of_images_are(training: bool, backend: str) -> None:
    ours, theirs = pair({}, training)
    images = torch.randn(4, 3, 5, 6, dtype=torch.float64)

    nodes = images.movedim(1, -1).reshape(-1, 3)
    with mpnn.backend(backend):
        assert_close(ours(nodes), theirs(images).movedim(1, -1).reshape(-1, 3))
    assert_close(ours.get_buffer("running_var"), theirs.get_buffer("running_var"))


def test_a_large_mean_costs_no_digits_by_messages() -> None:
    ours, theirs = pair({}, True)
    images = 1e4 + torch.randn(4, 3, 5, 6)
    with mpnn.backend("eager"):
        assert_close(ours.float()(images), theirs.float()(images), atol=1e-3)


@pytest.mark.parametrize("backend", ["auto", "eager"])
def test_one_pixel_has_no_variance_to_train_on(backend: str) -> None:
    layer = models.BatchNorm2d(3)
    before = copy.deepcopy(layer.state_dict())
    with (
        mpnn.backend(backend),
        pytest.raises(ValueError, match="got 1 pixel, but a variance needs at least 2"),
    ):
        layer(torch.randn(1, 3))
    assert all(torch.equal(value, before[name]) for name, value in layer.state_dict().items())


@pytest.mark.parametrize("shape", [(3,), (2, 4), (2, 4, 5, 5), (2, 3, 5)])
def test_another_shape_is_one_sentence(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match=r"needs \[batch, 3, height, width\] or nodes \[num_nodes, 3\], got"):
        models.BatchNorm2d(3)(torch.randn(shape))
