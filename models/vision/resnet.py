"""Residual networks (He et al., 2016): stages of blocks that learn what to add to their input."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast

from torch import Tensor, nn

from mpnn.models.dense.convolution import Conv2d
from mpnn.models.dense.neurons import Linear
from mpnn.models.dense.normalization import BatchNorm2d
from mpnn.models.dense.pooling_grid import AdaptiveAvgPool2d, MaxPool2d
from mpnn.models.parts.checks import at_least, ranges
from mpnn.models.vision.blocks import BasicBlock, Bottleneck, NormLayer, PaddedBlock, Stage
from mpnn.models.vision.downloads import no_download
from mpnn.models.vision.places import IMAGES, Places

SMALL = 64  # pixels: below this the first layers of ImageNet's networks would leave too few of them


@ranges(
    num_classes=at_least(1),
    groups=at_least(1),
    width_per_group=at_least(1),
    in_channels=at_least(1),
    width=at_least(1),
)
class ResNet(nn.Module):
    """A convolution, stages of residual blocks, the mean over all pixels, and a linear map to the classes.

    Each stage has half the pixels in height and width, and twice the channels, of the one before. This is
    torchvision's class, with its arguments and its state_dict; weights are drawn as there.

    Args:
        block: the class of its blocks.
        layers: how many blocks each stage has; torchvision's networks have four stages.
        num_classes: the number of logits.
        zero_init_residual: begin with blocks that are the identity (Goyal et al., 2017).
        groups: groups of the convolutions of 3 × 3 (ResNeXt).
        width_per_group: channels of a group in the first stage, times 64 / groups (Wide ResNet).
        replace_stride_with_dilation: for each stage but the first, whether its convolutions are dilated in
            place of a stride, so that pixels stay.
        norm_layer: makes a normalisation of that number of channels.
        in_channels: channels of an image.
        width: channels of the first convolution and the first stage.
        small: for small images a first convolution of 3 × 3 without a stride, and no max pooling.

    Shapes: `[batch, in_channels, height, width]` -> `[batch, num_classes]`; `on` other nodes
    `[num_nodes, in_channels]` -> `[num_images, num_classes]`, see `Pixels`, `Hexagons` and `Points`.

    >>> ResNet(BasicBlock, [1, 1], num_classes=10, width=8)(torch.randn(2, 3, 32, 32)).shape
    torch.Size([2, 10])
    """

    def __init__(
        self,
        block: type[BasicBlock] | type[Bottleneck],
        layers: Sequence[int],
        num_classes: int = 1000,
        zero_init_residual: bool = False,
        groups: int = 1,
        width_per_group: int = 64,
        replace_stride_with_dilation: Sequence[bool] | None = None,
        norm_layer: NormLayer | None = None,
        *,
        in_channels: int = 3,
        width: int = 64,
        small: bool = False,
    ) -> None:
        super().__init__()
        if not layers or any(number < 1 for number in layers):
            raise ValueError(f"layers is {list(layers)}, but needs numbers of blocks, at least 1 in a stage.")
        dilate = [False] * (len(layers) - 1)
        if replace_stride_with_dilation is not None:
            dilate = list(replace_stride_with_dilation)
        if len(dilate) != len(layers) - 1:
            raise ValueError(
                f"replace_stride_with_dilation is {dilate}, but needs an entry for each stage but the first, "
                f"{len(layers) - 1}."
            )
        norm = norm_layer or BatchNorm2d
        kernel_size, stride = (3, 1) if small else (7, 2)
        self.conv1 = Conv2d(in_channels, width, kernel_size, stride, kernel_size // 2, bias=False)
        self.bn1 = norm(width)
        self.relu = nn.ReLU(inplace=True)
        self.maxpool = nn.Identity() if small else MaxPool2d(3, 2, 1)
        self.stages = [f"layer{k}" for k in range(1, len(layers) + 1)]
        shape: dict[str, Any] = {"groups": groups, "base_width": width_per_group, "norm_layer": norm}
        channels, dilation, strides = width, 1, [1] + [2] * len(dilate)
        for k, (name, number) in enumerate(zip(self.stages, layers, strict=True)):
            planes, stride, before = width * 2**k, strides[k], dilation
            if k > 0 and dilate[k - 1]:
                stride, dilation = 1, stride * dilation
            out = planes * block.expansion
            keeps = stride == 1 and channels == out
            shortcut = None if keeps else block.shortcut(channels, out, stride, norm)
            # The first block has the stride of the stage, and still the dilation of the stage before.
            first = block(channels, planes, stride, shortcut, dilation=before, **shape)
            more = (block(out, planes, dilation=dilation, **shape) for _ in range(number - 1))
            setattr(self, name, Stage(first, *more))
            channels = out
        self.avgpool = AdaptiveAvgPool2d((1, 1))
        self.fc = Linear(channels, num_classes)
        self._draw(zero_init_residual)

    def _draw(self, zero_init_residual: bool) -> None:
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
        for module in self.modules() if zero_init_residual else ():
            last = getattr(module, "bn3", None) or getattr(module, "bn2", None)
            if isinstance(last, nn.BatchNorm2d) and last.weight is not None:
                nn.init.zeros_(last.weight)

    def stem(self, x: Tensor, on: Places = IMAGES) -> tuple[Tensor, Places]:
        """What the first stage reads, and where its nodes are."""
        channels = self.conv1.in_channels
        if x.dim() != (4 if on is IMAGES else 2) or x.size(1) != channels:
            shape = f"batch, {channels}, height, width" if on is IMAGES else f"num_nodes, {channels}"
            raise ValueError(f"{type(self).__name__} needs [{shape}], got {list(x.shape)}.")
        x, on = self.relu(self.bn1(on(self.conv1, x))), on.after(self.conv1)
        return on(self.maxpool, x), on.after(self.maxpool)

    def embed(self, x: Tensor, on: Places = IMAGES) -> Tensor:
        """The mean of the last stage, `[batch, channels]`."""
        x, on = self.stem(x, on)
        for name in self.stages:
            stage = getattr(self, name)
            x, on = stage(x, on), on.after(stage)
        return on(self.avgpool, x).flatten(1)

    def forward(self, x: Tensor, on: Places = IMAGES) -> Tensor:
        return cast(Tensor, self.fc(self.embed(x, on)))


NETWORKS: dict[str, tuple[type[BasicBlock] | type[Bottleneck], list[int], int]] = {
    "resnet18": (BasicBlock, [2, 2, 2, 2], 64),
    "resnet20": (PaddedBlock, [3, 3, 3], 16),
    "resnet34": (BasicBlock, [3, 4, 6, 3], 64),
    "resnet50": (Bottleneck, [3, 4, 6, 3], 64),
}


def _called(name: str, **options: Any) -> ResNet:
    block, layers, width = NETWORKS[name]
    return ResNet(block, layers, **({"width": width} | options))


def resnet18(*, weights: object = None, **options: Any) -> ResNet:
    """ResNet-18: 11.7 million parameters. `options` are those of `ResNet`.

    >>> sum(parameter.numel() for parameter in resnet18().parameters())
    11689512
    """
    no_download(weights=weights)
    return _called("resnet18", **options)


def resnet34(*, weights: object = None, **options: Any) -> ResNet:
    """ResNet-34: 21.8 million parameters. `options` are those of `ResNet`."""
    no_download(weights=weights)
    return _called("resnet34", **options)


def resnet50(*, weights: object = None, **options: Any) -> ResNet:
    """ResNet-50: 25.6 million parameters, with the stride in the convolutions of 3 × 3 (version 1.5).

    `options` are those of `ResNet`.
    """
    no_download(weights=weights)
    return _called("resnet50", **options)


def resnet20(**options: Any) -> ResNet:
    """ResNet-20 for images of 32 × 32 pixels and ten classes: 0.27 million parameters.

    As in section 4.2 of the paper: three stages of 16, 32 and 64 channels, no max pooling, and shortcuts
    without weights. `options` are those of `ResNet`.

    >>> sum(parameter.numel() for parameter in resnet20().parameters())
    269722
    """
    return _called("resnet20", **({"num_classes": 10, "small": True} | options))


def resnet_for(model: str, num_channels: int, size: tuple[int, int], num_classes: int) -> ResNet:
    """A residual network for images of one size.

    Below 64 pixels in height or width the first convolution is 3 × 3 without a stride, and there is no max
    pooling, as in the paper's networks for CIFAR (section 4.2): those for ImageNet make a thirty-second of
    each side, which of 28 pixels is none.

    Args:
        model: "resnet18", "resnet20", "resnet34" or "resnet50".
        num_channels: channels of an image, 1 where it is grey.
        size: its height and width.
        num_classes: the number of logits.

    Raises:
        ValueError: an unknown model.

    >>> resnet_for("resnet20", 1, (28, 28), 10)(torch.randn(2, 1, 28, 28)).shape
    torch.Size([2, 10])
    """
    if model not in NETWORKS:
        raise ValueError(f"model is {model!r}, but must be one of {', '.join(NETWORKS)}.")
    return _called(model, num_classes=num_classes, in_channels=num_channels, small=min(size) < SMALL)
