"""`mpnn info --cache` and `mpnn cache clear`: the compiled kernels that are kept."""

from __future__ import annotations

from typing import Any

from mpnn.native import cache
from mpnn.train.command import say

NONE = "No kernels are kept: each process compiles its own."


def show() -> int:
    """Print the folder of kernels, how much it holds, and how much it may hold."""
    found = cache.contents()
    if found is None:
        say.console().print(NONE)
        return 0
    rows = [
        ("folder", str(found.folder)),
        ("files", f"{found.num_files:,}"),
        ("size", _size(found.num_bytes)),
        ("limit", _size(found.limit)),
    ]
    say.console().print(say.pairs(rows))
    return 0


def clear(arguments: dict[str, Any]) -> int:
    """Remove all kernels, and say how many files went."""
    found = cache.contents()
    if found is None:
        say.console().print(NONE)
        return 0
    count = cache.clear()
    files = "1 file" if count == 1 else f"{count:,} files"
    say.console().print(f"{files} removed from {found.folder}", markup=False, soft_wrap=True)
    return 0


def _size(num_bytes: int) -> str:
    """Bytes as `MPNN_CACHE_SIZE` takes them, and in full.

    >>> _size(1536), _size(7)
    ('1.5K (1,536 bytes)', '7 bytes')
    """
    for unit, one in (("T", 1 << 40), ("G", 1 << 30), ("M", 1 << 20), ("K", 1 << 10)):
        if num_bytes >= one:
            return f"{num_bytes / one:.4g}{unit} ({num_bytes:,} bytes)"
    return f"{num_bytes} bytes"
