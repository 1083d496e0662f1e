"""A whole run, or several: data, model, training, pictures, all into one folder."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch
from torch import nn

from mpnn.datasets import DATASETS, Dataset, GraphDataset, NodeDataset, load
from mpnn.models import CONVS
from mpnn.train.errors import RunError
from mpnn.train.fitting import checkpoint
from mpnn.train.fitting.loop import Result, fit, watched_metric
from mpnn.train.fitting.state import BEST, CONTENT, LAST, Row
from mpnn.train.kinds.registry import kind_called
from mpnn.train.pictures.of_a_run import Shown, draw_run
from mpnn.train.pictures.style import picture_format
from mpnn.train.runs import folder
from mpnn.train.runs.build import build_model, find_device, make_task
from mpnn.train.runs.card import write_card
from mpnn.train.runs.fingerprint import fingerprint
from mpnn.train.runs.logs import check_log, open_log
from mpnn.train.runs.memory import MODEL, read_memory, write_memory
from mpnn.train.runs.report import Report, runs_of, with_shared_epoch, write_results
from mpnn.train.runs.settings import Settings
from mpnn.train.runs.unit import load_weights
from mpnn.train.tasks.kept import Kept
from mpnn.train.tasks.task import SupervisedTask

# What a resumed run may change; everything else decides its numbers.
MAY_CHANGE = ("data", "device", "epochs", "log", "pictures")


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
    picture_format(draw)
    if resume is not None:
        if out is not None:
            raise RunError(f"out is {str(out)!r}, but a resumed run stays in its folder {str(resume)!r}")
        home = Path(resume)
        before = folder.read_config(home)
        fixed = ("epochs",) if before.schedule == "cosine" else ()  # they decide every learning rate
        may_change = [name for name in MAY_CHANGE if name not in fixed]
        settings = folder.continued(before, settings, home, may_change)
    settings = settings or Settings()
    ending = picture_format(draw, settings.pictures)
    check_log(settings.log)
    data, task = prepare(settings)
    device = task.device
    with _own_random_numbers(device):
        model, first = build_model(settings, task), task  # a model that cannot be built leaves no folder
        watched_metric(settings, task)
        if resume is None:
            home = folder.new_folder(settings, None if out is None else Path(out))
        with folder.held(home):
            listener.opened(home)
            results, content = [], fingerprint(data)
            for number, (one, place) in enumerate(runs_of(settings, home)):
                task = task if number == 0 else make_task(one, data)
                results.append(_run(one, task, data, content, place, resume is not None, listener))
            if settings.shared_epoch:
                results = with_shared_epoch(results, settings.folds or 1, watched_metric(settings, task))
            report = Report(settings, results, home, task.metrics)
            write_results(report)
            write_card(report, first, model)
            if ending is not None:
                _, place = next(runs_of(settings, home))
                model, task, _ = load_model(place, settings.device)
                shown = Shown(
                    report=str(report),
                    model_name=settings.model,
                    seed=settings.seed,
                    dropout=settings.dropout,
                    results=results,
                    model=model,
                    task=task,
                )
                draw_run(home, kind_called(settings.task).pictures, shown, ending)
    return report


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
    settings: Settings,
    task: SupervisedTask,
    data: Dataset,
    content: str,
    home: Path,
    resume: bool,
    listener: Listener,
) -> Result:
    folder.write_config(home, settings)
    if not resume:
        write_memory(home, task, data)
    torch.manual_seed(settings.seed)
    model = build_model(settings, task)
    listener.started(settings, task, model)
    log = open_log(settings, home)

    def on_epoch(row: Row) -> None:
        log.row(row)
        listener.epoch(row)

    result = fit(
        model,
        task,
        settings,
        folder=home,
        resume=resume and (home / LAST).exists(),
        identity={name: value for name, value in settings.flat().items() if name not in MAY_CHANGE}
        | {CONTENT: content},
        on_epoch=on_epoch,
    )
    log.close()
    if resume:  # only now: data that has changed since is refused in between
        write_memory(home, task, data)
    listener.finished(result)
    return result


def load_model(
    run: str | Path, device: str = "auto", data: str | Path | None = None
) -> tuple[nn.Module, SupervisedTask, Settings]:
    """Return the best model of a run folder, the task that it was trained for, and its settings.

    Args:
        run: the folder.
        device: where to put it.
        data: the folder with the data's files, if they are no longer where they were.

    Raises:
        RunError, DataError: the folder holds no such thing.
    """
    settings = folder.read_config(Path(run))
    dataset = load_data(settings, data).to(find_device(device))
    path = Path(run) / BEST
    state = checkpoint.load(path)
    kept = _kept(Path(run), settings, dataset)
    with _own_random_numbers(find_device(device)):
        task = make_task(settings, dataset, kept)
        model = build_model(settings, task)
    try:
        load_weights(model, state["model"])
    except (KeyError, RuntimeError) as error:
        raise RunError(f"{path} is not a checkpoint of {settings.model} with these settings") from error
    return model, task, settings


def _kept(run: Path, settings: Settings, data: Dataset) -> Kept | None:
    """What the run keeps; None for a run of mpnn 0.1, which kept nothing, and whose parts are drawn again."""
    if (run / MODEL).exists() or settings.features == "standard":
        return read_memory(run, data)
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
