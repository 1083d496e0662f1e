"""Files that are checked before use: loading a library that was cut off crashes the process."""

from __future__ import annotations

import hashlib
import os
import stat
from pathlib import Path

ENDING = ".sum"


def is_whole(path: Path) -> bool:
    """Whether a file has the length and the checksum that `put` stored."""
    summed = path.with_suffix(ENDING)
    try:
        if not all(stat.S_ISREG(file.stat().st_mode) for file in (path, summed)):  # reading a pipe would wait
            return False
        return summed.read_bytes() == _sum(path.read_bytes())
    except FileNotFoundError:
        return False


def put(made: Path, path: Path) -> None:
    """Sync a file to disk and move it to its path, with its length and its checksum beside it.

    Two processes may put the same file at once. If their files differ, the checksum of one may lie beside the
    file of the other; then `is_whole` is False, and the file is made again.
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
