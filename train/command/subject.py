"""A model to look at: that of a run, or a new one by name."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from mpnn import Graph
from mpnn.datasets import NodeDataset, load
from mpnn.train.command.flags import columns_of
from mpnn.train.errors import RunError
from mpnn.train.kinds.registry import KINDS, kinds_for
from mpnn.train.runs.build import build_model
from mpnn.train.runs.folder import CONFIG, read_config
from mpnn.train.runs.presets import preset
from mpnn.train.runs.report import runs_of
from mpnn.train.runs.run import load_model, prepare
from mpnn.train.runs.settings import Settings
from mpnn.train.tasks.task import SupervisedTask


class Subject(NamedTuple):
    """A model, the task that it is for, its settings, and the run that it comes from, if any."""

    model: nn.Module
    task: SupervisedTask
    settings: Settings
    run: Path | None

    @property
    def network(self) -> nn.Module:
        """What is called with node features and a graph: of an autoencoder, its encoder."""
        network: nn.Module = getattr(self.model, "encoder", self.model)
        return network

    @property
    def inputs(self) -> tuple[Tensor, Graph, dict[str, Any]]:
        """Node features, graph, and edge features by their names."""
        return self.task.example()

    def __str__(self) -> str:
        state = "new" if self.run is None else f"of {self.run}"
        return f"{self.settings.model} ({state}) on {self.task.data!r}"


def find_subject(model: str, flags: Mapping[str, Any]) -> Subject:
    """Return the best model of a run folder (of several runs the first), or a new model by its name.

    Args:
        model: a run folder, or a name, see `mpnn.train.models`.
        flags: settings by name. Of a run, `data`, `device` and `anyway` only.

    Raises:
        RunError, DataError: there is no such run or model, or a setting does not suit it.
    """
    home = Path(model)
    if (home / CONFIG).is_file():
        for name in flags.keys() - {"data", "device", "anyway"}:
            raise RunError(f"{name} is {flags[name]!r}, but {model} is a run, which has its own settings")
        anyway = flags.get("anyway", False)
        first = next(place for _, place in runs_of(read_config(home), home))
        found, task, settings = load_model(
            first, flags.get("device", "auto"), flags.get("data"), anyway=anyway
        )
        return Subject(found, task, settings, first)
    if (home.is_dir() or "/" in model) and not any(model in kind.models() for kind in KINDS.values()):
        raise RunError(f"{home} holds no run: {home / CONFIG} does not exist")
    given = {name: value for name, value in flags.items() if name != "anyway"}
    given.setdefault("dataset", "karate")
    if "task" not in given:
        given["task"] = _task_of(given)
    settings = preset(model, **given)
    _, task = prepare(settings)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(settings.seed)
        return Subject(build_model(settings, task), task, settings, None)


def _task_of(given: Mapping[str, Any]) -> str:
    """The usual kind of task for the data."""
    data = load(given["dataset"], given.get("data"), columns_of(dict(given)))
    if isinstance(data, NodeDataset):
        return "edge" if data.y is None else "node"
    return kinds_for(data)[0].name
