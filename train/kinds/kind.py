"""A kind of task: one record that settings, runs, pictures and the command ask about it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from torch import nn

from mpnn.datasets import Dataset, load_own
from mpnn.train.kinds.faces import Face
from mpnn.train.options import Options
from mpnn.train.pictures.of_a_run import CURVES, Picture
from mpnn.train.tasks.kept import Kept
from mpnn.train.tasks.shape import Shape
from mpnn.train.tasks.task import SupervisedTask


def _of_no_paper(model: str, asked: Mapping[str, Any]) -> Mapping[str, Any]:
    return {}


@dataclass(frozen=True, kw_only=True)
class Kind(Face):
    """A kind of task. A new one is an instance of this, and its line in `KINDS`.

    Args:
        data: the record that its data sets are.
        make: makes the task of a run, from its options, its data, and what the run keeps (see `Kept`): None
            as it begins.
        build: builds an untrained model, from the options and the `Shape` of its task.
        published: returns the options that a model was published with, given its name and what else is asked.
        model_for: returns the model that is taken if none is named, given what is asked; None is `model`.
        read: reads a file of your own.
        heads: by the name of a model that may begin with a file's weights, what its last layer is called.
        pictures: what is drawn of a run.
    """

    data: type[Dataset]
    make: Callable[[Options, Any, Kept | None], SupervisedTask]
    build: Callable[[Options, Shape], nn.Module]
    published: Callable[[str, Mapping[str, Any]], Mapping[str, Any]] = _of_no_paper
    model_for: Callable[[Mapping[str, Any]], str] | None = None
    read: Callable[..., Dataset] = load_own
    heads: Mapping[str, str] = field(default_factory=dict)
    pictures: tuple[Picture, ...] = (CURVES,)
