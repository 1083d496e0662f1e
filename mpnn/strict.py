"""Whether faults of this package are raised instead of worked around: `MPNN_STRICT=1`, as in its tests."""

from __future__ import annotations

import os


def is_strict() -> bool:
    """What the environment says now."""
    return os.environ.get("MPNN_STRICT", "0") not in ("", "0")
