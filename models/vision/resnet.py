"""Residual networks (He et al., 2016): blocks that learn what to add to their input."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, ClassVar, cast

import torch
from torch import Tensor, nn

from mpnn.models.dense.convolution import Conv2d
from mpnn.models.dense.neurons import Linear
from mpnn.models.dense.normalization import BatchNorm2d
from mpnn.models.dense.pooling_grid import AdaptiveAvgPool2d, AvgPool2d, MaxPool2d
from mpnn.models.parts.checks import at_least, ranges
from mpnn.models.vision.places import IMAGES, Places

NormLayer = Callable[[int], nn.Module]
BLOCK = dict.fromkeys(("inplanes", "planes", "stride", "groups", "base_width", "dilation"), at_least(1))
SMALL = 64  # pixels: below this the first layers of ImageNet's networks would leave too few of them


def _conv3x3(inplanes: int, planes: int, stride: int = 1, groups: int = 1, dilation: int = 1) -> Conv2d:
    return Conv2d(inplanes, planes, 3, stride, dilation, dilation, groups, bias=False)


def _conv1x1(inplanes: int, planes: int, stride: int = 1) -> Conv2d:
    return Conv2d(inplanes, planes, 1, stride, bias=False)


class Projection(nn.Sequential):
    """W x: the shortcut of a block whose output is smaller, or has more channels (option B)."""

    def __init__(self, inplanes: int, planes: int, stride: int, norm_layer: NormLayer) -> None:
        super().__init__(_conv1x1(inplanes, planes, stride), norm_layer(planes))

    def forward(self, x: Tensor, on: Places = IMAGES) -> Tensor:
        conv, norm = self
        return cast(Tensor, norm(on(conv, x)))


class Padding(nn.Module):
    """x at every stride-th pixel, with channels of zeros behind it: a shortcut with no weights (option A)."""

    def __init__(self, inplanes: int, planes: int, stride: int, norm_layer: NormLayer) -> None:
        super().__init__()
        self.more, self.pick = planes - inplanes, AvgPool2d(1, stride)

    def forward(self, x: Tensor, on: Places = IMAGES) -> Tensor:
        x = on(self.pick, x)
        return torch.cat([x, x.new_zeros(x.size(0), self.more, *x.shape[2:])], 1)


def _check_shortcut(
    inplanes: int, planes: int, expansion: int, stride: int, downsample: nn.Module | None
) -> None:
    if downsample is None and (stride != 1 or inplanes != planes * expansion):
        raise ValueError(
            f"inplanes is {inplanes}, planes {planes} and stride {stride}, but a block without downsample "
            f"returns what it gets: inplanes = {expansion} · planes, and stride 1."
        )


@ranges(**BLOCK)
class BasicBlock(nn.Module):
    """y = relu(x + norm(W_2 * relu(norm(W_1 * x)))), two convolutions of 3 × 3."""

    expansion: ClassVar[int] = 1
    shortcut: ClassVar[Callable[..., nn.Module]] = Projection

    def __init__(
        self,
        inplanes: int,
        planes: int,
        stride: int = 1,
        downsample: nn.Module | None = None,
        groups: int = 1,
        base_width: int = 64,
        dilation: int = 1,
        norm_layer: NormLayer | None = None,
    ) -> None:
        super().__init__()
        norm = norm_layer or BatchNorm2d
        if (groups, base_width, dilation) != (1, 64, 1):
            raise ValueError(
                f"groups is {groups}, base_width (of a ResNet width_per_group) {base_width} and dilation "
                f"{dilation}, but in a BasicBlock they are 1, 64 and 1: take Bottleneck."
            )
        _check_shortcut(inplanes, planes, self.expansion, stride, downsample)
        self.conv1 = _conv3x3(inplanes, planes, stride)
        self.bn1 = norm(planes)
        self.relu = nn.ReLU(inplace=True)
        self.conv2 = _conv3x3(planes, planes)
        self.bn2 = norm(planes)
        self.downsample = downsample
        self.stride = stride

    def forward(self, x: Tensor, on: Places = IMAGES) -> Tensor:
        out = self.relu(self.bn1(on(self.conv1, x)))
        out = self.bn2(on.after(self.conv1)(self.conv2, out))
        out += x if self.downsample is None else self.downsample(x, on)
        return cast(Tensor, self.relu(out))


class PaddedBlock(BasicBlock):
    """The same with `Padding` for a shortcut, as in the paper's networks for small images (section 4.2)."""

    shortcut = Padding


