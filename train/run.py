"""A whole run, or several: data, model, training, pictures, all into one folder."""

from __future__ import annotations

import json
import statistics
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import torch
from torch import nn

from mpnn.datasets import NodeDataset, load
from mpnn.models import GNN
from mpnn.train import checkpoint, folder, pictures
from mpnn.train.build import build_model, find_device
from mpnn.train.errors import RunError
from mpnn.train.loop import Result, fit
from mpnn.train.settings import Settings
from mpnn.train.state import BEST, LAST, Row
from mpnn.train.task import NodeClassification

# What a resumed run may change; everything else decides its numbers.
MAY_CHANGE = ("data", "device", "epochs")
CURVES, EMBEDDING = "curves.png", "embedding.png"


class Listener:
    """What is told of a run's progress; this one keeps it to itself."""

    def opened(self, folder: Path) -> None:
        """The run folder is there; from now on it can be resumed."""

    def started(self, settings: Settings, data: NodeDataset, model: nn.Module) -> None:
        """A run starts, its seed is `settings.seed`."""

    def epoch(self, row: Row) -> None:
        """An epoch is done."""

    def finished(self, result: Result) -> None:
        """A run is done."""


@dataclass(frozen=True)
class Report:
    """What `train` came to: a result per run, and the folder with all files."""

    settings: Settings
    results: list[Result]
    folder: Path

    @property
    def test_accuracy(self) -> tuple[float, float]:
        """Mean over the runs, and their standard deviation (of a sample; 0 for one run)."""
        values = [result.best["test_accuracy"] for result in self.results]
        return statistics.fmean(values), statistics.stdev(values) if len(values) > 1 else 0.0

    def __str__(self) -> str:
        mean, deviation = self.test_accuracy
        who = f"{self.settings.model} on {self.settings.dataset}"
        if len(self.results) == 1:
            return f"{who}: test accuracy {100 * mean:.1f} %"
        return f"{who}: test accuracy {100 * mean:.1f} ± {100 * deviation:.1f} % ({len(self.results)} runs)"


def train(
    settings: Settings | None = None,
    out: str | Path | None = None,
    *,
    resume: str | Path | None = None,
    draw: bool = True,
    listener: Listener | None = None,
) -> Report:
    """Train as the settings say, and write everything into a run folder.

    The folder holds `config.json`, `results.json`, `curves.png`, `embedding.png`, and of each run
    `metrics.csv`, `best.pt` and `last.pt`; of several runs, each has these in its own folder `seed-N`.

    Args:
        settings: what to do; of a resumed run, those of its folder with changes of `data`, `device` or
            `epochs` only; by default exactly those.
        out: the run folder, which must be new or empty; by default a new one under `runs/`.
        resume: a run folder to go on with; the numbers are those of a run without a break.
        draw: whether to draw the pictures.
        listener: is told of the progress.

    Raises:
        RunError, DataError: something cannot be used or written, in one sentence.
        KeyboardInterrupt: Ctrl-C, after a checkpoint is written.

    >>> import tempfile
    >>> from mpnn.train import preset
    >>> with tempfile.TemporaryDirectory() as home:
    ...     report = train(preset("gcn", dataset="karate", epochs=50), out=home, draw=False)
    >>> report.results[0].history[49]["epoch"]
    50
    """
    listener = listener or Listener()
    if resume is not None:
        if out is not None:
            raise RunError(f"out is {str(out)!r}, but a resumed run stays in its folder {str(resume)!r}")
        home = Path(resume)
        settings = _continued(settings, home)
    settings = settings or Settings()
    device = find_device(settings.device)
    data = load(settings.dataset, settings.data).to(device)
    task = NodeClassification(data, input_dropout=settings.dropout)
    with _own_random_numbers(device):
        build_model(settings, data)  # so that a model that cannot be built leaves no folder behind
        if resume is None:
            home = folder.new_folder(settings, None if out is None else Path(out))
        listener.opened(home)
        runs = _runs(settings, home)
        results = [_run(one, data, task, place, resume is not None, listener) for one, place in runs]
        report = Report(settings, results, home)
        _write_results(report)
        if draw:
            _draw(report, settings.device)
    return report


def _continued(settings: Settings | None, home: Path) -> Settings:
    before = folder.read_config(home)
    after = settings or before
    for name, value in asdict(before).items():
        if name not in MAY_CHANGE and getattr(after, name) != value:
            raise RunError(
                f"{name} is {getattr(after, name)!r}, but the run in {home} has {value!r}: a resumed run may "
                f"change only {', '.join(MAY_CHANGE)}"
            )
    return after


def _runs(settings: Settings, home: Path) -> Iterator[tuple[Settings, Path]]:
    for seed in range(settings.seed, settings.seed + settings.runs):
        yield replace(settings, seed=seed, runs=1), home / f"seed-{seed}" if settings.runs > 1 else home


def _run(
    settings: Settings,
    data: NodeDataset,
    task: NodeClassification,
    home: Path,
    resume: bool,
    listener: Listener,
) -> Result:
    folder.write_config(home, settings)
    torch.manual_seed(settings.seed)
    model = build_model(settings, data)
    listener.started(settings, data, model)
    result = fit(
        model,
        task,
        settings,
        folder=home,
        resume=resume and (home / LAST).exists(),
        identity={name: value for name, value in asdict(settings).items() if name not in MAY_CHANGE},
        on_epoch=listener.epoch,
    )
    listener.finished(result)
    return result


def load_model(run: str | Path, device: str = "auto") -> tuple[GNN, NodeDataset, Settings]:
    """Return the best model of a run folder, the data it was trained on, and its settings.

    Raises:
        RunError, DataError: the folder holds no such thing.
    """
    settings = folder.read_config(Path(run))
    data = load(settings.dataset, settings.data).to(find_device(device))
    path = Path(run) / BEST
    state = checkpoint.load(path)
    with _own_random_numbers(data.x.device):
        model = build_model(settings, data)
    try:
        model.load_state_dict(state["model"])
    except (KeyError, RuntimeError) as error:
        raise RunError(f"{path} is not a checkpoint of {settings.model} with these settings") from error
    return model, data, settings


@contextmanager
def _own_random_numbers(device: torch.device) -> Iterator[None]:
    """Leave the caller's random numbers as they were."""
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        yield


def _write_results(report: Report) -> None:
    mean, deviation = report.test_accuracy
    runs = [
        {"seed": report.settings.seed + number, "epochs": len(result.history), "best": result.best}
        for number, result in enumerate(report.results)
    ]
    content = {"test_accuracy": {"mean": mean, "std": deviation}, "runs": runs}
    checkpoint.write(report.folder / folder.RESULTS, (json.dumps(content, indent=2) + "\n").encode())


def _draw(report: Report, device: str) -> None:
    settings = report.settings
    _, first = next(_runs(settings, report.folder))
    model, data, _ = load_model(first, device)
    with torch.no_grad():
        embedding, predicted = model.embed(data.x, data.graph), model(data.x, data.graph).argmax(dim=1)
    curves = pictures.training_curves(report.results, title=str(report))
    pictures.save_picture(curves, report.folder / CURVES)
    nodes = pictures.embedding_picture(
        embedding,
        data.y,
        data.class_names,
        predicted=predicted,
        labelled=data.train_mask,
        title=f"{settings.dataset}: hidden layer of {settings.model}, t-SNE",
        seed=settings.seed,
    )
    pictures.save_picture(nodes, report.folder / EMBEDDING)
