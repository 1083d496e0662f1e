"""GoogLeNet and FCN: their shapes, their auxiliary classifiers, and what they do not take."""

from __future__ import annotations

import re
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import mpnn
from mpnn import models
from mpnn.models.vision.googlenet import GoogLeNetOutputs, Inception
from tests.compare import assert_close, assert_same
from tests.peers.vision import draw


def test_an_inception_module_is_its_four_branches_side_by_side() -> None:
    ours = Inception(4, 2, 3, 5, 2, 3, 2).double().eval()
    draw(ours)
    state = ours.state_dict()

    def branch(name: str, x: Tensor) -> Tensor:
        weight = state[f"{name}.conv.weight"]
        x = F.conv2d(x, weight, padding=weight.size(-1) // 2)
        mean, var, scale, shift = (
            state[f"{name}.bn.{part}"][:, None, None]
            for part in ("running_mean", "running_var", "weight", "bias")
        )
        return ((x - mean) / (var + 0.001).sqrt() * scale + shift).relu()

    def equation(x: Tensor) -> Tensor:
        branches = [
            branch("branch1", x),
            branch("branch2.1", branch("branch2.0", x)),
            branch("branch3.1", branch("branch3.0", x)),
            branch("branch4.1", F.max_pool2d(x, 3, 1, 1)),
        ]
        return torch.cat(branches, 1)

    images = torch.randn(2, 4, 6, 7, dtype=torch.float64)
    for backend in ("auto", "eager"):
        with mpnn.backend(backend):
            assert_close(ours(images), equation(images))


def test_in_training_googlenet_answers_three_times() -> None:
    network = models.googlenet(num_classes=4, init_weights=False)
    images = torch.randn(2, 3, 32, 32)
    out = network(images)
    assert isinstance(out, GoogLeNetOutputs)
    assert [tuple(logits.shape) for logits in out if logits is not None] == [(2, 4)] * 3
    assert network.eval()(images).shape == (2, 4)
    without = models.googlenet(num_classes=4, aux_logits=False, init_weights=False)
    assert without(images).shape == (2, 4)


def test_googlenet_takes_standardised_images_for_published_weights() -> None:
    ours, plain = (
        models.GoogLeNet(4, False, flag, init_weights=False).double().eval() for flag in (True, False)
    )
    ours.load_state_dict(plain.state_dict())
    images = torch.rand(2, 3, 32, 32, dtype=torch.float64)
    mean, deviation = torch.tensor([[0.485, 0.456, 0.406], [0.229, 0.224, 0.225]]).double()[..., None, None]
    assert_close(ours((images - mean) / deviation), plain((images - 0.5) / 0.5))


@pytest.mark.parametrize("backend", ["auto", "eager"])
def test_fcn_enlarges_the_logits_of_a_map_to_the_image(backend: str) -> None:
    network = models.FCN(Maps(), nn.Conv2d(2, 3, 1)).double()
    images = torch.randn(2, 2, 16, 20, dtype=torch.float64)

    def equation(images: Tensor) -> dict[str, Tensor]:
        logits = network.classifier(F.avg_pool2d(images, 4))
        return {"out": _bilinear(logits, 4)}

    with mpnn.backend(backend):
        assert_same(lambda x: network(x), equation, [images])


class Maps(nn.Module):
    """A backbone: means of 4 × 4 pixels."""

    def forward(self, images: Tensor) -> dict[str, Tensor]:
        return {"out": F.avg_pool2d(images, 4)}


def _bilinear(x: Tensor, times: int) -> Tensor:
    """Each row, then each column, from the two nearest pixels of the map, whose border goes on."""
    for axis in (2, 3):
        place = (torch.arange(times * x.size(axis)) + 0.5) / times - 0.5
        low, share = place.floor().long(), (place - place.floor()).to(x)
        near, far = (x.index_select(axis, (low + k).clamp(0, x.size(axis) - 1)) for k in (0, 1))
        share = share.view(-1, 1) if axis == 2 else share
        x = near * (1 - share) + far * share
    return x


@pytest.mark.parametrize("aux", [False, True])
def test_fcn_says_classes_of_every_pixel(aux: bool) -> None:
    out = models.fcn_resnet50(num_classes=4, aux_loss=aux).eval()(torch.randn(1, 3, 33, 49))
    assert {name: tuple(x.shape) for name, x in out.items()} == dict.fromkeys(
        ("out", "aux") if aux else ("out",), (1, 4, 33, 49)
    )


def test_fcn_reads_maps_of_an_eighth_of_the_image() -> None:
    network = models.fcn_resnet50(num_classes=4, aux_loss=True).eval()
    maps = network.backbone(torch.randn(1, 3, 64, 80))
    assert {name: tuple(x.shape) for name, x in maps.items()} == {
        "out": (1, 2048, 8, 10),
        "aux": (1, 1024, 8, 10),
    }


@pytest.mark.parametrize(
    ("build", "said"),
    [
        (
            lambda: models.googlenet(init_weights=False)(torch.randn(2, 3, 14, 32)),
            "GoogLeNet needs [batch, 3, height, width], at least 15 pixels in height and width, got shape "
            "[2, 3, 14, 32].",
        ),
        (
            lambda: models.googlenet(init_weights=False)(torch.randn(2, 1, 32, 32)),
            "GoogLeNet needs [batch, 3, height, width]",
        ),
        (lambda: models.fcn_resnet50(num_classes=0), "num_classes must be at least 1, got 0."),
    ],
)
def test_what_cannot_be_is_one_sentence(build: Any, said: str) -> None:
    with pytest.raises(ValueError, match=re.escape(said)):
        build()
