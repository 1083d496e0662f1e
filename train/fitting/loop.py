"""The training loop: epochs, early stopping, checkpoints. It knows no graph and no model."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from mpnn.train.errors import DivergedError, RunError
from mpnn.train.fitting.interrupt import Interrupt
from mpnn.train.fitting.learning_rate import learning_rate
from mpnn.train.fitting.optimizer import build_optimizer, members_of
from mpnn.train.fitting.state import BEST, Row, State
from mpnn.train.fitting.stopping import EarlyStopping
from mpnn.train.learners.learner import Learner
from mpnn.train.options import Recipe
from mpnn.train.tasks.metrics import Metric
from mpnn.train.tasks.task import Task

SAVE_EVERY = 10.0  # seconds: what a crash may cost


@dataclass(frozen=True)
class Result:
    """What a run came to: one row of numbers per epoch, and which of them is the best."""

    history: list[Row]
    best_epoch: int

    @property
    def best(self) -> Row:
        """Numbers of the best epoch; those on the test items took no part in choosing it."""
        return self.history[self.best_epoch - 1]


def fit(
    model: nn.Module,
    task: Task,
    recipe: Recipe | None = None,
    *,
    folder: Path | None = None,
    resume: bool = False,
    identity: dict[str, Any] | None = None,
    anyway: bool = False,
    ready: Callable[[], None] | None = None,
    on_epoch: Callable[[Row], None] | None = None,
) -> Result:
    """Train a model; afterwards it holds the parameters of its best epoch and is in evaluation mode.

    Random numbers come from torch's generators as they are: call `torch.manual_seed` before building the
    model.

    Args:
        model: any module that the task knows how to call.
        task: what to learn.
        recipe: how to learn it.
        folder: where to write `best.pt`, `last.pt` and `metrics.csv`: every few seconds, at the end, and on
            Ctrl-C, SIGTERM and SIGHUP after the epoch under way.
        resume: start from the folder's `last.pt`; the numbers are those of a run without a break.
        identity: written into the checkpoints; a checkpoint with another one is refused.
        anyway: go on with such a one, with a warning.
        ready: called when the checkpoint is read and nothing is written yet.
        on_epoch: called with the row of each epoch.

    Raises:
        RunError: the loss is not finite, a file cannot be written, or the checkpoint does not fit.
        KeyboardInterrupt: Ctrl-C or another signal, after the checkpoint is written.

    >>> from mpnn.datasets import load
    >>> from mpnn.models import GNN
    >>> from mpnn.train import NodeTask, Recipe
    >>> data = load("karate")
    >>> model = GNN(data.num_features, 16, data.num_classes, conv="sage")
    >>> result = fit(model, NodeTask(data), Recipe(epochs=20))
    >>> sorted(result.best)
    ['epoch', 'test_accuracy', 'train_accuracy', 'train_loss', 'val_accuracy', 'val_loss']
    """
    recipe = recipe or Recipe()
    watched = watched_metric(recipe, task)
    stopper = EarlyStopping(recipe.monitor, recipe.patience)
    state = State(model, build_optimizer(model, recipe), stopper, identity or {})
    if resume:
        if folder is None:
            raise RunError("folder is None, but resume needs the one of the run that was interrupted")
        state.load(folder, anyway=anyway)
        if state.epoch > recipe.epochs:
            raise RunError(
                f"epochs is {recipe.epochs}, but the run in {folder} has done {state.epoch} already"
            )

    with Interrupt() as interrupt:  # from before the first byte is written: a run that is there has an epoch
        if ready is not None:
            ready()
        saved_at = time.monotonic()
        while state.epoch < recipe.epochs and not stopper.exhausted:
            try:
                row = _epoch(state, task, recipe, watched)
            except _NotFiniteError as error:
                if folder is not None:
                    state.save_curve(folder, error.row)
                if folder is None or not state.best_epoch:
                    raise
                state.save_best(folder)
                kept = f"the best model before, of epoch {state.best_epoch}, is in {folder / BEST}"
                raise DivergedError(f"{error}; {kept}") from error
            if on_epoch is not None:
                on_epoch(row)
            if folder is not None and (interrupt.requested or time.monotonic() > saved_at + SAVE_EVERY):
                state.save(folder)
                saved_at = time.monotonic()
            if interrupt.requested:
                raise interrupt.error()
        if folder is not None:
            state.save(folder)
    model.load_state_dict(state.best_model)
    model.eval()
    return Result(state.history, state.best_epoch)


def watched_metric(recipe: Recipe, task: Task) -> Metric:
    """Return the metric of the task that the recipe's `monitor` looks at.

    Raises:
        RunError: the task has no such metric.
    """
    metrics = {metric.name: metric for metric in task.metrics}
    if recipe.monitor in ("loss", "both", "last"):
        return task.metrics[0]
    if recipe.monitor not in metrics:
        raise RunError(
            f"monitor is {recipe.monitor!r}, but this task is measured by {', '.join(metrics)}: take one of "
            "them, loss, both or last"
        )
    return metrics[recipe.monitor]


def _epoch(state: State, task: Task, recipe: Recipe, watched: Metric) -> Row:
    number = state.epoch + 1
    lr = learning_rate(recipe, state.epoch, (row["val_loss"] for row in state.history))
    for group in state.optimizer.param_groups:
        group["lr"] = lr
    state.model.train()
    for part in state.model.modules():
        if isinstance(part, Learner):
            part.begin(state.epoch)
        own = list(part.parameters(recurse=False))
        if own and not any(parameter.requires_grad for parameter in own):
            part.eval()  # frozen: batch normalisation keeps its statistics too
    # The losses are read once, at the end: a GPU works on meanwhile.
    values: list[float] = torch.stack(_steps(state, task, recipe)).tolist()
    row: Row = {"epoch": number, "train_loss": sum(values) / len(values)}
    for loss in values:
        _finite(loss, "loss", row)
    state.model.eval()
    row |= task.evaluate(state.model)
    _finite(row["val_loss"], "validation loss", row)
    state.note(row, watched.score(row[f"val_{watched.name}"]))
    return row


def _steps(state: State, task: Task, recipe: Recipe) -> list[Tensor]:
    """Take a step on each batch of an epoch, and return the losses, without waiting for a GPU."""
    losses: list[Tensor] = []
    for batch in task.batches():
        state.optimizer.zero_grad()
        found = [_slopes(member, task, batch, recipe) for member in members_of(state.model)]
        losses.append(sum(found[1:], found[0]) / len(found))
        if recipe.clip is not None:
            nn.utils.clip_grad_norm_(state.model.parameters(), recipe.clip)
        state.optimizer.step()
    return losses


def _slopes(model: nn.Module, task: Task, batch: Any, recipe: Recipe) -> Tensor:
    """Add the gradients of a batch's loss to those of a model, and return the loss.

    The task may use its memory again for the next model.
    """
    loss = task.loss(model, batch)
    whole = loss
    if recipe.l1:
        whole = loss + recipe.l1 * sum(weight.abs().sum() for weight in model.parameters())
    if whole.requires_grad:  # else a `Learner` has learned by a rule of its own
        whole.backward()  # type: ignore[no-untyped-call]
    return loss.detach()


class _NotFiniteError(DivergedError):
    """Has the row of the epoch, as far as it is known."""

    row: Row


def _finite(loss: float, name: str, row: Row) -> None:
    if not math.isfinite(loss):
        epoch = int(row["epoch"])
        error = _NotFiniteError(
            f"the {name} became {loss} in epoch {epoch}: check the features, or take a lower learning rate"
        )
        error.row = row
        raise error
