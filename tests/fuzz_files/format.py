"""A format: how a small sound file of it is made, and how it is read."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Format:
    """A format of files.

    Args:
        name: what it is called in the table.
        file: which file of a folder is damaged.
        make: puts sound files into a folder.
        read: reads them as a user's program does, and returns what they hold.
        sums: whether the format has sums, so that a damaged file is read as before or not at all.
        heals: whether a damaged file is made anew, so that no damage is an error.
    """

    name: str
    file: str
    make: Callable[[Path], None]
    read: Callable[[Path], Any]
    sums: bool = False
    heals: bool = False
