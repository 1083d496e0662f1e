"""`mpnn export`: the model of a run as a file that runs without mpnn."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from mpnn.train.choices import PORTABLE
from mpnn.train.command import say
from mpnn.train.errors import RunError
from mpnn.train.portable.export import write_file
from mpnn.train.runs.folder import read_config
from mpnn.train.runs.report import runs_of
from mpnn.train.runs.trained import load


def run(flags: dict[str, Any]) -> int:
    """Do what the flags say."""
    home, to = Path(flags["run"]), flags["to"]
    places = [place for _, place in runs_of(read_config(home), home)]
    if places != [home]:
        raise RunError(f"{home} holds {len(places)} runs: export one of them, such as {places[0]}")
    path = Path(flags.get("output", home / f"model{PORTABLE[to]}"))
    one = load(home).portable()
    write_file(one, path, to)
    table = say.table("takes", "type", "shape", "what")
    for given in one.inputs:
        table.add_row(given.name, given.dtype, f"[{', '.join(map(str, given.shape))}]", given.about)
    console = say.console()
    console.print(f"The model is written to {path}", markup=False, soft_wrap=True)
    console.print(table)
    console.print(f"It gives {', '.join(one.outputs)}: {one.facts['scores']}.", markup=False, soft_wrap=True)
    return 0
