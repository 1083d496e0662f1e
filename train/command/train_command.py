"""`mpnn train`: settings from flags and files, a run, its progress and its summary."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from mpnn.train.command import sweep_command
from mpnn.train.command.display import Display
from mpnn.train.command.flags import absolute_paths, taken_anyway, with_pictures
from mpnn.train.errors import RunError
from mpnn.train.runs.folder import read_config, read_settings_file
from mpnn.train.runs.presets import settings_of
from mpnn.train.runs.run import train


def run(flags: dict[str, Any]) -> int:
    """Do what the flags say."""
    out, resume, config = (flags.pop(name, None) for name in ("out", "resume", "config"))
    anyway = taken_anyway(flags, resume)
    flags = with_pictures(absolute_paths(flags))
    if resume is not None and config is not None:
        raise RunError(f"config is {config!r}, but a resumed run has its own: leave it out")
    if resume is not None and sweep_command.is_sweep(resume):
        if anyway:
            raise RunError(f"anyway is given, but {resume} holds many runs: resume one of them")
        return sweep_command.resume(flags, resume)
    if resume is None:
        given = {} if config is None else read_settings_file(Path(config), flags["task"])
        flags = _flat(given) | flags
        if sweep_command.wants_sweep(flags):
            return sweep_command.run(flags, out)
        settings = settings_of(flags)
    else:
        if sweep_command.wants_sweep(flags):
            raise RunError(
                f"{resume} is one run, which goes on as it was: leave out --tune and several values"
            )
        settings = read_config(Path(resume)).changed(flags)
    with Display(settings.num_runs) as display:
        try:
            report = train(settings, out, resume=resume, listener=display, anyway=anyway)
        except KeyboardInterrupt:
            if display.folder is not None:
                again = f"mpnn train {settings.task} --resume {display.folder}"
                print(f"mpnn: go on with: {again}", file=sys.stderr)
            raise
    display.summary(report)
    return 0


def _flat(given: dict[str, Any]) -> dict[str, Any]:
    """Settings as flags give them: what columns are, one by one."""
    columns = given.get("columns")
    return {name: value for name, value in given.items() if name != "columns"} | (
        vars(columns) if columns else {}
    )
