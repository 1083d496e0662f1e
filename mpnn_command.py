"""The command `mpnn`: it is understood before PyTorch is imported, so that help is there at once.

Where this module is imported first, `import mpnn` leaves the core for its first use.
"""

from __future__ import annotations

import os

# Threads that have no work sleep soon, where by default they spin for milliseconds: on a machine that others
# use too, those that have work then wait for a core. OpenMP reads this when PyTorch is imported.
WAITING = {"OMP_WAIT_POLICY": "PASSIVE", "GOMP_SPINCOUNT": "1000"}
INTERRUPTED = 130


def main() -> int:
    """Run the command line; return the exit code."""
    try:
        return _main()
    except KeyboardInterrupt:  # while something is imported
        return INTERRUPTED


def _main() -> int:
    if not WAITING.keys() & os.environ.keys():
        os.environ.update(WAITING)
    from mpnn.train.command.cli import main

    return main()
