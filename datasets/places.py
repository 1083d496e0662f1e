"""Whether there is something at a path."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path


def is_there(path: Path, kind: Callable[[Path], bool] = Path.exists) -> bool:
    """Whether a path is such a thing; False if it may not be looked at, or if no path can be spelled so."""
    try:
        return kind(path)
    except (OSError, ValueError):
        return False
