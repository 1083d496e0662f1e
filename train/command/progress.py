"""How far a run is: a bar on a terminal, else a line now and then."""

from __future__ import annotations

import sys
from time import monotonic

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    TextColumn,
    TimeRemainingColumn,
)

EVERY = 10.0  # seconds between two lines of a log


class Bar:
    """A bar on stderr if that is a terminal, else a line on stderr every ten seconds."""

    def __init__(self) -> None:
        self._bar = _on_terminal()
        self._task = self._bar.add_task("", numbers="")
        self._what, self._total, self._said_at = "", 0, monotonic()

    def start(self, what: str, total: int) -> None:
        """Begin to count up to `total`; lines printed to the terminal earlier do not break the bar."""
        self._what, self._total = what, total
        self._bar.reset(self._task, description=what, total=total, numbers="")
        self._bar.start()

    def move(self, done: int, numbers: str) -> None:
        """Show how much is done, and how it stands."""
        self._bar.update(self._task, completed=done, numbers=numbers)
        if self._bar.disable and monotonic() >= self._said_at + EVERY:
            print(f"{self._what}: {done}/{self._total}  {numbers}", file=sys.stderr, flush=True)
            self._said_at = monotonic()

    def stop(self) -> None:
        """Take the bar away."""
        self._bar.stop()


def _on_terminal() -> Progress:
    terminal = Console(stderr=True)
    room = terminal.width - 66  # what the words and numbers of most tasks leave
    columns: list[ProgressColumn] = [MofNCompleteColumn(), TextColumn("{task.fields[numbers]}")]
    if terminal.width >= 60:
        columns.insert(0, TextColumn("{task.description}"))
    if room >= 5:
        columns.insert(1, BarColumn(bar_width=min(room, 30)))
        columns.append(TimeRemainingColumn())
    return Progress(
        *columns,
        console=terminal,
        transient=True,
        disable=not terminal.is_terminal,
    )
