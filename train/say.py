"""How the command prints: consoles, tables and lists."""

from __future__ import annotations

import sys
from collections.abc import Mapping

from rich.console import Console
from rich.table import Table

WIDE = 1000  # columns of a file or a pipe, which have no edge to break lines at


def console() -> Console:
    """Where results are printed: as wide as the terminal; what is not one gets lines that are not broken."""
    return Console(highlight=False, soft_wrap=True, width=None if sys.stdout.isatty() else WIDE)


def table(*headers: str) -> Table:
    """A table without lines."""
    return Table(*headers, box=None, pad_edge=False)


def listing(title: str, about: Mapping[str, str]) -> str:
    """Names and what they stand for, below each other.

    >>> print(listing("models:", {"gcn": "graph convolution", "graph": "sums"}))
    models:
      gcn    graph convolution
      graph  sums
    """
    width = max(map(len, about), default=0)
    return "\n".join([title, *(f"  {name:<{width}}  {what}" for name, what in about.items())])
