"""Tasks on images."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from torch import nn

from mpnn.datasets import ImageDataset
from mpnn.models import LeNet
from mpnn.train.errors import RunError
from mpnn.train.inputs.augmentation import augmentation
from mpnn.train.inputs.preparation import Preparation
from mpnn.train.kinds.faces import FACES
from mpnn.train.kinds.kind import Kind
from mpnn.train.kinds.parts import chosen_shares, draw_parts
from mpnn.train.options import Options
from mpnn.train.pictures.of_a_run import CONFUSION, CURVES, EMBEDDING, MISTAKES, NUMBERS, ROC
from mpnn.train.tasks.image_task import ImageTask
from mpnn.train.tasks.kept import Kept
from mpnn.train.tasks.learned import learned
from mpnn.train.tasks.shape import Shape
from mpnn.train.tasks.split import Split, validation_split

SHARES = (0.1, 0.1)
BATCH_SIZE = 64
FIXED = FACES["image"].fixed
# LeCun et al., 1998, did 20 passes by gradient descent with a step size for each weight; momentum
# takes its place.
PRESETS: dict[str, dict[str, Any]] = {
    "lenet": FIXED["lenet"]
    | {"optimizer": "sgd", "momentum": 0.9, "lr": 0.05, "schedule": "cosine", "weight_decay": 5e-4}
    | {"batch_size": 64, "epochs": 15}
}


def _published(model: str, asked: Mapping[str, Any]) -> Mapping[str, Any]:
    return PRESETS.get(model, {})


def _make(options: Options, data: ImageDataset, kept: Kept | None = None) -> ImageTask:
    y, names = learned(data.y, data.class_names, options.learn, options.loss)
    data = replace(data, y=y, class_names=names)
    task = ImageTask(
        data,
        _parts(options, data),
        batch_size=options.batch_size or BATCH_SIZE,
        loss=options.loss,
        class_weights=options.class_weights,
        standard=True,
        augment=augmentation(options.augment),
    )
    task.preparation = Preparation(read_as=data.read_as)
    return task


def _parts(options: Options, data: ImageDataset) -> Split:
    """The published test part, if there is one and no other split is asked for; else all parts are drawn."""
    if data.test_mask is None or options.split not in (None, "public") or options.folds is not None:
        return draw_parts(options, SHARES, data.num_images, data.y, "images")
    if options.test_share is not None:
        raise RunError(f"test_share is {options.test_share}, but {data.name} has published what to test on")
    val_share, _ = chosen_shares(options, SHARES)
    return validation_split(data.test_mask, data.y, seed=options.seed, val_share=val_share, what="images")


def _build(options: Options, shape: Shape) -> nn.Module:
    height, width = shape.size
    return LeNet(shape.num_features, shape.out_channels, (height, width))


IMAGE = Kind(
    **vars(FACES["image"]),
    data=ImageDataset,
    make=_make,
    build=_build,
    published=_published,
    pictures=(CURVES, EMBEDDING, CONFUSION, ROC, NUMBERS, MISTAKES),
)
