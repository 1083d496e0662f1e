"""Files that are looked at before they are believed: a library that was cut off crashes whoever loads it."""

from __future__ import annotations

import hashlib
import os
import stat
from pathlib import Path

ENDING = ".sum"


def is_whole(path: Path) -> bool:
    """Whether a file is as it was when `put` put it there."""
    summed = path.with_suffix(ENDING)
    try:
        if not all(stat.S_ISREG(file.stat().st_mode) for file in (path, summed)):  # a pipe is waited for
            return False
        return summed.read_bytes() == _sum(path.read_bytes())
    except FileNotFoundError:
        return False


def put(made: Path, path: Path) -> None:
    """Move a file to where it is looked for, when it is on disk, with its length and its sum beside it.

    Two processes may put the same file at once. Should theirs differ, and one's sum come to lie beside the
    other's file, it is not whole, and is made again.
    """
    summed = made.with_suffix(ENDING)
    summed.write_bytes(_sum(made.read_bytes()))
    for written in (made, summed):
        with written.open("rb") as file:
            os.fsync(file.fileno())
    summed.replace(path.with_suffix(ENDING))
    made.replace(path)


def _sum(content: bytes) -> bytes:
    return f"{len(content)} {hashlib.sha256(content).hexdigest()}\n".encode()
