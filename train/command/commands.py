"""What `mpnn` does besides training: lists, information, and the use of a trained model."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from mpnn.datasets import DATASETS
from mpnn.train.command import cache_command, info, say
from mpnn.train.kinds.registry import KINDS
from mpnn.train.runs.embed_settings import MODELS as EMBEDDINGS
from mpnn.train.runs.folder import read_config
from mpnn.train.runs.report import runs_of
from mpnn.train.runs.run import load_model


def list_datasets(arguments: dict[str, Any]) -> int:
    """Print every data set by name."""
    table = say.table("name", "tasks", "files", "what")
    for name, entry in DATASETS.items():
        tasks = ", ".join(kind.name for kind in KINDS.values() if kind.suits(entry))
        table.add_row(name, tasks, "yes" if entry.reads_files else "none", entry.about)
    say.console().print(table)
    return 0


def list_models(arguments: dict[str, Any]) -> int:
    """Print every model by name, and for which tasks it is."""
    table = say.table("name", "tasks", "what")
    about: dict[tuple[str, str], list[str]] = {}
    for kind in KINDS.values():
        for item in kind.models().items():
            about.setdefault(item, []).append(kind.name)
    about |= {item: ["embed"] for item in EMBEDDINGS.items()}
    for (name, line), tasks in about.items():
        table.add_row(name, ", ".join(tasks), line)
    say.console().print(table)
    return 0


def print_info(arguments: dict[str, Any]) -> int:
    """Print versions, devices and backends, each with a short self-test; 1 if one gives wrong numbers."""
    if arguments.get("cache"):
        return cache_command.show()
    tests = info.self_test()
    rows = [*info.facts(), *((f"backend {name}", verdict) for name, verdict in tests.items())]
    say.console().print(say.pairs(rows))
    return 0 if all(verdict.startswith("ok") for verdict in tests.values()) else 1


def evaluate(arguments: dict[str, Any]) -> int:
    """Print the metrics of the best model of each run of a folder."""
    home = Path(arguments["run"])
    settings = read_config(home)
    console, single = say.console(), list(runs_of(settings, home))
    for one, place in single:
        model, task, _ = load_model(
            place,
            arguments.get("device", "auto"),
            arguments.get("data"),
            anyway=arguments.get("anyway", False),
        )
        scores = task.evaluate(model)
        names = "" if len(single) == 1 else f" ({place.name})"
        table = say.table("part", task.item + "s", *(metric.title for metric in task.metrics))
        for part, where in task.split._asdict().items():
            if not len(where):
                continue
            values = (metric.text(scores[f"{part}_{metric.name}"]) for metric in task.metrics)
            table.add_row(part, str(len(where)), *values)
        console.print(
            f"{one.model} on {Path(one.dataset).name}{names}: validation loss {scores['val_loss']:.4f}",
            markup=False,
        )
        console.print(table)
    return 0
