"""A kind of task: one record that settings, runs, pictures and the command ask about it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from torch import nn

from mpnn.datasets import Dataset, Entry, load_own
from mpnn.train.options import Options
from mpnn.train.pictures.of_a_run import CURVES, Picture
from mpnn.train.tasks.kept import Kept
from mpnn.train.tasks.shape import Shape
from mpnn.train.tasks.task import SupervisedTask


def _of_no_paper(model: str, asked: Mapping[str, Any]) -> Mapping[str, Any]:
    return {}


@dataclass(frozen=True, kw_only=True)
class Kind:
    """A kind of task. A new one is an instance of this, and its line in `KINDS`.

    Args:
        name: what the command and `config.json` call it.
        about: what a model is trained to do, in a line.
        data: the record that its data sets are.
        dataset, model: the data set and the model that are taken if none is named.
        models: returns every model by name, with a line about each.
        make: makes the task of a run, from its options, its data, and what the run keeps (see `Kept`): None
            as it begins.
        build: builds an untrained model, from the options and the `Shape` of its task.
        options: names of those that this kind has and others may not have; all others every kind has.
        fixed: by the name of a model, the options that it does not let choose, with their values.
        published: returns the options that a model was published with, given its name and what else is asked.
        model_for: returns the model that is taken if none is named, given what is asked; None is `model`.
        like: kinds of tasks whose data sets of `mpnn.datasets.DATASETS` are for this kind too.
        read: reads a file of your own.
        pictures: what is drawn of a run.
    """

    name: str
    about: str
    data: type[Dataset]
    dataset: str
    model: str
    models: Callable[[], dict[str, str]]
    make: Callable[[Options, Any, Kept | None], SupervisedTask]
    build: Callable[[Options, Shape], nn.Module]
    options: tuple[str, ...] = ()
    fixed: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    published: Callable[[str, Mapping[str, Any]], Mapping[str, Any]] = _of_no_paper
    model_for: Callable[[Mapping[str, Any]], str] | None = None
    like: tuple[str, ...] = ()
    read: Callable[..., Dataset] = load_own
    pictures: tuple[Picture, ...] = (CURVES,)

    def suits(self, entry: Entry) -> bool:
        """Whether a data set of `mpnn.datasets.DATASETS` is for such tasks."""
        return not {self.name, *self.like}.isdisjoint(entry.tasks)
