"""What a run keeps besides its weights, as files: `model.json`, and `split.csv` where items have names."""

from __future__ import annotations

import csv
import io
import json
import warnings
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch

from mpnn import __version__, files
from mpnn.datasets import Dataset
from mpnn.train.errors import RunError
from mpnn.train.fitting.checkpoint import save, write
from mpnn.train.fitting.identity import CLASSES, CONTENT, FEATURES, changed_parts, insist
from mpnn.train.inputs.preparation import Preparation
from mpnn.train.runs.fingerprint import fingerprint, fingerprint_by_name
from mpnn.train.runs.settings import Settings
from mpnn.train.tasks.kept import PART, Items, Kept
from mpnn.train.tasks.shape import Shape
from mpnn.train.tasks.split import Split
from mpnn.train.tasks.task import SupervisedTask

VERSION = 1  # of these files
MODEL, SPLIT, CONTEXT = "model.json", "split.csv", "context.pt"
BY_NAME = "content_by_name"
# What a resumed run may change; everything else decides its numbers.
MAY_CHANGE = ("data", "device", "epochs", "log", "pictures")
PLACES = ("dataset", "nodes", "features_file", "graph_labels")  # files may move: their content is compared


def write_memory(home: Path, task: SupervisedTask, data: Dataset) -> None:
    """Write what must be known to use the model of a run again."""
    kept = task.kept
    values = {
        "version": VERSION,
        "versions": {"mpnn": __version__, "torch": str(torch.__version__)},
        CONTENT: fingerprint(data),
        BY_NAME: fingerprint_by_name(data),
        "learns": kept.learns,
        "class_names": kept.class_names,
        "shape": asdict(kept.shape),
        "preparation": kept.preparation.to_dict(),
    }
    write(home / MODEL, (json.dumps(values, indent=2) + "\n").encode())
    if kept.items is not None:
        text = io.StringIO()
        table = csv.writer(text, lineterminator="\n")
        table.writerow(kept.items)
        table.writerows(zip(*kept.items.values(), strict=True))
        write(home / SPLIT, text.getvalue().encode())
    graph = task.known_graph()
    if graph is not None:
        save(home / CONTEXT, graph)


def read_memory(home: Path, data: Dataset | None = None, *, anyway: bool = False) -> Kept:
    """Read what a run keeps.

    Args:
        home: its folder.
        data: what the model is to be used on. If it is not what the model was trained on, its items are
            recognised by their names, of which a warning tells.
        anyway: use data without names that has changed, with a warning; its parts are drawn again.

    Raises:
        RunError: the files are missing or damaged; or the data has changed, and its items have no names.
    """
    values = _read_json(home)
    try:
        kept = Kept(
            Preparation.from_dict(values["preparation"]),
            tuple(map(str, values["class_names"])),
            Shape.from_dict(values["shape"]),
            str(values["learns"]),
            _read_items(home / SPLIT) if (home / SPLIT).exists() else None,
        )
        content, by_name = values[CONTENT], values[BY_NAME]
    except (KeyError, TypeError) as error:
        raise RunError(f"{home / MODEL} is damaged: {error}") from error
    changed = "" if data is None else changed_parts(content, fingerprint(data))
    if data is None or not changed:
        return kept
    if kept.items is None:
        said = f"{data.name} is not what the run in {home} was trained on: {changed} changed since"
        if not anyway:
            raise RunError(
                f"{said}, and its items have no names to know them by; give the data of the run, or go on by "
                "--anyway"
            )
        warnings.warn(f"{said}; it is used anyway, and its parts are drawn again", stacklevel=3)
    elif changed := changed_parts(by_name, fingerprint_by_name(data)):
        warnings.warn(
            f"{data.name} has changed since the run in {home} was trained, in its {changed}: its items are "
            "known by name",
            stacklevel=3,
        )
    return kept


def identity_of(settings: Settings) -> dict[str, Any]:
    """The settings that decide a run's numbers, by name."""
    return {name: value for name, value in settings.flat().items() if name not in MAY_CHANGE}


def joined(kept: Kept) -> dict[str, Any]:
    """What a checkpoint holds of these files, so that it is not used with those of another run."""
    nodes = kept.preparation.nodes
    return {
        CLASSES: list(kept.class_names),
        FEATURES: [kept.shape.num_features] if nodes is None else list(nodes.features),
    }


def check_joined(
    path: Path, state: dict[str, Any], settings: dict[str, Any], kept: Kept | None, *, anyway: bool
) -> None:
    """Compare what a checkpoint is of with the files beside it.

    Args:
        path: the checkpoint.
        state: what it holds.
        settings: those of `config.json` that decide a run's numbers, by name.
        kept: what `model.json` holds; None without one.
        anyway: warn in place of raising.

    Raises:
        RunError: something is another.
    """
    theirs = state.get("settings")
    told = {name: value for name, value in settings.items() if name not in PLACES}
    insist(path, theirs, told, "in config.json", anyway=anyway)
    if kept is not None:
        insist(path, theirs, joined(kept), "in model.json", anyway=anyway)


def _read_json(home: Path) -> dict[str, Any]:
    path = home / MODEL
    if not path.exists():
        raise RunError(
            f"{path} does not exist, so what the model was trained on cannot be told: train it once more, or "
            f"go on with it by --resume {home}"
        )
    values = files.read_json(path, RunError)
    if values.get("version", VERSION) != VERSION:
        raise RunError(f"{path} is of version {values['version']}, but this mpnn reads version {VERSION}")
    return values


def _read_items(path: Path) -> Items:
    try:
        text = files.read(path, RunError).decode()
        rows = list(csv.reader(io.StringIO(text, newline="")))
    except (ValueError, csv.Error) as error:
        raise RunError(f"{path} cannot be read: {error}") from error
    if not rows or PART not in rows[0] or any(len(row) != len(rows[0]) for row in rows):
        raise RunError(f"{path} is damaged: it should hold a part for each item")
    items = {name: [row[k] for row in rows[1:]] for k, name in enumerate(rows[0])}
    if strange := {*items[PART]} - {*Split._fields}:
        raise RunError(f"{path} is damaged: it holds a part {min(strange)!r}")
    return items
