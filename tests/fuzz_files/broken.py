"""Readers that are wrong on purpose, to see that the command finds what is wrong."""

from __future__ import annotations

import ctypes
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.fuzz_files.format import Format

CONTENT = b"sound"


def _make(folder: Path) -> None:
    (folder / "file").write_bytes(CONTENT)


def _wrong(act: Callable[[], Any]) -> Callable[[Path], Any]:
    return lambda folder: act() if (folder / "file").read_bytes() != CONTENT else CONTENT


def _raise() -> None:
    raise RuntimeError("broken")


BROKEN = [
    Format("crashes", "file", _make, _wrong(lambda: ctypes.string_at(0))),
    Format("hangs", "file", _make, _wrong(lambda: time.sleep(100))),
    Format("raises", "file", _make, _wrong(_raise)),
    Format("changes", "file", _make, _wrong(lambda: b"another"), sums=True),
]
