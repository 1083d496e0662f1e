"""Everything that a run depends on, as one immutable record that `config.json` holds."""

from __future__ import annotations

import json
import math
from dataclasses import asdict, dataclass, fields
from typing import Any

from mpnn.train.errors import RunError

MONITORS = ("loss", "accuracy", "both")
DECAYED = ("all", "first")


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """How a model is trained, whatever it is and whatever it learns.

    Args:
        lr: learning rate of Adam.
        weight_decay: L2 penalty, added to the gradient as in the papers.
        decayed: whose weights it falls on: `"all"` layers', or the `"first"` layer's only.
        epochs: how many at most.
        patience: stop after so many epochs without progress on the validation nodes; None never stops.
        monitor: what progress is: `"loss"` falls, `"accuracy"` rises (ties: the lower loss), or `"both"` as
            in the code of Veličković et al. (2018): one of them does not get worse than its best so far, and
            a new best model needs it of both.

    Raises:
        RunError: a value out of its range.
    """

    lr: float = 0.01
    weight_decay: float = 5e-4
    decayed: str = "all"
    epochs: int = 200
    patience: int | None = None
    monitor: str = "loss"

    def __post_init__(self) -> None:
        for field in fields(self):
            value, low = getattr(self, field.name), LOWEST.get(field.name)
            if low is not None and value is not None and not (value >= low and math.isfinite(value)):
                raise RunError(f"{field.name} is {value}, but should be at least {low}")
        _check_choice("monitor", self.monitor, MONITORS)
        _check_choice("decayed", self.decayed, DECAYED)


@dataclass(frozen=True, kw_only=True)
class Settings(Recipe):
    """A whole run: the data, the model, its recipe, and the seeds.

    Args:
        task: `"node"`: classify the nodes of one graph.
        dataset, data: name of the data set, and the folder with its files.
        model: name of the convolution, see `mpnn.models`.
        hidden: channels of a hidden layer; of each head, where there are heads.
        layers: number of convolutions.
        heads, out_heads: attention heads of the hidden layers and of the output, for models that have them.
        norm, jk, residual: normalisation, jumping knowledge and skips, see `mpnn.models.GNN`.
        dropout: probability, on the input of every layer and on attention weights.
        act: activation between the layers.
        seed: of the first run; the following runs count up from it.
        runs: how many runs, each from a new start.
        device: `"cpu"`, `"cuda"`, ..., or `"auto"`: the GPU if there is one.

    >>> Settings(dataset="karate", epochs=50).epochs
    50
    """

    task: str = "node"
    dataset: str = "karate"
    data: str | None = None
    model: str = "gcn"
    hidden: int = 16
    layers: int = 2
    heads: int | None = None
    out_heads: int | None = None
    norm: str | None = None
    jk: str | None = None
    residual: bool = False
    dropout: float = 0.5
    act: str = "relu"
    seed: int = 0
    runs: int = 1
    device: str = "auto"

    def __post_init__(self) -> None:
        super().__post_init__()
        _check_choice("task", self.task, ("node",))
        if self.dropout >= 1:
            raise RunError(f"dropout is {self.dropout}, but should be below 1")

    def to_json(self) -> str:
        """Text of `config.json`."""
        return json.dumps(asdict(self), indent=2) + "\n"

    @classmethod
    def from_dict(cls, values: Any) -> Settings:
        """Read what `to_json` or a checkpoint holds, after checking every name and type in it."""
        known = {field.name: str(field.type) for field in fields(cls)}
        if not isinstance(values, dict):
            raise RunError(f"settings are of type {type(values).__name__}, but should be a dictionary")
        for name in values.keys() - known:
            raise RunError(f"settings hold {name!r}, which is none of {', '.join(known)}")
        for name, value in values.items():
            if type(value).__name__ not in _json_types(known[name]):
                raise RunError(f"setting {name} is {value!r}, but should be of type {known[name]}")
        return cls(**values)


LOWEST = {
    "lr": 0.0,
    "weight_decay": 0.0,
    "epochs": 1,
    "patience": 1,
    "hidden": 1,
    "layers": 1,
    "heads": 1,
    "out_heads": 1,
    "dropout": 0.0,
    "seed": 0,
    "runs": 1,
}


def _check_choice(name: str, value: str, choices: tuple[str, ...]) -> None:
    if value not in choices:
        raise RunError(f"{name} is {value!r}, but should be one of {', '.join(choices)}")


def _json_types(annotation: str) -> set[str]:
    names = set(annotation.replace("None", "NoneType").split(" | "))
    return names | {"int"} if "float" in names else names
