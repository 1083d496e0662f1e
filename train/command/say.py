"""How the command prints: consoles and tables."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Sequence

from rich.console import Console, ConsoleOptions, RenderResult
from rich.markup import escape
from rich.table import Table
from rich.text import Text

WIDE = 1000  # columns of a file or a pipe, whose lines are not broken
UNBROKEN = 18  # letters: a shorter cell of a table is not broken


def console() -> Console:
    """Where results are printed: lines end between words on a terminal, and nowhere in a file or a pipe."""
    terminal = sys.stdout.isatty()
    return Console(highlight=False, soft_wrap=not terminal, width=None if terminal else WIDE)


def table(*headers: str) -> Rows:
    """An empty table without lines."""
    return Rows(headers)


class Rows:
    """A table; if the columns are too wide for the terminal, each row becomes a list.

    Args:
        headers: of the columns; the first one names the rows.
    """

    def __init__(self, headers: Sequence[str]) -> None:
        self.headers, self.rows = headers, list[tuple[str, ...]]()

    def add_row(self, *cells: str) -> None:
        """Add a row at the end."""
        self.rows.append(cells)

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """As a table if it fits into the width, else as lists."""
        columns = list(zip(self.headers, *self.rows, strict=True))
        least = [max(map(_least_width, (*header.split(), *cells))) for header, *cells in columns]
        room = options.max_width - 2 * (len(columns) - 1)
        if sum(least) > room:
            for name, *cells in self.rows:
                yield Text(name, style="bold")
                yield pairs(
                    (f"  {header}", cell) for header, cell in zip(self.headers[1:], cells, strict=True)
                )
            return
        widths = [max(map(len, column)) for column in columns]
        while sum(widths) > room:  # the widest gives way, as long as its words have room
            broad = [k for k, low in enumerate(least) if widths[k] > low]
            widths[max(broad, key=widths.__getitem__)] -= 1
        made = Table(box=None, pad_edge=False)
        for header, width in zip(self.headers, widths, strict=True):
            made.add_column(header, width=width)
        for row in self.rows:
            made.add_row(*map(escape, row))
        yield made


def _least_width(cell: str) -> int:
    """The width of a short cell, such as a number with its unit, else that of its longest word."""
    return len(cell) if len(cell) <= UNBROKEN else max(map(len, cell.split()))


def pairs(rows: Iterable[tuple[str, str]]) -> Table:
    """Names and what they stand for, below each other, on a console."""
    made = Table.grid(padding=(0, 2, 0, 0))
    made.add_column(no_wrap=True)
    made.add_column(overflow="fold")
    for name, what in rows:
        made.add_row(escape(name), escape(what))
    return made