@ranges(**BLOCK)
class Bottleneck(nn.Module):
    """y = relu(x + F(x)): a convolution of 3 × 3 between two of 1 × 1, the last with four times the channels.

    The stride is in the convolution of 3 × 3, as in torchvision (version 1.5), not in the one before.
    """

    expansion: ClassVar[int] = 4
    shortcut: ClassVar[Callable[..., nn.Module]] = Projection

    def __init__(
        self,
        inplanes: int,
        planes: int,
        stride: int = 1,
        downsample: nn.Module | None = None,
        groups: int = 1,
        base_width: int = 64,
        dilation: int = 1,
        norm_layer: NormLayer | None = None,
    ) -> None:
        super().__init__()
        norm = norm_layer or BatchNorm2d
        width = int(planes * (base_width / 64)) * groups
        if width < 1:
            raise ValueError(
                f"base_width (of a ResNet width_per_group) is {base_width}, but 1 / 64 of it, times planes, "
                f"{planes}, should be at least 1."
            )
        _check_shortcut(inplanes, planes, self.expansion, stride, downsample)
        self.conv1 = _conv1x1(inplanes, width)
        self.bn1 = norm(width)
        self.conv2 = _conv3x3(width, width, stride, groups, dilation)
        self.bn2 = norm(width)
        self.conv3 = _conv1x1(width, planes * self.expansion)
        self.bn3 = norm(planes * self.expansion)
        self.relu = nn.ReLU(inplace=True)
        self.downsample = downsample
        self.stride = stride

    def forward(self, x: Tensor, on: Places = IMAGES) -> Tensor:
        out = self.relu(self.bn1(on(self.conv1, x)))
        out = self.relu(self.bn2(on(self.conv2, out)))
        out = self.bn3(on.after(self.conv2)(self.conv3, out))
        out += x if self.downsample is None else self.downsample(x, on)
        return cast(Tensor, self.relu(out))


class Stage(nn.Sequential):
    """Blocks of one width, the first of which may have a stride."""

    @property
    def stride(self) -> int:
        """The stride of the first block."""
        return cast(int, self[0].stride)

    def forward(self, x: Tensor, on: Places = IMAGES) -> Tensor:
        for block in self:
            x, on = block(x, on), on.after(block)
        return x


@ranges(
    num_classes=at_least(1),
    groups=at_least(1),
    width_per_group=at_least(1),
    in_channels=at_least(1),
    width=at_least(1),
)
class ResNet(nn.Module):
    """A convolution, stages of residual blocks, the mean over all pixels, and a linear map to the classes.

    Each stage has half the pixels in height and width, and twice the channels, of the one before.

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
        norm_layer: makes a normalisation of so many channels.
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
        if x.dim() != (4 if on is IMAGES else 2) or x.size(1) != self.conv1.in_channels:
            shape = "batch, {}, height, width" if on is IMAGES else "num_nodes, {}"
            raise ValueError(
                f"{type(self).__name__} needs [{shape.format(self.conv1.in_channels)}], got {list(x.shape)}."
            )
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


def resnet18(**options: Any) -> ResNet:
    """ResNet-18: 11.7 million parameters. `options` are those of `ResNet`.

    >>> sum(parameter.numel() for parameter in resnet18().parameters())
    11689512
    """
    return _called("resnet18", **options)


def resnet34(**options: Any) -> ResNet:
    """ResNet-34: 21.8 million parameters. `options` are those of `ResNet`."""
    return _called("resnet34", **options)


def resnet50(**options: Any) -> ResNet:
    """ResNet-50: 25.6 million parameters, with the stride in the convolutions of 3 × 3 (version 1.5).

    `options` are those of `ResNet`.
    """
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
