"""The pictures of a run whose model has codes of images."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from mpnn.train.learners.learner import CodeLearner
from mpnn.train.learners.som import SOMLearner
from mpnn.train.pictures.codes import latent_picture, reconstructions_picture, samples_picture
from mpnn.train.pictures.maps import umatrix_picture
from mpnn.train.pictures.of_a_run import Picture, Shown

if TYPE_CHECKING:
    from matplotlib.figure import Figure

FEW, MANY = 12, 64  # images in a row, and in all


def _grey(images: Tensor, shape: tuple[int, ...]) -> Tensor:
    """`[count, height, width]` of images or rows of their pixels: the mean of the channels."""
    return images.detach().reshape(-1, *shape).mean(1)


def _reconstructions(run: Shown) -> Figure | None:
    if not isinstance(run.model, CodeLearner):
        return None
    some = run.task.data.x[run.task.split.test[:FEW]]
    again = run.model.reconstructed(some)
    shape = tuple(some.shape[1:])
    return reconstructions_picture(_grey(some, shape), _grey(again, shape), title=run.test_title)


def _samples(run: Shown) -> Figure | None:
    with torch.random.fork_rng(devices=[]):
        images = run.model.sampled(MANY) if isinstance(run.model, CodeLearner) else None
    if images is None:
        return None
    shape = tuple(run.task.data.x.shape[1:])
    return samples_picture(_grey(images, shape), title=f"{run.title}: samples")


def _units(run: Shown) -> Figure | None:
    found = run.model.prototypes() if isinstance(run.model, CodeLearner) else None
    if found is None:
        return None
    side = run.model.map.shape[-1] if isinstance(run.model, SOMLearner) else 8
    shape = tuple(run.task.data.x.shape[1:])
    images = _grey(found, shape)
    return samples_picture(images[: max(MANY, side * side)], columns=side, title=f"{run.title}: units")


def _map(run: Shown) -> Figure | None:
    if not isinstance(run.model, SOMLearner):
        return None
    test = run.task.data.x[run.task.split.test].flatten(1)
    return umatrix_picture(run.model.map, test, title=f"{run.test_title}, U-matrix")


def _latent(run: Shown) -> Figure | None:
    y, names = run.task.data.y, run.task.data.class_names
    if not isinstance(run.model, CodeLearner) or isinstance(run.model, SOMLearner):
        return None  # a place on a map is no point of a plane
    if y.dim() != 1 or run.outputs.size(1) < 2:
        return None
    test = run.task.split.test
    return latent_picture(run.outputs[test], y[test], names, title=f"{run.test_title}, codes", seed=run.seed)


RECONSTRUCTIONS = Picture("reconstructions", "images, and what is made of their codes", _reconstructions)
SAMPLES = Picture("samples", "new images", _samples)
UNITS = Picture("units", "what each unit looks for", _units)
LATENT = Picture("codes", "the codes in the plane, by their classes", _latent)
MAP = Picture("map", "how far each unit is from its neighbours, and what it wins", _map)
