"""`mpnn predict`: what the model of a run says of its items, of new nodes, or of links that are missing."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import pandas as pd
import torch

from mpnn.datasets.tables import PARQUET
from mpnn.train.command import say
from mpnn.train.errors import RunError
from mpnn.train.fitting import checkpoint
from mpnn.train.runs.folder import read_config
from mpnn.train.runs.masks import write_masks
from mpnn.train.runs.report import runs_of
from mpnn.train.runs.run import load_model
from mpnn.train.runs.trained import load

NEW, MISSING = ("nodes", "dataset", "features_file"), ("for", "top")
TAKEN = {
    "node": NEW,
    "edge": MISSING,
    "graph": ("nodes", "graphs"),
    "image": ("images",),
    "memory": ("images",),
    "segment": ("images",),
}
FLAGS = {name for names in TAKEN.values() for name in names}


def predict(arguments: dict[str, Any]) -> int:
    """Write the predictions of the best model of a run."""
    output, home = Path(arguments["output"]), Path(arguments["run"])
    settings = read_config(home)
    places = [place for _, place in runs_of(settings, home)]
    if places != [home]:
        raise RunError(f"{home} holds {len(places)} runs: predict with one of them, such as {places[0]}")
    if settings.task == "segment" and "images" in arguments:
        for name in sorted(FLAGS & {*arguments} - {"images"}):
            raise RunError(
                f"{name} is {arguments[name]!r}, but for segment tasks new data is given by images"
            )
        trained = load(home, arguments.get("device", "auto"), anyway=arguments.get("anyway", False))
        classes, names = trained.masks(arguments["images"])
        write_masks(output, classes, names)
        said = f"What {settings.model} says of {len(names)} images is written to {output}, a mask for each"
        say.console().print(said, markup=False, soft_wrap=True)
        return 0
    text, what = _answers(home, arguments)
    checkpoint.write_output(output, _parquet(text, output) if output.suffix in PARQUET else text.encode())
    say.console().print(
        f"What {settings.model} says of {what} is written to {output}", markup=False, soft_wrap=True
    )
    return 0


def _answers(home: Path, arguments: dict[str, Any]) -> tuple[str, str]:
    """The text of a CSV file, and what it is about."""
    device, anyway = arguments.get("device", "auto"), arguments.get("anyway", False)
    if not FLAGS & {*arguments}:
        model, task, _ = load_model(home, device, arguments.get("data"), anyway=anyway)
        with torch.no_grad():
            return task.answers(model), task.data.name
    if "data" in arguments:
        raise RunError(f"data is {arguments['data']!r}, but this needs none of the run's data: leave it out")
    trained = load(home, device, anyway=anyway)
    if not {*MISSING} & {*arguments}:
        kind = trained.settings.task
        for name in sorted(FLAGS & {*arguments} - {*TAKEN.get(kind, ())}):
            known = " and ".join(TAKEN.get(kind, ())) or "no flag"
            raise RunError(
                f"{name} is {arguments[name]!r}, but for {kind} tasks new data is given by {known}"
            )
        if kind == "graph" and "graphs" not in arguments:
            raise RunError(
                f"nodes is {arguments['nodes']!r}, but graphs is not given: the table of their edges"
            )
        said = trained.predict(*map(arguments.get, TAKEN[kind]))
        return _csv(said), f"{len(said)} {kind}s"
    for name in (*NEW, "graphs", "images"):
        if name in arguments:
            raise RunError(f"{name} is {arguments[name]!r}, but missing links are those of the run")
    if "for" not in arguments:
        raise RunError(f"top is {arguments['top']}, but for is not given: whose links are missing")
    names = [name.strip() for name in arguments["for"].split(",")]
    said = trained.missing_links(names, arguments.get("top", 20))
    return _csv(said), f"{len(said)} links that are missing"


def _csv(said: pd.DataFrame) -> str:
    text: str = said.to_csv(index=False, lineterminator="\n")
    return text


def _parquet(text: str, output: Path) -> bytes:
    """The table of a CSV file as Parquet; names stay text."""
    names = dict.fromkeys(("node", "source", "target", "graph", "image"), str)
    try:
        written: bytes = pd.read_csv(io.StringIO(text), dtype=names).to_parquet(index=False)
    except ImportError:
        raise RunError(f"output is {str(output)!r}, which pyarrow writes: install it, or take .csv") from None
    return written
