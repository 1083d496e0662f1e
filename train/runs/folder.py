"""The folder of a run: where it is, what is in it, and whether it may be written."""

from __future__ import annotations

import fcntl
import itertools
import os
import tomllib
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

from mpnn import files
from mpnn.train.errors import RunError
from mpnn.train.fitting.checkpoint import write
from mpnn.train.kinds.registry import KINDS
from mpnn.train.record import Record, checked_values
from mpnn.train.runs.embed_settings import EmbedSettings
from mpnn.train.runs.settings import Settings

R = TypeVar("R", bound=Record)
CONFIG, RESULTS = "config.json", "results.json"


@contextmanager
def new_folder(settings: Settings | EmbedSettings, out: Path | None) -> Iterator[Path]:
    """Make and hold the folder `out`, else a new one under `runs/` that is called after the settings.

    The settings are the first file in it.

    Raises:
        RunError: it cannot be made, another run has it, or it holds something already.
    """
    stem = f"{settings.task}-{Path(settings.dataset).name.split('.')[0]}-{settings.model}"
    with empty_folder(stem, out) as home:
        write_config(home, settings)
        yield home


@contextmanager
def empty_folder(stem: str, out: Path | None) -> Iterator[Path]:
    """Make and hold the folder `out`, else a new one under `runs/` whose name begins so.

    Raises:
        RunError: it cannot be made, another run has it, or it holds something already.
    """
    try:
        if out is None:
            out = _numbered(Path("runs"), stem)
        else:
            out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise RunError(f"run folder {out} cannot be made: {error.strerror}") from error
    with held(out):
        if not all(map(files.is_draft, out.iterdir())):
            raise RunError(f"run folder {out} is not empty: resume the run in it, or name another folder")
        yield out


def _numbered(parent: Path, stem: str) -> Path:
    """Make the first folder that is not there yet; another process that does so at once makes the next."""
    parent.mkdir(parents=True, exist_ok=True)
    for number in itertools.count(1):
        try:
            (made := parent / (f"{stem}-{number}" if number > 1 else stem)).mkdir()
        except FileExistsError:
            continue
        return made
    raise AssertionError("numbers do not end")


@contextmanager
def held(folder: Path) -> Iterator[None]:
    """Keep other processes from running in a folder meanwhile: each would overwrite the other's files.

    What a run that was killed had not finished is removed.

    Raises:
        RunError: another process has it.
    """
    try:
        place = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    except OSError as error:
        raise RunError(f"run folder {folder} cannot be opened: {error.strerror}") from error
    try:
        try:
            fcntl.flock(place, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise RunError(
                f"another run is writing into {folder}: wait for it, or name another folder"
            ) from None
        except OSError:
            pass  # some file systems know no locks
        sweep(folder)
        yield
    finally:
        os.close(place)


@contextmanager
def resumed(folder: Path, kind: type[R]) -> Iterator[R]:
    """Hold the folder of a run that goes on, and return its settings.

    Raises:
        RunError: it holds no run, or another process has it.
    """
    if not (folder / CONFIG).exists():
        raise RunError(f"{folder} holds no run: {folder / CONFIG} does not exist")
    with held(folder):
        yield read_record(folder, kind)


def inside(folder: Path, home: Path) -> Path:
    """Make a folder that is a run's own, or the run's itself.

    Raises:
        RunError: it cannot be made, or is a link: what is written into it would be elsewhere.
    """
    if folder != home and folder.is_symlink():
        raise RunError(
            f"{folder} is a link to {folder.readlink()}, but should be a folder: a run writes into its own"
        )
    try:
        folder.mkdir(exist_ok=True)
    except OSError as error:
        raise RunError(f"run folder {folder} cannot be made: {error.strerror}") from error
    return folder


def sweep(folder: Path) -> None:
    """Remove what runs that were killed had not finished."""
    try:
        files.sweep(folder)
    except OSError as error:
        raise RunError(f"run folder {folder} cannot be tidied: {error.strerror}") from error


def write_config(folder: Path, settings: Record) -> None:
    """Write the settings that reproduce a run, unless they are there."""
    content = settings.to_json().encode()
    if not (folder / CONFIG).is_file() or files.read(folder / CONFIG, RunError) != content:
        write(folder / CONFIG, content)


def read_config(folder: Path) -> Settings:
    """Read the settings of a run that trained a model; raises as `read_record` does."""
    return read_record(folder, Settings)


def read_record(folder: Path, kind: type[R]) -> R:
    """Read the settings of a run.

    Raises:
        RunError: the folder holds no run, or its settings are damaged.
    """
    path = folder / CONFIG
    if not path.exists():
        raise RunError(f"{folder} holds no run: {path} does not exist")
    values = files.read_json(path, RunError)
    task = values.get("task")
    if task == "embed" and kind is Settings:
        raise RunError(f"{folder} is a run of mpnn train embed, which makes vectors of nodes and no model")
    if task in KINDS and kind is not Settings:
        raise RunError(f"{folder} is a run of mpnn train {task}, not of embed")
    try:
        return kind.from_dict(values)
    except RunError as error:
        raise RunError(f"{path} cannot be used: {error}") from error


def continued(before: R, after: R | None, folder: Path, may_change: Collection[str]) -> R:
    """Return the settings of a resumed run, by default those that it had.

    Args:
        before: what the folder holds.
        after: what is asked for.
        folder: for sentences.
        may_change: names of settings that may differ; all others decide the run's numbers.

    Raises:
        RunError: another setting differs.
    """
    if after is None:
        return before
    asked = after.flat()
    for name, value in before.flat().items():
        if name not in may_change and asked[name] != value:
            raise RunError(
                f"{name} is {asked[name]!r}, but the run in {folder} has {value!r}: a resumed run may "
                f"change only {', '.join(may_change)}"
            )
    return after


def read_settings_file(path: Path, task: str, kind: type[Record] = Settings) -> dict[str, Any]:
    """Read settings from a TOML file, or from the `config.json` of a run.

    Raises:
        RunError: it cannot be read, or holds something that is no setting, or settings of another task.
    """
    try:
        text = files.read(path, RunError).decode()
        values = files.read_json(path, RunError) if path.suffix == ".json" else tomllib.loads(text)
        given = checked_values(values, kind)
    except (ValueError, RecursionError) as error:
        raise RunError(f"config {path} cannot be read: {error}") from error
    except RunError as error:
        raise RunError(f"config {path} cannot be used: {error}") from error
    if given.get("task", task) != task:
        raise RunError(
            f"config {path} is of task {given['task']!r}, not {task!r}: mpnn train {given['task']}"
        )
    return given
