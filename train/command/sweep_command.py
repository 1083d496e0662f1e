"""`mpnn train` with several values of a flag, or with --tune: many runs, a table and a picture of them."""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import Any

from rich.markup import escape
from torch import nn

from mpnn.datasets import called
from mpnn.train.choices import Several, Span
from mpnn.train.command import say
from mpnn.train.command.display import print_data, print_files
from mpnn.train.command.progress import Bar
from mpnn.train.errors import RunError
from mpnn.train.fitting.state import Row
from mpnn.train.kinds.registry import kind_called
from mpnn.train.pictures.style import picture_format, save_picture
from mpnn.train.pictures.sweep import Point, sweep_picture
from mpnn.train.runs import sweep as sweeps
from mpnn.train.runs.folder import empty_folder, held
from mpnn.train.runs.run import Listener
from mpnn.train.runs.settings import Settings
from mpnn.train.runs.sweep import Outcome, Outcomes, Sweep, run_sweep
from mpnn.train.runs.tuning import check_optuna, usual_space
from mpnn.train.tasks.metrics import METRICS
from mpnn.train.tasks.task import SupervisedTask

ABOUT = {
    sweeps.PLAN: "what is tried: what --resume goes on from",
    sweeps.TABLE: "a row for each run",
    sweeps.PICTURE: "every run on the validation and the test part",
}
MAY_CHANGE = ("tune", "pictures", "log", "device")


def is_sweep(folder: str | None) -> bool:
    """Whether a folder is that of a sweep."""
    return folder is not None and (Path(folder) / sweeps.PLAN).is_file()


def wants_sweep(flags: dict[str, Any]) -> bool:
    """Whether the flags ask for several runs that differ."""
    return "tune" in flags or any(isinstance(value, Several | Span) for value in flags.values())


def run(flags: dict[str, Any], out: str | None) -> int:
    """Begin a sweep.

    Args:
        flags: settings by name; those with several values differ between runs.
        out: its folder, new or empty; None makes a new one in `runs/`.
    """
    tune = flags.pop("tune", None)
    axes = {name: value for name, value in flags.items() if isinstance(value, Several | Span)}
    given = {name: value for name, value in flags.items() if name not in axes}
    if tune is None:
        for name, axis in axes.items():
            if isinstance(axis, Span):
                raise RunError(
                    f"{name} is {axis}, a span, which is searched by tune: give it, or values with commas"
                )
    elif tune < 1:
        raise RunError(f"tune is {tune}, but should be at least 1")
    else:
        check_optuna(tune)
    kind = kind_called(given["task"])
    axes = axes or usual_space(kind, given)
    if not axes:
        raise RunError(
            "tune is given, but all that it would search is given too: give several values of some"
        )
    name = called(given.get("dataset", kind.dataset))
    stem = f"{given['task']}-{Path(name).name.split('.')[0]}-{'grid' if tune is None else 'tuned'}"
    with empty_folder(stem, None if out is None else Path(out)) as home:
        return _go(Sweep(given, axes, tune), home)


def resume(flags: dict[str, Any], folder: str) -> int:
    """Go on with a sweep: runs that are there are read, one that was interrupted is gone on with."""
    sweep = Sweep.read(Path(folder))
    task, more = sweep.given["task"], {name: value for name, value in flags.items() if name != "task"}
    if flags["task"] != task:
        raise RunError(f"{folder} is of task {task!r}: mpnn train {task} --resume {folder}")
    for name in more:
        if name not in MAY_CHANGE or (name == "tune" and sweep.tune is None):
            raise RunError(
                f"{name} is {more[name]}, but the runs in {folder} have their settings: leave it out"
            )
    tune = more.pop("tune", sweep.tune)
    if tune is not None and tune < len(sweep.trials):
        raise RunError(f"tune is {tune}, but {folder} has begun {len(sweep.trials)} runs already")
    with held(Path(folder)):
        return _go(Sweep(sweep.given | more, sweep.axes, tune, sweep.trials), Path(folder))


