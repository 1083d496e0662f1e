"""Libraries that are checked before use: loading one that was cut off crashes the process.

A library carries its own checksum, behind its last byte, where the loader does not look: one file appears at
once, so that a process finds the whole of it or nothing, also while others compile the same kernel.
"""

from __future__ import annotations

import hashlib
import os
import stat
from pathlib import Path

_LENGTH = hashlib.sha256().digest_size


def is_whole(path: Path) -> bool:
    """Whether a library ends with the checksum of what is before it.

    Raises:
        FileNotFoundError: there is none.
    """
    if not stat.S_ISREG(path.stat().st_mode):  # reading a pipe would wait
        return False
    content = path.read_bytes()
    return content[-_LENGTH:] == hashlib.sha256(content[:-_LENGTH]).digest()


def put(made: Path, path: Path) -> None:
    """Write a library's checksum to its end, sync it to disk and move it to its path."""
    checksum = hashlib.sha256(made.read_bytes()).digest()
    with made.open("ab") as file:
        file.write(checksum)
        file.flush()
        os.fsync(file.fileno())
    made.replace(path)
