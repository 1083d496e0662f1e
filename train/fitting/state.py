"""The state of a run between two epochs, and how it is kept in files."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from mpnn.train.errors import RunError
from mpnn.train.fitting import checkpoint
from mpnn.train.fitting.identity import insist
from mpnn.train.fitting.stopping import EarlyStopping

Row = dict[str, float]
BEST, LAST, METRICS = "best.pt", "last.pt", "metrics.csv"


@dataclass
class State:
    """Everything that the next epoch depends on, besides torch's random generators."""

    model: nn.Module
    optimizer: torch.optim.Optimizer
    stopper: EarlyStopping
    identity: dict[str, Any]
    history: list[Row] = field(default_factory=list)
    best_epoch: int = 0
    best_model: dict[str, Tensor] = field(default_factory=dict)

    @property
    def epoch(self) -> int:
        """How many epochs are done."""
        return len(self.history)

    def note(self, row: Row, score: float) -> None:
        """Take in the numbers of an epoch, and a copy of the model if it is the best so far."""
        self.history.append(row)
        if self.stopper.is_best(row["val_loss"], score):
            self.best_epoch = self.epoch
            self.best_model = {name: value.clone() for name, value in self.model.state_dict().items()}

    def save(self, folder: Path) -> None:
        """Write both checkpoints and the table of metrics; each file is replaced whole."""
        best = self.save_best(folder)
        last = {
            "settings": self.identity,
            "model": self.model.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "stopper": self.stopper.memory(),
            "random": checkpoint.random_state(),
            "history": self.history,
            "best": best,
        }
        checkpoint.save(folder / LAST, last)
        self.save_curve(folder)

    def save_curve(self, folder: Path, *more: Row) -> None:
        """Write the table of metrics, with further rows at its end."""
        checkpoint.write_table(folder / METRICS, [*self.history, *more])

    def save_best(self, folder: Path) -> dict[str, Any]:
        """Write the best model so far."""
        best = {"settings": self.identity, "epoch": self.best_epoch, "model": self.best_model}
        checkpoint.save(folder / BEST, best)
        return best

    def load(self, folder: Path, *, anyway: bool = False) -> None:
        """Go back to where the folder's `last.pt` was written.

        Raises:
            RunError: it is missing, damaged, or of another run or model.
        """
        path = folder / LAST
        last = read_last(path, self.identity, anyway=anyway)
        try:
            checkpoint.check_finite(path, last["model"])
            self.model.load_state_dict(last["model"])
            self.optimizer.load_state_dict(in_order(last["optimizer"], last["model"], self))
            self._check_optimizer()
        except (RuntimeError, ValueError) as error:
            if isinstance(error, RunError):
                raise
            raise RunError(f"{path} is of another model: its parameters do not fit this one") from error
        except (TypeError, KeyError, AttributeError) as error:
            raise RunError(f"{path} is not a checkpoint of a run, or is damaged") from error
        try:
            if not isinstance(last["history"], list):
                raise TypeError(type(last["history"]).__name__)
            self.stopper.recall(last["stopper"])
            self.history = [dict(row) for row in last["history"]]
            self.best_epoch, self.best_model = int(last["best"]["epoch"]), dict(last["best"]["model"])
            checkpoint.set_random_state(last["random"])
        except (TypeError, KeyError, ValueError, AttributeError, RuntimeError) as error:
            raise RunError(f"{path} is not a checkpoint of a run, or is damaged") from error

    def _check_optimizer(self) -> None:
        """What the optimiser keeps of a parameter has its shape: its compiled step trusts that."""
        for parameter, kept in self.optimizer.state.items():
            for value in kept.values():
                if isinstance(value, Tensor) and value.dim() and value.shape != parameter.shape:
                    raise ValueError(f"{list(value.shape)} is kept of {list(parameter.shape)}")


def in_order(kept: dict[str, Any], saved: Mapping[str, Tensor], state: State) -> dict[str, Any]:
    """What an optimiser kept, in the order of the parameters that the model has today.

    It keeps its numbers by place, and version 0.1.0 had the parameters of GATConv and GATv2Conv in another
    order than PyG: their places are read off the names of the weights that were saved.
    """
    places = {_bare(name): place for place, name in enumerate(saved)}
    names = {id(parameter): _bare(name) for name, parameter in state.model.named_parameters()}
    groups = []
    for then, now in zip(kept["param_groups"], state.optimizer.param_groups, strict=True):
        ours = [names.get(id(parameter), "") for parameter in now["params"]]
        if not places.keys() >= set(ours) or len(ours) != len(then["params"]):
            return kept  # of another model, or of one without names: as PyTorch reads it
        by_place = dict(zip(sorted(ours, key=lambda name: places[name]), then["params"], strict=True))
        groups.append(then | {"params": [by_place[name] for name in ours]})
    return kept | {"param_groups": groups}


def _bare(name: str) -> str:
    """A weight's name as in version 0.1.0, where a BatchNorm was no module around torch.nn's."""
    return name.replace(".module.", ".")


def read_last(path: Path, identity: dict[str, Any], *, anyway: bool = False) -> dict[str, Any]:
    """Read a `last.pt`.

    Raises:
        RunError: it is missing, damaged, or of another run than `identity` is of.
    """
    last = checkpoint.load(path)
    needed = {"settings", "model", "optimizer", "stopper", "random", "history", "best"}
    if not needed <= last.keys():
        raise RunError(f"{path} is not a checkpoint of a run: it lacks {sorted(needed - last.keys())}")
    insist(path, last["settings"], identity, "here", anyway=anyway, all_names=True)
    return last
