"""`mpnn train embed`: its progress and its summary."""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import Any

from rich.markup import escape

from mpnn.datasets import NodeDataset
from mpnn.train.command import say
from mpnn.train.command.display import print_files
from mpnn.train.command.flags import absolute_paths, taken_anyway, with_pictures
from mpnn.train.command.progress import Bar
from mpnn.train.errors import RunError
from mpnn.train.record import gathered
from mpnn.train.runs import embed_run
from mpnn.train.runs.embed_settings import EmbedSettings, embed_preset
from mpnn.train.runs.folder import CONFIG, RESULTS, read_record, read_settings_file

ABOUT = {
    CONFIG: "the settings: they reproduce this run",
    RESULTS: "the metrics of every split, mean and standard deviation",
    embed_run.EMBEDDING: "the vectors and the names of the nodes",
    embed_run.TABLE: "the loss of every round of walks",
    embed_run.LAST: "what --resume goes on from",
    embed_run.CURVE: "the loss by round",
    embed_run.PICTURE: "the vectors in the plane (t-SNE)",
}


def run(flags: dict[str, Any]) -> int:
    """Do what the flags say."""
    out, resume, config = (flags.pop(name, None) for name in ("out", "resume", "config"))
    anyway = taken_anyway(flags, resume)
    flags = with_pictures(absolute_paths(flags))
    if resume is None:
        given = {} if config is None else read_settings_file(Path(config), "embed", EmbedSettings)
        settings = embed_preset(**gathered(given | flags))
    else:
        if config is not None:
            raise RunError(f"config is {config!r}, but a resumed run has its own: leave it out")
        settings = read_record(Path(resume), EmbedSettings).changed(flags)
    out_console, begun = say.console(), time.monotonic()
    bar, place = Bar(), []

    def opened(data: NodeDataset, home: Path) -> None:
        place.append(home)
        out_console.print(escape(repr(data)))
        out_console.print(
            f"[bold]{settings.model}[/bold]: {settings.walks} walks of {settings.length} from each node, "
            f"{settings.dimensions} dimensions"
        )
        bar.start("walks", settings.walks)

    def on_round(number: int, loss: float) -> None:
        bar.move(number, f"loss {loss:.3f}")

    try:
        report = embed_run.embed(
            settings, out, resume=resume, opened=opened, on_round=on_round, anyway=anyway
        )
    except KeyboardInterrupt:
        if place:
            print(f"mpnn: go on with: mpnn train embed --resume {place[0]}", file=sys.stderr)
        raise
    finally:
        bar.stop()
    out_console.print(f"[bold green]{report}[/bold green] ({time.monotonic() - begun:.1f} s)")
    print_files(out_console, report.folder, ABOUT)
    return 0
