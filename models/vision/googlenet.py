"""GoogLeNet (Szegedy et al., 2015): windows of several sizes side by side."""

from __future__ import annotations

from typing import Any, NamedTuple, cast

import torch
from torch import Tensor, nn

from mpnn.models.dense.convolution import Conv2d
from mpnn.models.dense.neurons import Linear
from mpnn.models.dense.normalization import BatchNorm2d
from mpnn.models.dense.pooling_grid import AdaptiveAvgPool2d, MaxPool2d
from mpnn.models.parts.checks import at_least, check_probability, ranges
from mpnn.models.vision.downloads import no_download

# ImageNet's mean and deviation, by which images are standardised, and those of the published weights.
STANDARDISED = ((0.485, 0.229), (0.456, 0.224), (0.406, 0.225))
PUBLISHED = 0.5
LEAST = 15  # pixels, of which the last max pooling still has one


class GoogLeNetOutputs(NamedTuple):
    """In training, the logits of the network and of its two auxiliary classifiers, the later one first."""

    logits: Tensor
    aux_logits2: Tensor | None
    aux_logits1: Tensor | None


class BasicConv2d(nn.Module):
    """relu(norm(W * x))."""

    def __init__(self, in_channels: int, out_channels: int, **options: Any) -> None:
        super().__init__()
        self.conv = Conv2d(in_channels, out_channels, bias=False, **options)
        self.bn = BatchNorm2d(out_channels, eps=0.001)

    def forward(self, x: Tensor) -> Tensor:
        return torch.relu_(self.bn(self.conv(x)))


class Inception(nn.Module):
    """Side by side: 1 × 1; 3 × 3 of fewer channels; the same again; and 1 × 1 of the maxima of 3 × 3.

    The third branch is 5 × 5 in the paper, and 3 × 3 in the weights that people have.
    """

    def __init__(
        self,
        in_channels: int,
        ch1x1: int,
        ch3x3red: int,
        ch3x3: int,
        ch5x5red: int,
        ch5x5: int,
        pool_proj: int,
    ) -> None:
        super().__init__()
        self.branch1 = BasicConv2d(in_channels, ch1x1, kernel_size=1)
        self.branch2 = nn.Sequential(
            BasicConv2d(in_channels, ch3x3red, kernel_size=1),
            BasicConv2d(ch3x3red, ch3x3, kernel_size=3, padding=1),
        )
        self.branch3 = nn.Sequential(
            BasicConv2d(in_channels, ch5x5red, kernel_size=1),
            BasicConv2d(ch5x5red, ch5x5, kernel_size=3, padding=1),
        )
        self.branch4 = nn.Sequential(
            MaxPool2d(3, stride=1, padding=1, ceil_mode=True),
            BasicConv2d(in_channels, pool_proj, kernel_size=1),
        )

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([self.branch1(x), self.branch2(x), self.branch3(x), self.branch4(x)], 1)


class InceptionAux(nn.Module):
    """Logits from the middle of the network, so that gradients reach its beginning."""

    def __init__(self, in_channels: int, num_classes: int, dropout: float = 0.7) -> None:
        super().__init__()
        self.pool = AdaptiveAvgPool2d((4, 4))
        self.conv = BasicConv2d(in_channels, 128, kernel_size=1)
        self.fc1 = Linear(2048, 1024)
        self.fc2 = Linear(1024, num_classes)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor) -> Tensor:
        x = self.conv(self.pool(x)).flatten(1)
        return cast(Tensor, self.fc2(self.dropout(torch.relu_(self.fc1(x)))))