def _go(sweep: Sweep, home: Path) -> int:
    out, began, ending = say.console(), time.monotonic(), picture_format(None, sweep.given.get("pictures"))
    display = _Display(sweep)
    try:
        outcomes = run_sweep(sweep, home, display, display.ended)
    except KeyboardInterrupt:
        print(f"mpnn: go on with: mpnn train {sweep.given['task']} --resume {home}", file=sys.stderr)
        raise
    finally:
        display.bar.stop()
    best = outcomes.best
    if best is None:
        raise RunError(f"all {sweep.size} runs failed, the first because {outcomes.found[0].trial.error}")
    out.print(_table(outcomes))
    if ending is not None:
        fine = [one for one in outcomes.found if one.val is not None and one.metric is best.metric]
        points = [Point(_words(one), one.val, one.test) for one in fine if one.val is not None]
        data = Path(sweep.given.get("dataset", kind_called(sweep.given["task"]).dataset)).name
        title = f"{data}: {len(points)} runs that differ in {', '.join(sweep.axes)}"
        save_picture(sweep_picture(points, best.metric, title), home / f"{sweeps.PICTURE}.{ending}")
    assert best.val is not None
    tested = "" if best.test is None else f", test {_number(best, best.test)}"
    out.print(
        f"[bold green]Best by validation: {escape(_words(best))}: {best.metric.title} "
        f"{_number(best, best.val)}{tested}[/bold green] ({time.monotonic() - began:.1f} s)"
    )
    print_files(out, home, ABOUT, [(f"{best.trial.name}/", "the best run; each has its own folder")])
    return 0


class _Display(Listener):
    """A bar that counts the epochs of each run, and a line for each that is done."""

    def __init__(self, sweep: Sweep) -> None:
        self.out, self.bar, self.size, self.done = say.console(), Bar(), sweep.size, 0
        self.metric = METRICS["accuracy"]

    def started(self, settings: Settings, task: SupervisedTask, model: nn.Module) -> None:
        """Say what the data is, and begin the bar anew."""
        if self.done == 0:
            print_data(self.out, settings, task)
        self.metric = task.metrics[0]
        self.bar.start(f"run {self.done + 1}/{self.size}", settings.epochs)

    def epoch(self, row: Row) -> None:
        """Move the bar."""
        value = self.metric.text(row[f"val_{self.metric.name}"])
        self.bar.move(int(row["epoch"]), f"loss {row['train_loss']:.3f}  val {self.metric.title} {value:>7}")

    def ended(self, number: int, outcome: Outcome) -> None:
        """Say what a run came to."""
        self.done = number
        self.bar.stop()
        if outcome.val is None:
            said = f"failed: {outcome.trial.error}"
        else:
            said = f"validation {outcome.metric.title} {_number(outcome, outcome.val)}"
        self.out.print(f"{number}/{self.size}  {_words(outcome)}: {said}", markup=False)


def _table(outcomes: Outcomes) -> say.Rows:
    """All runs, the best first."""
    order = sorted(outcomes.found, key=lambda one: one.rank, reverse=True)
    table = say.table("run", *outcomes.axes, "validation", "test", "runs", "")
    for one in order:
        chosen = [_value(one.trial.chosen[name]) for name in outcomes.axes]
        val = "failed" if one.val is None else f"{one.metric.title} {_number(one, one.val)}"
        test = "" if one.test is None else _number(one, one.test)
        mark = "best" if one is outcomes.best else ""
        table.add_row(one.trial.name, *chosen, val, test, str(one.runs or ""), mark)
    return table


def _number(outcome: Outcome, value: tuple[float, float]) -> str:
    return outcome.metric.text(value[0], value[1] if outcome.runs > 1 else None)


def _words(outcome: Outcome) -> str:
    return ", ".join(f"{name} {_value(value)}" for name, value in outcome.trial.chosen.items())


def _value(value: object) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)
