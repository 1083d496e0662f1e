"""The progress of a run on the screen, and its summary."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from rich.markup import escape
from torch import nn

from mpnn.datasets import DATASETS
from mpnn.train.choices import FORMATS
from mpnn.train.command import say
from mpnn.train.command.progress import Bar
from mpnn.train.fitting import state
from mpnn.train.fitting.loop import Result
from mpnn.train.kinds.registry import kind_called
from mpnn.train.runs import card, folder, memory
from mpnn.train.runs.report import Report, runs_of
from mpnn.train.runs.run import Listener
from mpnn.train.runs.settings import Settings
from mpnn.train.tasks.learned import decided
from mpnn.train.tasks.metrics import METRICS, Metric
from mpnn.train.tasks.task import SupervisedTask

ABOUT = {
    card.CARD: "data, metrics, settings, and how to use the model, for people",
    folder.CONFIG: "the settings: they reproduce this run",
    folder.RESULTS: "the metrics of every run, mean and standard deviation",
    memory.MODEL: "how features are made, and the names of classes: part of the model",
    memory.SPLIT: "what each item was for",
    memory.CONTEXT: "the graph that new nodes join",
    state.METRICS: "loss and metrics of every epoch",
    state.BEST: "the best model",
    state.LAST: "what --resume goes on from",
}


class Display(Listener):
    """A progress bar on stderr, or lines if that is no terminal, and a summary on stdout."""

    def __init__(self, runs: int = 1) -> None:
        self.out = say.console()
        self.runs, self.run = runs, 0
        self.metric: Metric = METRICS["accuracy"]
        self.folder: Path | None = None
        self.bar = Bar()

    def __enter__(self) -> Display:
        self.began = time.monotonic()
        return self

    def __exit__(self, *error: object) -> None:
        self.bar.stop()

    def opened(self, folder: Path) -> None:
        """Remember where everything is written."""
        self.folder = folder

    def started(self, settings: Settings, task: SupervisedTask, model: nn.Module) -> None:
        """Say what is trained, and on what."""
        self.metric = task.metrics[0]
        if self.run == 0:
            parameters = sum(parameter.numel() for parameter in model.parameters())
            print_data(self.out, settings, task)
            self.out.print(
                f"[bold]{settings.model}[/bold]: {settings.layers} layers, {parameters:,} parameters, "
                f"on {task.device}"
            )
        self.run += 1
        name = f"run {self.run}/{self.runs}" if self.runs > 1 else "training"
        self.bar.start(name, settings.epochs)

    def epoch(self, row: state.Row) -> None:
        """Move the bar."""
        value = self.metric.text(row[f"val_{self.metric.name}"])
        numbers = f"loss {row['train_loss']:.3f}  val {self.metric.title} {value:>7}"
        self.bar.move(int(row["epoch"]), numbers)

    def finished(self, result: Result) -> None:
        """Nothing: the summary says it all."""

    def summary(self, report: Report) -> None:
        """Print the results and the files."""
        seconds = time.monotonic() - self.began
        if len(report.results) > 1:
            self.out.print(_table(report))
        for result in report.results[:1] if len(report.results) == 1 else []:
            by = _monitored(report)
            which = "Last" if by == "last" else f"Best of {len(result.history)} epochs by validation {by}"
            self.out.print(
                f"{which}: epoch {result.best_epoch}, validation {self.metric.title} "
                f"{self.metric.text(result.best[f'val_{self.metric.name}'])}."
            )
        self.out.print(f"[bold green]{report}[/bold green] ({seconds:.1f} s)")
        own = [("seed-N/" if report.settings.folds is None else "fold-N/", "each run's own files")]
        pictures = {picture.name: picture.about for picture in kind_called(report.settings.task).pictures}
        print_files(self.out, report.folder, ABOUT | pictures, own if len(report.results) > 1 else [])


def print_data(out: Console, settings: Settings, task: SupervisedTask) -> None:
    """Say what the data is, what features the columns of own tables become, and what is learned."""
    out.print(escape(repr(task.data)))
    for whose, plan in (("nodes", task.preparation.nodes), ("edges", task.preparation.edges)):
        if plan is not None:
            table = say.table(f"column of {whose}", "features", "what it is read as")
            for column in plan.columns:
                table.add_row(column.name, str(len(column.features)), column.about)
            out.print(table)
    if task.preparation.highest is not None:
        out.print("The features of nodes are their degrees, one-hot.")
    line = decided(task.objective, settings.dataset not in DATASETS, settings.learn, settings.loss)
    if line is not None:
        out.print(escape(line))


def print_files(
    out: Console, home: Path, about: dict[str, str], more: Sequence[tuple[str, str]] = ()
) -> None:
    """Say what the files of a run are, in the order of `about`; pictures are named without their ending."""
    rows = [
        (name + ending, what)
        for name, what in about.items()
        for ending in (("",) if "." in name else tuple(f".{kind}" for kind in FORMATS))
        if (home / (name + ending)).exists()
    ]
    out.print(f"Written to [bold]{escape(str(home))}[/bold]:", soft_wrap=True)  # a path stays whole
    out.print(say.pairs((f"  {file}", what) for file, what in (*rows, *more)))


def _monitored(report: Report) -> str:
    monitor, first = report.settings.monitor, report.metrics[0]
    if monitor == "both":
        return f"loss and {first.title}"
    return METRICS[monitor].title if monitor in METRICS else monitor


def _table(report: Report) -> say.Rows:
    metric, name = report.metrics[0], report.metrics[0].name
    folds = report.settings.folds is not None
    who = ("seed", "fold") if folds else ("seed",)
    parts = list(dict.fromkeys(("val", report.part)))
    table = say.table(*who, "epochs", "best epoch", *(f"{part} {metric.title}" for part in parts))
    for (one, _), result in zip(runs_of(report.settings, report.folder), report.results, strict=True):
        table.add_row(
            *((str(one.seed), str(one.fold)) if folds else (str(one.seed),)),
            str(len(result.history)),
            str(result.best_epoch),
            *(metric.text(result.best[f"{part}_{name}"]) for part in parts),
        )
    return table
