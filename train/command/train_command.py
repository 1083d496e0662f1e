"""`mpnn train`: settings from flags and files, a run, its progress and its summary."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from mpnn.datasets import called
from mpnn.train.command.display import Display
from mpnn.train.command.flags import absolute_paths, drawn
from mpnn.train.errors import RunError
from mpnn.train.kinds.registry import kind_called
from mpnn.train.record import gathered
from mpnn.train.runs.folder import read_config, read_settings_file
from mpnn.train.runs.presets import preset
from mpnn.train.runs.run import train


def run(flags: dict[str, Any]) -> int:
    """Do what the flags say."""
    out, resume, config = (flags.pop(name, None) for name in ("out", "resume", "config"))
    draw = drawn(flags)
    flags = absolute_paths(flags)
    if resume is None:
        kind = kind_called(flags["task"])
        given = {} if config is None else read_settings_file(Path(config), kind.name)
        asked = {"dataset": kind.dataset} | gathered(given | flags)
        asked["dataset"] = called(asked["dataset"])
        model = kind.model if kind.model_for is None else kind.model_for(asked)
        settings = preset(**{"model": model} | asked)
    else:
        if config is not None:
            raise RunError(f"config is {config!r}, but a resumed run has its own: leave it out")
        settings = read_config(Path(resume)).changed(flags)
    with Display(settings.num_runs) as display:
        try:
            report = train(settings, out, resume=resume, draw=draw, listener=display)
        except KeyboardInterrupt:
            if display.folder is not None:
                again = f"mpnn train {settings.task} --resume {display.folder}"
                print(f"mpnn: go on with: {again}", file=sys.stderr)
            raise
    display.summary(report)
    return 0
