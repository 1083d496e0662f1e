"""`mpnn runs`: a table of all run folders, sorted and chosen by any setting."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd

from mpnn.datasets.problems import nearest
from mpnn.train.command import say
from mpnn.train.errors import RunError
from mpnn.train.fitting import checkpoint
from mpnn.train.runs.listing import COLUMNS, list_runs
from mpnn.train.tasks.metrics import METRICS, Metric


def run(flags: dict[str, Any]) -> int:
    """Do what the flags say."""
    frame = list_runs(flags["home"])
    shown = [*COLUMNS, *(name.strip() for name in flags.get("show", "").split(",") if name.strip())]
    for name in shown:
        _check("show", name, frame)
    for asked in flags.get("where", []):
        name, equal, value = asked.partition("=")
        if not equal:
            raise RunError(f"where is {asked!r}, but should be a name and a value, such as model=gcn")
        _check("where", name, frame)
        frame = frame[[_said(cell).lower() == value.lower() for cell in frame[name]]]
    if "sort" in flags:
        _check("sort", flags["sort"], frame)
        frame = _sorted(frame, flags["sort"])
    if "csv" in flags:
        checkpoint.write_output(Path(flags["csv"]), frame.to_csv(index=False, lineterminator="\n").encode())
    table = say.table(*(name for name in shown if name not in ("mean", "std")))
    for row in frame[shown].to_dict("records"):
        cells = {name: _said(cell) for name, cell in row.items()}
        cells["metric"] = _result(row)
        table.add_row(*(cell for name, cell in cells.items() if name not in ("mean", "std")))
    say.console().print(table)
    return 0


def _check(flag: str, name: str, frame: pd.DataFrame) -> None:
    if name not in frame:
        raise RunError(
            f"{flag} names {name!r}, which is no setting of these runs{nearest(name, frame.columns)}"
        )


def _sorted(frame: pd.DataFrame, name: str) -> pd.DataFrame:
    """The best or highest first; of a metric that should be low, the lowest."""
    if name != "mean":
        return frame.sort_values(name, ascending=False, kind="stable")
    sign = [-1 if isinstance(metric, str) and not _metric(metric).higher else 1 for metric in frame.metric]
    order = (frame["mean"].astype("float64") * sign).sort_values(ascending=False, kind="stable").index
    return frame.loc[order]


def _metric(name: str) -> Metric:
    """The metric whose name stands behind `test_` or `val_`."""
    return METRICS.get(name.partition("_")[2], METRICS.get(name, METRICS["accuracy"]))


def _result(row: dict[Any, Any]) -> str:
    if not isinstance(row["metric"], str):
        return "not finished"
    text = _metric(row["metric"]).text(row["mean"], row["std"] if row["runs"] > 1 else None)
    return f"{row['metric']} {text}"


def _said(cell: object) -> str:
    """A setting as a cell of the table; nothing if it is not set."""
    if cell is None or (isinstance(cell, float) and cell != cell):
        return ""
    return str(int(cell)) if isinstance(cell, float) and cell.is_integer() else str(cell)
