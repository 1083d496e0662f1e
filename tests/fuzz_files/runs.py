"""Formats of runs: settings, what a run keeps, and checkpoints."""

from __future__ import annotations

import contextlib
import json
import shutil
import tempfile
import warnings
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

from mpnn.train import EmbedSettings, embed, list_runs, load, preset, train
from mpnn.train.runs.folder import read_settings_file
from mpnn.train.runs.memory import CONTEXT, MODEL, SPLIT
from tests.fuzz_files.format import Format
from tests.fuzz_files.graphs import edges, nodes

CONFIG = "task = 'node'\nepochs = 7\nlr = 0.01\nmodel = 'gcn'\nhidden = 16\n"


@cache
def _trained(task: str) -> Path:
    """A run, made once in this process."""
    home = Path(tempfile.mkdtemp())
    with warnings.catch_warnings(), contextlib.chdir(home):
        warnings.simplefilter("ignore")
        edges().to_csv("net.csv", index=False)
        nodes().to_csv("nodes.csv", index=False)
        if task == "embed":
            embed(EmbedSettings(walks=3, length=5, dimensions=4), home / "run", draw=False)
        else:
            own: dict[str, Any] = {
                "dataset": "net.csv",
                "nodes": "nodes.csv",
                "label": "team",
                "part": "part",
            }
            train(preset("gcn", task=task, epochs=3, hidden=4, **own), home / "run", draw=False)
    return home


def _run(task: str) -> Callable[[Path], None]:
    def make(folder: Path) -> None:
        shutil.copytree(_trained(task), folder, dirs_exist_ok=True)

    return make


def _read_run(folder: Path) -> Any:
    model = load(folder / "run")
    return [model.settings, model.kept, model.model, model.known, model.predict()]


def _resume(folder: Path) -> Any:
    return train(resume=folder / "run", draw=False).results


def _resume_embed(folder: Path) -> Any:
    return embed(resume=folder / "run", draw=False).vectors


def _toml(folder: Path) -> None:
    (folder / "settings.toml").write_text(CONFIG)
    (folder / "settings.json").write_text(json.dumps({"task": "node", "epochs": 7, "hidden": 16}, indent=1))


OF_RUNS = [
    Format("config.json", "run/config.json", _run("node"), _read_run),
    Format(
        "settings.toml",
        "settings.toml",
        _toml,
        lambda folder: read_settings_file(folder / "settings.toml", "node"),
    ),
    Format(
        "settings.json",
        "settings.json",
        _toml,
        lambda folder: read_settings_file(folder / "settings.json", "node"),
    ),
    *(Format(name, f"run/{name}", _run("node"), _read_run) for name in (MODEL, SPLIT)),
    *(Format(name, f"run/{name}", _run("node"), _read_run, True) for name in (CONTEXT, "best.pt")),
    Format("last.pt", "run/last.pt", _run("node"), _resume, True),
    Format("embed last.pt", "run/last.pt", _run("embed"), _resume_embed, True),
    Format("results.json", "run/results.json", _run("node"), lambda folder: list_runs(folder)),
]
