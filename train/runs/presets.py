"""Published hyper-parameters by task, model and data set. A flag or argument overrides them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mpnn.datasets import called
from mpnn.train.kinds.registry import kind_called
from mpnn.train.record import gathered
from mpnn.train.runs.settings import Settings


def preset(model: str, task: str = "node", **overrides: Any) -> Settings:
    """Return the settings that `model` was published with, else small ones that suit most, with changes.

    If the model was published with settings of its own for the data set, it is those. The tables are in the
    files of `train/kinds/`.

    Args:
        model: its name.
        task: the kind of task.
        overrides: settings by name; `columns` may be given one by one, such as `label="team"`.

    >>> preset("gat", dataset="cora", runs=20).heads
    8
    >>> preset("gin", task="graph").readout
    'sum'
    """
    asked = gathered(overrides)
    known = kind_called(task).models()
    model = model.lower() if model.lower() in known else model
    if "dataset" in asked:
        asked["dataset"] = called(asked["dataset"])
    published = dict(kind_called(task).published(model, asked))
    if asked.get("shared_epoch") or asked.get("monitor") == "last":  # then no run may stop early
        published["patience"] = None
    if asked.get("learn") == "regression" and published.get("monitor") not in (None, "last"):
        published["monitor"] = "loss"
    return Settings(model=model, task=task, **(published | asked))


def settings_of(given: Mapping[str, Any]) -> Settings:
    """Return the settings that values, as flags give them, ask for; what they do not say is as published.

    >>> settings_of({"task": "graph"}).model
    'gin'
    """
    kind = kind_called(given["task"])
    asked = {"dataset": kind.dataset} | gathered(given)
    asked["dataset"] = called(asked["dataset"])
    model = kind.model if kind.model_for is None else kind.model_for(asked)
    return preset(**{"model": model} | asked)
