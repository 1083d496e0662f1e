"""How each model of images is built, and what it asks of its task."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from torch import nn

from mpnn.models import LeNet, resnet_for
from mpnn.train.errors import RunError
from mpnn.train.kinds.image_faces import RESNETS
from mpnn.train.learners.autoencoder import AutoencoderLearner, VAELearner
from mpnn.train.learners.layers import LayersOfNeurons
from mpnn.train.learners.perceptron import PerceptronLearner
from mpnn.train.learners.rbf import RBFLearner
from mpnn.train.learners.rbm import DBNLearner, RBMLearner
from mpnn.train.learners.som import SOMLearner, lattice_called
from mpnn.train.options import Options
from mpnn.train.tasks.shape import Shape

CODE = 30  # numbers in a code, unless it is said


@dataclass(frozen=True)
class ImageModel:
    """A model of images.

    Args:
        build: returns an untrained one.
        of_pixels: whether it reads pixels between 0 and 1, in place of standardised ones.
        learns_whole: whether a step needs all images to train on.
        of_classes: whether it learns classes only, one for each image.
    """

    build: Callable[[Options, Shape], nn.Module]
    of_pixels: bool = False
    learns_whole: bool = False
    of_classes: bool = False


class Codes(NamedTuple):
    """What the numbers of a code are called, the metrics of a model that has codes, and its loss."""

    codes: Sequence[str]
    metrics: Sequence[str]
    loss: str


def codes_of(options: Options) -> Codes:
    """What is said of the codes that a run asks for."""
    if options.model == "som":
        return Codes(["row", "column"], ("distance", "torn"), "quantisation error")
    number = options.hidden if options.model == "rbm" else options.embedding or CODE
    names = [f"code {k}" for k in range(number)]
    if options.model == "vae":
        return Codes(names, ("bound", "error"), "less the bound")
    return Codes(names, ("error",), "squared error" if options.model == "rbm" else "cross-entropy")


def _pixels(shape: Shape) -> int:
    return shape.num_features * math.prod(shape.size)


def _lenet(options: Options, shape: Shape) -> nn.Module:
    height, width = shape.size
    return LeNet(shape.num_features, shape.out_channels, (height, width))


def _resnet(options: Options, shape: Shape) -> nn.Module:
    height, width = shape.size
    return resnet_for(options.model, shape.num_features, (height, width), shape.out_channels)


def _mlp(options: Options, shape: Shape) -> nn.Module:
    widths = [_pixels(shape), *[options.hidden] * (options.layers - 1), shape.out_channels]
    return LayersOfNeurons(widths, options.act, options.dropout)


def _dbn(options: Options, shape: Shape) -> nn.Module:
    if options.layers < 2:
        raise RunError(f"layers is {options.layers}, but a dbn has a hidden layer and an output: at least 2")
    sizes = [_pixels(shape), *[options.hidden] * (options.layers - 1)]
    return DBNLearner(sizes, shape.out_channels, options.pretrain or 0, options.seed)


def _rbf(options: Options, shape: Shape) -> nn.Module:
    if options.hidden < shape.out_channels:
        raise RunError(f"hidden is {options.hidden}, but each of {shape.out_channels} classes has a centre")
    return RBFLearner(_pixels(shape), shape.out_channels, options.hidden)


def _autoencoder(options: Options, shape: Shape) -> nn.Module:
    widths = [_pixels(shape), *[options.hidden] * (options.layers - 1), options.embedding or CODE]
    return AutoencoderLearner(widths, options.act, options.dropout)


def _vae(options: Options, shape: Shape) -> nn.Module:
    hidden = [options.hidden] * (options.layers - 1)
    return VAELearner(_pixels(shape), hidden, options.embedding or CODE, options.act)


def _som(options: Options, shape: Shape) -> nn.Module:
    asked = options.map or "10x10"
    found = re.fullmatch(r"(\d+)x(\d+)", asked)
    if not found or 0 in map(int, found.groups()):
        raise RunError(f"map is {asked!r}, but should be rows and columns, such as 10x10")
    rows, columns = map(int, found.groups())
    return SOMLearner(
        lattice_called(rows, columns, options.lattice or "square"), _pixels(shape), options.epochs
    )


MODELS = {
    "lenet": ImageModel(_lenet),
    **{name: ImageModel(_resnet) for name in RESNETS},
    "mlp": ImageModel(_mlp),
    "perceptron": ImageModel(
        lambda options, shape: PerceptronLearner(_pixels(shape), shape.out_channels),
        of_pixels=True,
        learns_whole=True,
        of_classes=True,
    ),
    "rbf": ImageModel(_rbf, of_pixels=True, learns_whole=True, of_classes=True),
    "dbn": ImageModel(_dbn, of_pixels=True, of_classes=True),
    "rbm": ImageModel(
        lambda options, shape: RBMLearner(_pixels(shape), options.hidden, options.seed), of_pixels=True
    ),
    "autoencoder": ImageModel(_autoencoder, of_pixels=True),
    "vae": ImageModel(_vae, of_pixels=True),
    "som": ImageModel(_som, of_pixels=True, learns_whole=True),
}