@ranges(num_classes=at_least(1), dropout=check_probability, dropout_aux=check_probability)
class GoogLeNet(nn.Module):
    """GoogLeNet with batch normalisation: nine Inception modules after three convolutions.

    torchvision's class, with its arguments and its state_dict; weights are drawn as there.

    Args:
        num_classes: the number of logits.
        aux_logits: whether it has the two auxiliary classifiers, which answer in training.
        transform_input: whether images are standardised by ImageNet's mean and deviation, and are to be made
            those of the published weights.
        init_weights: draw the weights from a truncated normal distribution, else as the layers draw them.
        dropout: before the last layer.
        dropout_aux: the same in the auxiliary classifiers, whose loss the paper weighs by 0.3.

    Shapes: `[batch, 3, height, width]` -> `[batch, num_classes]`; in training, with auxiliary classifiers,
    three of these (`GoogLeNetOutputs`).

    >>> GoogLeNet(10).eval()(torch.randn(2, 3, 64, 64)).shape
    torch.Size([2, 10])
    """

    def __init__(
        self,
        num_classes: int = 1000,
        aux_logits: bool = True,
        transform_input: bool = False,
        init_weights: bool = True,
        *,
        dropout: float = 0.2,
        dropout_aux: float = 0.7,
    ) -> None:
        super().__init__()
        self.aux_logits, self.transform_input = aux_logits, transform_input
        self.conv1 = BasicConv2d(3, 64, kernel_size=7, stride=2, padding=3)
        self.maxpool1 = MaxPool2d(3, stride=2, ceil_mode=True)
        self.conv2 = BasicConv2d(64, 64, kernel_size=1)
        self.conv3 = BasicConv2d(64, 192, kernel_size=3, padding=1)
        self.maxpool2 = MaxPool2d(3, stride=2, ceil_mode=True)
        self.inception3a = Inception(192, 64, 96, 128, 16, 32, 32)
        self.inception3b = Inception(256, 128, 128, 192, 32, 96, 64)
        self.maxpool3 = MaxPool2d(3, stride=2, ceil_mode=True)
        self.inception4a = Inception(480, 192, 96, 208, 16, 48, 64)
        self.inception4b = Inception(512, 160, 112, 224, 24, 64, 64)
        self.inception4c = Inception(512, 128, 128, 256, 24, 64, 64)
        self.inception4d = Inception(512, 112, 144, 288, 32, 64, 64)
        self.inception4e = Inception(528, 256, 160, 320, 32, 128, 128)
        self.maxpool4 = MaxPool2d(2, stride=2, ceil_mode=True)
        self.inception5a = Inception(832, 256, 160, 320, 32, 128, 128)
        self.inception5b = Inception(832, 384, 192, 384, 48, 128, 128)
        self.aux1 = InceptionAux(512, num_classes, dropout_aux) if aux_logits else None
        self.aux2 = InceptionAux(528, num_classes, dropout_aux) if aux_logits else None
        self.avgpool = AdaptiveAvgPool2d((1, 1))
        self.dropout = nn.Dropout(dropout)
        self.fc = Linear(1024, num_classes)
        for module in self.modules() if init_weights else ():
            if isinstance(module, nn.Conv2d | nn.Linear):
                nn.init.trunc_normal_(module.weight, std=0.01)

    def forward(self, x: Tensor) -> Tensor | GoogLeNetOutputs:
        if x.dim() != 4 or x.size(1) != 3 or min(x.shape[2:]) < LEAST:
            raise ValueError(
                f"GoogLeNet needs [batch, 3, height, width], at least {LEAST} pixels in height and width, "
                f"got shape {list(x.shape)}."
            )
        if self.transform_input:
            x = _as_published(x)
        x = self.maxpool1(self.conv1(x))
        x = self.maxpool2(self.conv3(self.conv2(x)))
        x = self.maxpool3(self.inception3b(self.inception3a(x)))
        x = self.inception4a(x)
        first = self.aux1(x) if self.training and self.aux1 is not None else None
        x = self.inception4d(self.inception4c(self.inception4b(x)))
        second = self.aux2(x) if self.training and self.aux2 is not None else None
        x = self.maxpool4(self.inception4e(x))
        x = self.avgpool(self.inception5b(self.inception5a(x)))
        logits: Tensor = self.fc(self.dropout(x.flatten(1)))
        return GoogLeNetOutputs(logits, second, first) if self.training and self.aux_logits else logits


def _as_published(x: Tensor) -> Tensor:
    numbers = torch.tensor(STANDARDISED, dtype=x.dtype, device=x.device)
    mean, deviation = numbers[:, 0, None, None], numbers[:, 1, None, None]
    return x * (deviation / PUBLISHED) + (mean - PUBLISHED) / PUBLISHED


def googlenet(*, weights: object = None, **options: Any) -> GoogLeNet:
    """GoogLeNet: 13.0 million parameters, or 6.6 without the auxiliary classifiers.

    `options` are those of `GoogLeNet`.
    """
    no_download(weights=weights)
    return GoogLeNet(**options)
