"""All runs below a folder, as a table."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas as pd

from mpnn import files
from mpnn.train.errors import RunError
from mpnn.train.runs.folder import CONFIG, RESULTS

COLUMNS = ("run", "task", "dataset", "model", "metric", "mean", "std", "runs")


def list_runs(home: str | Path = "runs") -> pd.DataFrame:
    """Return a row for each run folder below a folder, by name.

    The columns are `run`, `task`, `dataset`, `model`; `metric`, the one that runs are summed up by, with its
    `mean` and `std` over the single `runs`, empty while a run goes on; then every other setting by its name.

    Args:
        home: the folder, whose runs may lie at any depth; those of several seeds or folds are one run.

    Raises:
        RunError: there is no such folder, or no run in it.
    """
    home = Path(home)
    if not home.is_dir():
        raise RunError(f"{home} does not exist: it should be a folder that holds runs")
    rows = [_row(home, place) for place in _folders(home)]
    if not rows:
        raise RunError(f"{home} holds no run: none of its folders holds a {CONFIG}")
    frame = pd.DataFrame(rows)
    return frame[[*COLUMNS, *(name for name in frame.columns if name not in COLUMNS)]]


def _folders(home: Path) -> Iterator[Path]:
    """The folders of runs; what is inside one is its own."""
    if (home / CONFIG).is_file():
        yield home
        return
    for place in sorted(home.iterdir()):
        if place.is_dir() and not place.is_symlink():
            yield from _folders(place)


def _row(home: Path, place: Path) -> dict[str, Any]:
    settings = files.read_json(place / CONFIG, RunError)
    settings |= settings.pop("columns", {})
    row: dict[str, Any] = {
        "run": str(place.relative_to(home)),
        "dataset": Path(str(settings.pop("dataset", ""))).name,
    }
    row |= dict.fromkeys(("metric", "mean", "std"))
    if (place / RESULTS).is_file():
        results = files.read_json(place / RESULTS, RunError)
        metric = next((name for name, value in results.items() if isinstance(value, dict)), None)
        if metric is not None and metric != "splits":
            row |= {"metric": metric, "mean": results[metric].get("mean"), "std": results[metric].get("std")}
        row["runs"] = len(results.get("runs", [None]))
    return settings | {"runs": settings.get("runs", 1)} | row
