"""Whether errors inside this package are raised instead of caught: `MPNN_STRICT=1`, as in its tests."""

from __future__ import annotations

import os


def is_strict() -> bool:
    """Whether `MPNN_STRICT` is set now."""
    return os.environ.get("MPNN_STRICT", "0") not in ("", "0")
