"""What a person sees while a run goes on, and when it is done."""

from __future__ import annotations

import time
from pathlib import Path

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table
from torch import nn

from mpnn.datasets import NodeDataset
from mpnn.train import folder, run, state
from mpnn.train.loop import Result
from mpnn.train.settings import Settings

ABOUT = {
    folder.CONFIG: "the settings: they reproduce this run",
    folder.RESULTS: "accuracy of every run, mean and standard deviation",
    state.METRICS: "loss and accuracy of every epoch",
    state.BEST: "the best model",
    state.LAST: "what --resume goes on from",
    run.CURVES: "training curves",
    run.EMBEDDING: "the nodes as the model sees them (t-SNE)",
}


class Display(run.Listener):
    """A progress bar on a terminal (on stderr), and a summary (on stdout) wherever it goes."""

    def __init__(self, runs: int = 1) -> None:
        self.out = Console(highlight=False, soft_wrap=True)
        self.runs, self.run = runs, 0
        self.folder: Path | None = None
        terminal = Console(stderr=True)
        self.bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(bar_width=30),
            MofNCompleteColumn(),
            TextColumn("{task.fields[numbers]}"),
            TimeRemainingColumn(),
            console=terminal,
            transient=True,
            disable=not terminal.is_terminal,
        )
        self.task = self.bar.add_task("", numbers="")

    def __enter__(self) -> Display:
        self.began = time.monotonic()
        self.bar.start()
        return self

    def __exit__(self, *error: object) -> None:
        self.bar.stop()

    def opened(self, folder: Path) -> None:
        """Remember where everything is written."""
        self.folder = folder

    def started(self, settings: Settings, data: NodeDataset, model: nn.Module) -> None:
        """Say what is trained, and on what."""
        if self.run == 0:
            parameters = sum(parameter.numel() for parameter in model.parameters())
            self.out.print(escape(repr(data)))
            self.out.print(
                f"[bold]{settings.model}[/bold]: {settings.layers} layers, {parameters:,} parameters, "
                f"on {data.x.device}"
            )
        self.run += 1
        name = f"run {self.run}/{self.runs}" if self.runs > 1 else "training"
        self.bar.reset(self.task, description=name, total=settings.epochs, numbers="")

    def epoch(self, row: state.Row) -> None:
        """Move the bar."""
        numbers = f"loss {row['train_loss']:.3f}  val accuracy {100 * row['val_accuracy']:5.1f} %"
        self.bar.update(self.task, completed=row["epoch"], numbers=numbers)

    def finished(self, result: Result) -> None:
        """Nothing: the summary says it all."""

    def summary(self, report: run.Report) -> None:
        """Print the results and the files."""
        seconds = time.monotonic() - self.began
        if len(report.results) > 1:
            self.out.print(_table(report))
        for result in report.results[:1] if len(report.results) == 1 else []:
            self.out.print(
                f"Best of {len(result.history)} epochs by validation {_monitored(report.settings)}: "
                f"epoch {result.best_epoch}, validation accuracy {100 * result.best['val_accuracy']:.1f} %."
            )
        self.out.print(f"[bold green]{report}[/bold green] ({seconds:.1f} s)")
        self.out.print(f"Written to [bold]{escape(str(report.folder))}[/bold]:")
        for name, about in ABOUT.items():
            if (report.folder / name).exists():
                self.out.print(f"  {name:<15}{about}")
        if len(report.results) > 1:
            self.out.print(f"  {'seed-N/':<15}each run's own metrics and checkpoints")


def _monitored(settings: Settings) -> str:
    return "loss and accuracy" if settings.monitor == "both" else settings.monitor


def _table(report: run.Report) -> Table:
    table = Table("seed", "epochs", "best epoch", "val accuracy", "test accuracy", box=None)
    for number, result in enumerate(report.results):
        table.add_row(
            str(report.settings.seed + number),
            str(len(result.history)),
            str(result.best_epoch),
            f"{100 * result.best['val_accuracy']:.1f} %",
            f"{100 * result.best['test_accuracy']:.1f} %",
        )
    return table
