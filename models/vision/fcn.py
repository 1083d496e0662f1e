"""Fully convolutional networks (Long et al., 2015): a class for every pixel."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch.nn.functional as F
from torch import Tensor, nn

from mpnn.models.dense.convolution import Conv2d
from mpnn.models.dense.normalization import BatchNorm2d
from mpnn.models.parts.checks import check_count
from mpnn.models.vision.blocks import Bottleneck, PaddedBlock
from mpnn.models.vision.downloads import no_download
from mpnn.models.vision.resnet import ResNet


class ResNetMaps(ResNet):
    """A ResNet without its last layer: "out" is what its last stage makes of an image, "aux" the one before.

    Of four stages the last two are dilated in place of a stride, so that a map has an eighth of the image's
    pixels in height and width. `options` are those of `ResNet`.
    """

    def __init__(self, block: Any, layers: list[int], aux: bool = False, **options: Any) -> None:
        super().__init__(block, layers, **{"replace_stride_with_dilation": [False, True, True]} | options)
        del self.avgpool, self.fc
        self.aux = aux

    def forward(self, x: Tensor) -> dict[str, Tensor]:  # type: ignore[override]
        x, _ = self.stem(x)
        found = {}
        for name in self.stages:
            x = getattr(self, name)(x)
            if name == "layer3" and self.aux:
                found["aux"] = x
        return found | {"out": x}


class FCNHead(nn.Sequential):
    """A convolution of 3 × 3 to a quarter of the channels, then one of 1 × 1 to the classes."""

    def __init__(self, in_channels: int, channels: int) -> None:
        inner = in_channels // 4
        super().__init__(
            Conv2d(in_channels, inner, 3, padding=1, bias=False),
            BatchNorm2d(inner),
            nn.ReLU(),
            nn.Dropout(0.1),
            Conv2d(inner, channels, 1),
        )


class FCN(nn.Module):
    """Logits for every pixel: a classifier on the maps of a network, enlarged to the image.

    torchvision's class, with its arguments and its state_dict. To enlarge is to interpolate between the four
    nearest pixels of the map, which is a transposed convolution with fixed weights.

    Args:
        backbone: gives the maps of an image by name: "out", and "aux" for the auxiliary classifier.
        classifier: makes logits of the map "out".
        aux_classifier: makes logits of the map "aux", whose loss torchvision weighs by 0.5.

    Shapes: `[batch, 3, height, width]` -> `{"out": [batch, num_classes, height, width]}`, and "aux" of the
    same shape where there is an auxiliary classifier.
    """

    def __init__(
        self, backbone: nn.Module, classifier: nn.Module, aux_classifier: nn.Module | None = None
    ) -> None:
        super().__init__()
        self.backbone = backbone
        self.classifier = classifier
        self.aux_classifier = aux_classifier

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        maps: Mapping[str, Tensor] = self.backbone(x)
        size = x.shape[2:]
        logits = {"out": _enlarged(self.classifier(maps["out"]), size)}
        if self.aux_classifier is not None:
            logits["aux"] = _enlarged(self.aux_classifier(maps["aux"]), size)
        return logits


def _enlarged(x: Tensor, size: Any) -> Tensor:
    return F.interpolate(x, size=size, mode="bilinear", align_corners=False)


def fcn_resnet50(
    *, weights: object = None, num_classes: int = 21, aux_loss: bool = False, weights_backbone: object = None
) -> FCN:
    """FCN on a ResNet-50: 33.0 million parameters for 21 classes.

    Args:
        weights: None; `load_state_dict` takes the weights of a file.
        num_classes: the number of classes, of which one is the background.
        aux_loss: whether it has an auxiliary classifier on the third stage.
        weights_backbone: None, as `weights`.

    >>> fcn_resnet50()(torch.randn(2, 3, 32, 48))["out"].shape
    torch.Size([2, 21, 32, 48])
    """
    no_download(weights=weights, weights_backbone=weights_backbone)
    check_count("num_classes", num_classes, 1)
    backbone = ResNetMaps(Bottleneck, [3, 4, 6, 3], aux_loss)
    aux = FCNHead(1024, num_classes) if aux_loss else None
    return FCN(backbone, FCNHead(2048, num_classes), aux)


class PixelLogits(FCN):
    """An FCN that returns the logits "out" alone, `[batch, num_classes, height, width]`."""

    def forward(self, x: Tensor) -> Tensor:  # type: ignore[override]
        return super().forward(x)["out"]


def fcn_for(model: str, num_channels: int, num_classes: int) -> PixelLogits:
    """A fully convolutional network for images of any size.

    Args:
        model: "fcn", on a ResNet-50, with the state_dict of `fcn_resnet50`; or "fcn20", on a ResNet-20 whose
            maps have a quarter of the image's pixels in height and width.
        num_channels: channels of an image, 1 where it is grey.
        num_classes: the number of classes, of which one is the background.

    Raises:
        ValueError: an unknown model.

    >>> fcn_for("fcn20", 1, 4)(torch.randn(2, 1, 30, 34)).shape
    torch.Size([2, 4, 30, 34])
    """
    backbones: dict[str, tuple[Any, list[int], dict[str, Any]]] = {
        "fcn": (Bottleneck, [3, 4, 6, 3], {}),
        "fcn20": (PaddedBlock, [3, 3, 3], {"replace_stride_with_dilation": None, "width": 16, "small": True}),
    }
    if model not in backbones:
        raise ValueError(f"model is {model!r}, but must be one of {', '.join(backbones)}.")
    block, layers, options = backbones[model]
    backbone = ResNetMaps(block, layers, in_channels=num_channels, **options)
    return PixelLogits(backbone, FCNHead(2048 if model == "fcn" else 64, num_classes))
