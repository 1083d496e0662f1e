"""A whole run, or several: data, model, training, pictures, all into one folder."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from mpnn.datasets import DATASETS, Dataset, GraphDataset, NodeDataset, load
from mpnn.models import CONVS
from mpnn.train.errors import RunError
from mpnn.train.fitting import checkpoint
from mpnn.train.fitting.identity import CONTENT
from mpnn.train.fitting.loop import Result, fit, watched_metric
from mpnn.train.fitting.state import BEST, LAST, Row, read_last
from mpnn.train.kinds.registry import kind_called
from mpnn.train.pictures.of_a_run import Shown, draw_run
from mpnn.train.pictures.style import failing_is_a_warning, picture_format
from mpnn.train.runs import folder
from mpnn.train.runs.build import build_model, find_device, make_task
from mpnn.train.runs.card import write_card
from mpnn.train.runs.fingerprint import fingerprint
from mpnn.train.runs.logs import Log, check_log, open_log
from mpnn.train.runs.memory import (
    MAY_CHANGE,
    MODEL,
    check_joined,
    identity_of,
    joined,
    read_memory,
    write_memory,
)
from mpnn.train.runs.report import Report, runs_of, with_shared_epoch, write_results
from mpnn.train.runs.settings import Settings
from mpnn.train.runs.transfer import begin, first_weights
from mpnn.train.runs.unit import load_checkpoint
from mpnn.train.tasks.kept import Kept
from mpnn.train.tasks.task import SupervisedTask


class Listener:
    """Its methods are called as a run goes on; these do nothing."""

    def opened(self, folder: Path) -> None:
        """The run folder is there; from now on it can be resumed."""

    def started(self, settings: Settings, task: SupervisedTask, model: nn.Module) -> None:
        """A run starts, its seed and fold are those of `settings`."""

    def epoch(self, row: Row) -> None:
        """An epoch is done."""

    def finished(self, result: Result) -> None:
        """A run is done."""


def train(
    settings: Settings | None = None,
    out: str | Path | None = None,
    *,
    resume: str | Path | None = None,
    draw: bool | str | None = None,
    listener: Listener | None = None,
    anyway: bool = False,
) -> Report:
    """Train as the settings say, and write everything into a run folder.

    The folder holds `README.md`, `config.json`, `results.json`, pictures, and of each run `metrics.csv`,
    `model.json` (how features are made, and names), `split.csv` and `context.pt` if items have names,
    `best.pt` and `last.pt`; of several runs, each has these in its own folder, `seed-N`, `fold-N` or
    `seed-N-fold-N`.

    Args:
        settings: what to do; of a resumed run, those of its folder with changes of `data`, `device`,
            `epochs`, `log` or `pictures` only; by default exactly those.
        out: the run folder, which must be new or empty; by default a new one under `runs/`.
        resume: a run folder to go on with; the numbers are those of a run without a break.
        draw: whether to draw the pictures; `"pdf"` and `"svg"` draw them so, True is `"png"`; by default as
            `settings.pictures` says.
        listener: its methods are called as the run goes on.
        anyway: resume although settings or data are not those of the checkpoint, with a warning.

    Raises:
        RunError, DataError: something cannot be used or written, in one sentence.
        KeyboardInterrupt: Ctrl-C, SIGTERM or SIGHUP, after a checkpoint is written.

    >>> import tempfile
    >>> from mpnn.train import preset
    >>> with tempfile.TemporaryDirectory() as home:
    ...     report = train(preset("gcn", dataset="karate", epochs=50), out=home, draw=False)
    >>> report.results[0].history[49]["epoch"]
    50
    """
    listener = listener or Listener()
    picture_format(draw)
    if resume is not None and out is not None:
        raise RunError(f"out is {str(out)!r}, but a resumed run stays in its folder {str(resume)!r}")
    with ExitStack() as during:
        if resume is not None:
            home = Path(resume)
            before = during.enter_context(folder.resumed(home, Settings))
            fixed = ("epochs",) if before.schedule == "cosine" else ()  # they decide every learning rate
            may_change = [name for name in MAY_CHANGE if name not in fixed]
            settings = folder.continued(before, settings, home, may_change)
        settings = settings or Settings()
        ending = picture_format(draw, settings.pictures)
        check_log(settings.log)
        data, task = prepare(settings)
        during.enter_context(_own_random_numbers(task.device))
        model, first = build_model(settings, task), task  # a model that cannot be built leaves no folder
        watched_metric(settings, task)
        weights = {} if resume is not None and _all_begun(settings, home) else first_weights(model, settings)
        content = {CONTENT: fingerprint(data)}
        if resume is None:
            home = during.enter_context(folder.new_folder(settings, None if out is None else Path(out)))
        else:
            _check_all(settings, home, content, anyway)
        listener.opened(home)
        results = []
        for number, (one, place) in enumerate(runs_of(settings, home)):
            task = task if number == 0 else make_task(one, data)
            part = _Part(one, settings, place, home, resume is not None, anyway, weights)
            results.append(_run(part, task, data, content, listener))
        if settings.shared_epoch:
            results = with_shared_epoch(results, settings.folds or 1, watched_metric(settings, task))
        report = Report(settings, results, home, task.metrics)
        write_results(report)
        write_card(report, first, model)
        if ending is not None:
            _draw(report, ending)
    return report


class _Part(NamedTuple):
    """One of the single runs: its settings and folder, those of the whole, and how it begins."""

    settings: Settings
    of_all: Settings
    place: Path
    home: Path
    resume: bool
    anyway: bool
    weights: Mapping[str, Tensor]


def _all_begun(settings: Settings, home: Path) -> bool:
    """Whether each of the single runs has a checkpoint, which has the weights that it goes on from."""
    return all((place / LAST).exists() for _, place in runs_of(settings, home))


def _check_all(settings: Settings, home: Path, content: dict[str, Any], anyway: bool) -> None:
    """Refuse to go on with a run before anything in its folder has changed."""
    for one, place in runs_of(settings, home):
        if place != home and place.is_symlink():
            folder.inside(place, home)
        if (place / LAST).exists():
            last = read_last(place / LAST, identity_of(one) | content, anyway=anyway)
            if len(last["history"]) > settings.epochs:
                raise RunError(
                    f"epochs is {settings.epochs}, but the run in {place} has done {len(last['history'])} "
                    "already"
                )


def _draw(report: Report, ending: str) -> None:
    """Draw the pictures of a run that is done: what goes wrong here is a warning."""
    settings, home = report.settings, report.folder
    with failing_is_a_warning("the pictures"):
        _, place = next(runs_of(settings, home))
        model, task, _ = load_model(place, settings.device)
        shown = Shown(
            report=str(report),
            model_name=settings.model,
            seed=settings.seed,
            dropout=settings.dropout,
            results=report.results,
            model=model,
            task=task,
        )
        draw_run(home, kind_called(settings.task).pictures, shown, ending)


def prepare(settings: Settings) -> tuple[Dataset, SupervisedTask]:
    """Return the data of a run, on its device, and the task that its first seed makes of it."""
    data = load_data(settings).to(find_device(settings.device))
    task = make_task(settings, data)
    given = data.edge_attr if isinstance(data, NodeDataset | GraphDataset) else None
    left_out = given is not None and task.edge_dim is None and task.data.edge_attr is None
    if settings.dataset not in DATASETS and left_out:
        conv = CONVS.get(settings.model)
        able = ", ".join(name for name, one in CONVS.items() if "edge_attr" in one.edge_inputs)
        weigh = (
            "; what weighs edges, name by edge_weight" if conv and "edge_weight" in conv.edge_inputs else ""
        )
        warnings.warn(
            f"{settings.model} reads no features of edges, so those of {data.name} are left out; "
            f"{able} do{weigh}",
            stacklevel=2,
        )
    return data, task


def _run(
    part: _Part, task: SupervisedTask, data: Dataset, content: dict[str, Any], listener: Listener
) -> Result:
    settings, home = part.settings, folder.inside(part.place, part.home)
    folder.sweep(home)
    torch.manual_seed(settings.seed)
    model = build_model(settings, task)
    begin(model, settings, part.weights)
    listener.started(settings, task, model)

    logs: list[Log] = []

    def ready() -> None:
        """Write what decides the numbers, now that a checkpoint of something else has been refused."""
        folder.write_config(part.home, part.of_all)
        folder.write_config(home, settings)
        write_memory(home, task, data)
        logs.append(open_log(settings, home))

    def on_epoch(row: Row) -> None:
        for log in logs:
            log.row(row)
        listener.epoch(row)

    result = fit(
        model,
        task,
        settings,
        folder=home,
        resume=part.resume and (home / LAST).exists(),
        identity=identity_of(settings) | content | joined(task.kept),
        anyway=part.anyway,
        ready=ready,
        on_epoch=on_epoch,
    )
    for log in logs:
        log.close()
    listener.finished(result)
    return result


def load_model(
    run: str | Path, device: str = "auto", data: str | Path | None = None, *, anyway: bool = False
) -> tuple[nn.Module, SupervisedTask, Settings]:
    """Return the best model of a run folder, the task that it was trained for, and its settings.

    Args:
        run: the folder.
        device: where to put it.
        data: the folder with the data's files, if they are no longer where they were.
        anyway: warn, in place of raising, where settings, names or data are not those of the checkpoint.

    Raises:
        RunError, DataError: the folder holds no such thing, or what is joined to the checkpoint is another.
    """
    settings = folder.read_config(Path(run))
    dataset = load_data(settings, data).to(find_device(device))
    path = Path(run) / BEST
    state = checkpoint.load(path)
    kept = _kept(Path(run), settings, dataset, anyway)
    check_joined(path, state, identity_of(settings), kept, anyway=anyway)
    with _own_random_numbers(find_device(device)):
        task = make_task(settings, dataset, kept)
        model = build_model(settings, task)
    load_checkpoint(model, state, path, settings.model)
    return model, task, settings


def _kept(run: Path, settings: Settings, data: Dataset, anyway: bool) -> Kept | None:
    """What the run keeps; None for a run of mpnn 0.1, which kept nothing, and whose parts are drawn again."""
    if (run / MODEL).exists() or settings.features == "standard":
        return read_memory(run, data, anyway=anyway)
    warnings.warn(
        f"the run in {run} is of mpnn 0.1, which did not keep what each item was for: the parts are drawn "
        f"again, which is right only if {data.name} has not changed since",
        stacklevel=3,
    )
    return None


def load_data(settings: Settings, data: str | Path | None = None) -> Dataset:
    """Return the data set of a run, from another folder if it is no longer where it was."""
    read = kind_called(settings.task).read
    place = settings.data if data is None else data
    return load(settings.dataset, place, settings.columns, read=read)


@contextmanager
def _own_random_numbers(device: torch.device) -> Iterator[None]:
    """Leave the caller's random numbers as they were."""
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        yield
