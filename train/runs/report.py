"""What one or several runs came to, and the folders that hold them."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from mpnn.train.fitting import checkpoint
from mpnn.train.fitting.loop import Result
from mpnn.train.runs import folder
from mpnn.train.runs.settings import Settings
from mpnn.train.tasks.metrics import Metric, mean_and_deviation


@dataclass(frozen=True)
class Report:
    """The outcome of `train`: a result per run, the metrics, and the folder with all files."""

    settings: Settings
    results: list[Result]
    folder: Path
    metrics: Sequence[Metric]

    @property
    def part(self) -> str:
        """The part that is reported: `"test"`, or `"val"` if there is no part to test on."""
        return "test" if f"test_{self.metrics[0].name}" in self.results[0].best else "val"

    def test(self, metric: str | None = None) -> tuple[float, float]:
        """Mean of a test metric over the runs, and their standard deviation (of a sample; 0 for one run).

        Without a name it is the task's first metric. Without a test part it is of the validation part.
        """
        name = f"{self.part}_{metric or self.metrics[0].name}"
        return mean_and_deviation([result.best[name] for result in self.results])

    def __str__(self) -> str:
        settings, count = self.settings, len(self.results)
        runs = f"{count} runs" if settings.folds is None else f"{count} of {settings.folds} folds"
        if settings.folds is not None and count >= settings.folds:
            runs = f"{settings.folds} folds" + (f", {settings.runs} times" if settings.runs > 1 else "")
        parts = []
        for metric in self.metrics:
            mean, deviation = self.test(metric.name)
            parts.append(f"{metric.title} {metric.text(mean, deviation if count > 1 else None)}")
        part = {"test": "test", "val": "validation"}[self.part]
        text = f"{settings.model} on {Path(settings.dataset).name}: {part} {', '.join(parts)}"
        return text if count == 1 else f"{text} ({runs})"


def runs_of(settings: Settings, home: Path) -> Iterator[tuple[Settings, Path]]:
    """The settings and the folder of every single run: each seed with each fold."""
    folds: Sequence[int | None] = [settings.fold]
    if settings.folds is not None and settings.fold is None:
        folds = range(settings.folds)
    for seed in range(settings.seed, settings.seed + settings.runs):
        for fold in folds:
            names = [f"seed-{seed}"] if settings.runs > 1 else []
            names += [f"fold-{fold}"] if len(folds) > 1 else []
            yield replace(settings, seed=seed, runs=1, fold=fold), home / "-".join(names)


def with_shared_epoch(results: Sequence[Result], folds: int, metric: Metric) -> list[Result]:
    """Give the folds of each seed one epoch in common: that of the best mean (Xu et al., 2019).

    >>> from mpnn.train import METRICS
    >>> curves = [[0.5, 0.9, 0.6], [0.8, 0.6, 0.8]]
    >>> results = [Result([{"val_accuracy": value} for value in curve], 1) for curve in curves]
    >>> [result.best_epoch for result in with_shared_epoch(results, 2, METRICS["accuracy"])]
    [2, 2]
    """
    shared = []
    for start in range(0, len(results), folds):
        together = results[start : start + folds]
        rows = zip(*(result.history for result in together), strict=True)
        means = [metric.score(sum(row[f"val_{metric.name}"] for row in epoch)) for epoch in rows]
        shared += [replace(result, best_epoch=1 + means.index(max(means))) for result in together]
    return shared


def write_results(report: Report) -> None:
    """Write `results.json`: mean and standard deviation of every metric, and the best epoch of every run."""
    content: dict[str, object] = {}
    for metric in report.metrics:
        mean, deviation = report.test(metric.name)
        content[f"{report.part}_{metric.name}"] = {"mean": mean, "std": deviation}
    single = (one for one, _ in runs_of(report.settings, report.folder))
    content["runs"] = [
        {"seed": one.seed}
        | ({} if one.fold is None else {"fold": one.fold})
        | {"epochs": len(result.history), "best": result.best}
        for one, result in zip(single, report.results, strict=True)
    ]
    checkpoint.write(report.folder / folder.RESULTS, (json.dumps(content, indent=2) + "\n").encode())
