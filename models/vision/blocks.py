"""Residual blocks (He et al., 2016): convolutions that learn what to add to their input."""

from __future__ import annotations

from collections.abc import Callable
from typing import ClassVar, cast

import torch
from torch import Tensor, nn

from mpnn.models.dense.convolution import Conv2d
from mpnn.models.dense.normalization import BatchNorm2d
from mpnn.models.dense.pooling_grid import AvgPool2d
from mpnn.models.parts.checks import at_least, ranges
from mpnn.models.vision.places import IMAGES, Places

NormLayer = Callable[[int], nn.Module]
BLOCK = dict.fromkeys(("inplanes", "planes", "stride", "groups", "base_width", "dilation"), at_least(1))


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
