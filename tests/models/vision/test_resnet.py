"""A ResNet is what its weights say, on images, by messages, and in every option."""

from __future__ import annotations

import copy
import pickle
import re
from functools import partial
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import mpnn
from mpnn import models
from mpnn.models.vision.blocks import PaddedBlock
from tests.compare import assert_close, assert_same
from tests.models.vision.plain import Plain
from tests.peers.vision import draw

SMALL: dict[str, Any] = {
    "basic": partial(models.ResNet, models.BasicBlock, [1, 2], 3, in_channels=2, width=4),
    "bottleneck": partial(models.ResNet, models.Bottleneck, [2, 1], 3, in_channels=2, width=4),
    "padded": partial(models.ResNet, PaddedBlock, [1, 2], 3, in_channels=2, width=4),
}


def drawn(build: Any, training: bool = False) -> models.ResNet:
    """A network in float64 whose statistics are drawn."""
    network: models.ResNet = build()
    draw(network)
    return network.double().train(training)


@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize("small", [False, True])
@pytest.mark.parametrize("name", SMALL)
def test_it_is_its_equation_in_outputs_and_gradients(name: str, small: bool, training: bool) -> None:
    network = drawn(partial(SMALL[name], small=small), training)
    images = torch.randn(3, 2, 13, 16, dtype=torch.float64)

    class Equation(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.network = drawn(partial(SMALL[name], small=small), training)
            self.network.load_state_dict(network.state_dict())

        def named_parameters(self, *args: Any, **options: Any) -> Any:
            return self.network.named_parameters(*args, **options)

        def forward(self, images: Tensor) -> Tensor:
            state = dict(self.network.named_parameters()) | dict(self.network.named_buffers())
            everywhere = torch.ones(3, 13, 16, dtype=torch.bool)
            return Plain(state, everywhere, training=training)(images)

    assert_same(network, Equation(), [images])


@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize("name", SMALL)
def test_messages_edge_by_edge_make_the_same(name: str, training: bool) -> None:
    images = torch.randn(2, 2, 9, 12, dtype=torch.float64)
    ours, theirs = drawn(SMALL[name], training), drawn(SMALL[name], training)
    ours.load_state_dict(theirs.state_dict())

    class EdgeByEdge(nn.Module):
        def named_parameters(self, *args: Any, **options: Any) -> Any:
            return ours.named_parameters(*args, **options)

        def forward(self, images: Tensor) -> Tensor:
            with mpnn.backend("eager"):
                return ours(images)

    assert_same(EdgeByEdge(), theirs, [images])
    for entry, value in theirs.named_buffers():
        assert_close(ours.get_buffer(entry), value, name=entry)


def test_dilation_in_place_of_a_stride_keeps_pixels() -> None:
    network = models.ResNet(models.Bottleneck, [1, 1, 2], width=4, replace_stride_with_dilation=[False, True])
    maps = torch.randn(1, 3, 64, 64)
    x, _ = network.stem(maps)
    sizes = [(x := network.get_submodule(name)(x)).shape[2:] for name in network.stages]
    assert sizes == [(16, 16), (8, 8), (8, 8)]
    convs = [block.get_submodule("conv2") for block in network.get_submodule("layer3").children()]
    described = [(conv.stride, conv.dilation) for conv in convs if isinstance(conv, nn.Conv2d)]
    assert described == [((1, 1), (1, 1)), ((1, 1), (2, 2))]


def test_the_last_normalisation_of_a_block_may_begin_at_zero() -> None:
    network = models.ResNet(models.BasicBlock, [2], width=4, zero_init_residual=True).eval()
    x = torch.randn(2, 4, 6, 6).relu()
    assert_close(network.get_submodule("layer1")(x), x)


def test_hooks_of_a_stage_see_its_output() -> None:
    network, seen = models.ResNet(models.BasicBlock, [1, 1], width=4).eval(), []
    network.get_submodule("layer2").register_forward_hook(lambda module, args, out: seen.append(out.shape))
    network(torch.randn(1, 3, 32, 32))
    assert seen == [(1, 8, 4, 4)]


@pytest.mark.parametrize("model", ["resnet18", "resnet20", "resnet34", "resnet50"])
@pytest.mark.parametrize(("channels", "size"), [(1, (28, 28)), (3, (64, 80))])
def test_a_network_for_images_of_a_size_has_more_than_one_pixel_at_its_end(
    model: str, channels: int, size: tuple[int, int]
) -> None:
    network = models.resnet_for(model, channels, size, 10).eval()
    ends: list[Any] = []
    network.avgpool.register_forward_hook(lambda module, args, out: ends.append(args[0].shape))
    with torch.no_grad():
        assert network(torch.randn(2, channels, *size)).shape == (2, 10)
    assert min(ends[0][2:]) > 1


@pytest.mark.parametrize(
    ("build", "said"),
    [
        (lambda: models.ResNet(models.BasicBlock, []), "layers is [], but needs numbers of blocks"),
        (lambda: models.ResNet(models.BasicBlock, [1, 0]), "layers is [1, 0], but needs numbers of blocks"),
        (
            lambda: models.ResNet(models.BasicBlock, [1, 1], replace_stride_with_dilation=[True, True]),
            "replace_stride_with_dilation is [True, True], but needs an entry for each stage but the first",
        ),
        (lambda: models.resnet18(groups=2), "groups is 2, base_width (of a ResNet width_per_group) 64"),
        (
            lambda: models.Bottleneck(64, 1, base_width=8),
            "base_width (of a ResNet width_per_group) is 8, but",
        ),
        (
            lambda: models.BasicBlock(4, 4, 2),
            "inplanes is 4, planes 4 and stride 2, but a block without downsample returns what it gets",
        ),
        (
            lambda: models.resnet18(weights="DEFAULT"),
            "weights is 'DEFAULT', but must be None: load_state_dict takes",
        ),
        (lambda: models.googlenet(weights="DEFAULT"), "weights is 'DEFAULT', but must be None"),
        (lambda: models.fcn_resnet50(weights_backbone=1), "weights_backbone is 1, but must be None"),
        (lambda: models.resnet_for("resnet19", 1, (28, 28), 10), "model is 'resnet19', but must be one of"),
        (
            lambda: models.resnet20()(torch.randn(2, 1, 28, 28)),
            "ResNet needs [batch, 3, height, width], got [2, 1, 28, 28].",
        ),
    ],
)
def test_what_cannot_be_is_one_sentence(build: Any, said: str) -> None:
    with pytest.raises(ValueError, match=re.escape(said)):
        build()


@pytest.mark.usefixtures("fresh_compiler")
def test_it_is_compiled_exported_copied_and_pickled() -> None:
    network, images = drawn(SMALL["bottleneck"]), torch.randn(2, 2, 16, 16, dtype=torch.float64)
    out = network(images)
    assert_close(torch.compile(network, backend="eager", fullgraph=True)(images), out)
    assert_close(torch.export.export(network, (images,)).module()(images), out)
    assert_close(copy.deepcopy(network)(images), out)
    assert_close(pickle.loads(pickle.dumps(network))(images), out)
