"""Settings become a task and a model on a device."""

from __future__ import annotations

import torch
from torch import nn

from mpnn.datasets import Dataset
from mpnn.models import Ensemble
from mpnn.train.errors import RunError
from mpnn.train.kinds.registry import kind_called, kinds_for
from mpnn.train.runs.settings import Settings
from mpnn.train.runs.unit import give_unit
from mpnn.train.tasks.kept import Kept
from mpnn.train.tasks.shape import Shape
from mpnn.train.tasks.task import SupervisedTask


def models(task: str) -> dict[str, str]:
    """Every model for a task by name, with a line about it.

    Raises:
        RunError: there is no such task.

    >>> models("graph")["gin"]
    'GIN with its readout: sums over every layer (Xu et al., 2019)'
    """
    return kind_called(task).models()


def make_task(settings: Settings, data: Dataset, kept: Kept | None = None) -> SupervisedTask:
    """Return the task of a run: the data, split as the run keeps it, else as the settings and their seed say.

    Edge features and edge types are those that the model reads, see `with_edge_inputs`.

    Raises:
        RunError: the data set is not for such a task, or cannot be split so.
    """
    kind = kind_called(settings.task)
    if not isinstance(data, kind.data):
        fitting = " or ".join(one.name for one in kinds_for(data))
        raise RunError(f"task is {kind.name!r}, but {data.name} is {data.what}: train {fitting} on it")
    return kind.make(settings, data, kept)


def build_model(settings: Settings, task: SupervisedTask) -> nn.Module:
    """Return an untrained model for the task, its parameters drawn from torch's generator.

    Raises:
        RunError: the model is unknown, or an option does not suit it.
    """
    try:
        model = build_for(settings, task.shape).to(task.device)
        with torch.no_grad():
            task.attempt(model.eval())
    except (ValueError, TypeError) as error:
        raise RunError(f"model {settings.model} cannot be used here: {error}") from error
    return model


def build_for(settings: Settings, shape: Shape) -> nn.Module:
    """Return an untrained model of that shape; its data is not needed.

    Raises:
        RunError: the model is unknown, or an option does not suit it.
        ValueError, TypeError: a layer refuses an option.
    """
    kind = kind_called(settings.task)
    known = kind.models()
    if settings.model not in known:
        raise RunError(f"model is {settings.model!r}, but should be one of {', '.join(known)}")
    for name, value in kind.fixed.get(settings.model, {}).items():
        if getattr(settings, name) != value:
            raise RunError(
                f"{name} is {getattr(settings, name)!r}, but of {settings.model} it is always {value!r}"
            )
    members = [kind.build(settings, shape) for _ in range(settings.ensemble or 1)]
    if shape.scale:
        members = [give_unit(member, shape.mean, shape.scale) for member in members]
    return Ensemble(members, shape.learns) if settings.ensemble else members[0]


def find_device(name: str) -> torch.device:
    """Return the device called `name`; `"auto"` is the GPU if there is one.

    Raises:
        RunError: there is no such device here.
    """
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
        float(torch.zeros(1, device=device))  # some devices only tell shapes
    except (RuntimeError, AssertionError, NotImplementedError):
        raise RunError(f"device is {name!r}, which this machine or this PyTorch does not have") from None
    return device
