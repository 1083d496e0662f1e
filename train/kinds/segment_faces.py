"""The models that tell the class of every pixel: what help says of them, and how they begin."""

from __future__ import annotations

from typing import Any

OF_MASKS = {
    "fcn20": "fully convolutional network on a ResNet-20, 0.3 million weights (Long et al., 2015)",
    "fcn": "fully convolutional network on a ResNet-50, as torchvision's (Long et al., 2015)",
}
HEADS = dict.fromkeys(OF_MASKS, "classifier.4")
_ALWAYS: dict[str, Any] = {"hidden": 16, "layers": 1, "act": "relu", "dropout": 0.1}
FIXED = {"fcn20": _ALWAYS, "fcn": _ALWAYS}
# As torchvision trains them (references/segmentation), with a cosine in place of its power of 0.9.
_FCN = {"optimizer": "sgd", "momentum": 0.9, "lr": 0.01, "weight_decay": 1e-4, "schedule": "cosine"}
_FCN20 = {"optimizer": "adam", "lr": 0.01, "weight_decay": 0.0, "schedule": "cosine"}
PRESETS: dict[str, dict[str, Any]] = {
    "fcn20": FIXED["fcn20"] | _FCN20 | {"batch_size": 8, "epochs": 40},
    "fcn": FIXED["fcn"] | _FCN | {"batch_size": 8, "epochs": 30},
}
