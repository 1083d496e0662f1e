"""Tasks on the pixels of images."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import nn

from mpnn.datasets import MaskDataset, load_masks
from mpnn.models import fcn_for
from mpnn.train.inputs.preparation import Preparation
from mpnn.train.kinds.faces import FACES
from mpnn.train.kinds.kind import Kind
from mpnn.train.kinds.parts import draw_parts
from mpnn.train.kinds.segment_faces import HEADS, PRESETS
from mpnn.train.options import Options
from mpnn.train.pictures.masks import OVERLAYS, PER_CLASS
from mpnn.train.pictures.of_a_run import CURVES
from mpnn.train.tasks.kept import Kept
from mpnn.train.tasks.segment_task import SegmentTask
from mpnn.train.tasks.shape import Shape

SHARES = (0.15, 0.15)
BATCH_SIZE = 8


def _published(model: str, asked: Mapping[str, Any]) -> Mapping[str, Any]:
    return PRESETS.get(model, {})


def _make(options: Options, data: MaskDataset, kept: Kept | None = None) -> SegmentTask:
    split = draw_parts(options, SHARES, data.num_images, None, "images").to(data.y.device)
    task = SegmentTask(data, split, options.batch_size or BATCH_SIZE)
    task.preparation = Preparation(read_as=data.read_as)
    return task


def _build(options: Options, shape: Shape) -> nn.Module:
    return fcn_for(options.model, shape.num_features, shape.out_channels)


SEGMENT = Kind(
    **vars(FACES["segment"]),
    data=MaskDataset,
    make=_make,
    build=_build,
    published=_published,
    read=load_masks,
    heads=HEADS,
    pictures=(CURVES, PER_CLASS, OVERLAYS),
)
