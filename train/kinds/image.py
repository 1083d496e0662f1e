"""Tasks on images."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from torch import nn

from mpnn.datasets import ImageDataset, load_images
from mpnn.train.errors import RunError
from mpnn.train.inputs.augmentation import augmentation
from mpnn.train.inputs.preparation import Preparation
from mpnn.train.kinds.faces import FACES
from mpnn.train.kinds.image_faces import CODES, HEADS, PRESETS
from mpnn.train.kinds.image_models import MODELS, codes_of
from mpnn.train.kinds.kind import Kind
from mpnn.train.kinds.parts import chosen_shares, draw_parts
from mpnn.train.kinds.pixels import as_pixels
from mpnn.train.options import Options
from mpnn.train.pictures.of_a_run import CONFUSION, CURVES, EMBEDDING, MISTAKES, NUMBERS, ROC
from mpnn.train.pictures.of_codes import LATENT, MAP, RECONSTRUCTIONS, SAMPLES, UNITS
from mpnn.train.tasks.code_task import CodeTask
from mpnn.train.tasks.image_task import ImageTask
from mpnn.train.tasks.kept import Kept
from mpnn.train.tasks.learned import learned
from mpnn.train.tasks.shape import Shape
from mpnn.train.tasks.split import Split, validation_split
from mpnn.train.tasks.task import SupervisedTask

SHARES = (0.1, 0.1)
BATCH_SIZE = 64


def _published(model: str, asked: Mapping[str, Any]) -> Mapping[str, Any]:
    return PRESETS.get(model, {})


def _make(options: Options, data: ImageDataset, kept: Kept | None = None) -> SupervisedTask:
    model = MODELS.get(options.model)
    whole = model is not None and model.learns_whole
    if model is not None and model.of_pixels:
        data = as_pixels(data)
    task: SupervisedTask
    if options.model in CODES:
        size = None if whole else options.batch_size or BATCH_SIZE
        task = CodeTask(data, _parts(options, data), **codes_of(options)._asdict(), batch_size=size)
    else:
        y, names = learned(data.y, data.class_names, options.learn, options.loss)
        if model is not None and model.of_classes and y.dim() != 1:
            raise RunError(
                f"model {options.model} learns one class for each image, but {data.name} has others"
            )
        data = replace(data, y=y, class_names=names)
        task = ImageTask(
            data,
            _parts(options, data),
            batch_size=data.num_images if whole else options.batch_size or BATCH_SIZE,
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
    return MODELS[options.model].build(options, shape)


IMAGE = Kind(
    **vars(FACES["image"]),
    data=ImageDataset,
    make=_make,
    build=_build,
    read=load_images,
    heads=HEADS,
    published=_published,
    pictures=(
        *(CURVES, EMBEDDING, CONFUSION, ROC, NUMBERS, MISTAKES),
        *(RECONSTRUCTIONS, SAMPLES, UNITS, LATENT, MAP),
    ),
)
