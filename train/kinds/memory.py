"""Tasks of remembering pictures."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import nn

from mpnn.datasets import ImageDataset, load_images
from mpnn.train.inputs.preparation import Preparation
from mpnn.train.kinds.faces import FACES
from mpnn.train.kinds.kind import Kind
from mpnn.train.kinds.pixels import as_pixels
from mpnn.train.learners.memory import Memory
from mpnn.train.options import Options
from mpnn.train.pictures.recall import RECALL, RECALL_BY_LOAD
from mpnn.train.tasks.kept import Kept
from mpnn.train.tasks.memory_task import MemoryTask
from mpnn.train.tasks.shape import Shape

PATTERNS, NOISE, RULE = 10, 0.1, "pseudo-inverse"
FIXED = FACES["memory"].fixed


def _published(model: str, asked: Mapping[str, Any]) -> Mapping[str, Any]:
    return FIXED.get(model, {})


def _make(options: Options, data: ImageDataset, kept: Kept | None = None) -> MemoryTask:
    data = as_pixels(data)
    noise = NOISE if options.noise is None else options.noise
    task = MemoryTask(data, patterns=options.patterns or PATTERNS, noise=noise, seed=options.seed)
    task.preparation = Preparation(read_as=data.read_as)
    return task


def _build(options: Options, shape: Shape) -> nn.Module:
    rule = "attention" if options.model == "modern-hopfield" else options.rule or RULE
    height, width = shape.size
    return Memory((height, width), rule, options.patterns or PATTERNS)


MEMORY = Kind(
    **vars(FACES["memory"]),
    data=ImageDataset,
    make=_make,
    build=_build,
    published=_published,
    read=load_images,
    pictures=(RECALL, RECALL_BY_LOAD),
)
