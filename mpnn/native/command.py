"""Commands that must end, and whose words can be read, whatever they are."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
from typing import NamedTuple


class Done(NamedTuple):
    """How a command ended.

    `code` is 0 also for one that failed where the process ignores SIGCHLD, as its parent may have told it to:
    then the code is lost. What a command was to make is looked for as well.
    """

    code: int
    output: str
    complaint: str


def run(command: list[str], seconds: float) -> Done:
    """Run a command to its end, in English and with nothing to read.

    Raises:
        OSError: it cannot be started.
        TimeoutError: it does not end; it is ended, with all that it has started.
    """
    started = subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env={**os.environ, "LC_ALL": "C"},
        start_new_session=True,
    )
    with started:
        try:
            output, complaint = started.communicate(timeout=seconds)
        except BaseException as error:
            with contextlib.suppress(OSError):
                os.killpg(started.pid, signal.SIGKILL)
            if isinstance(error, subprocess.TimeoutExpired):
                raise TimeoutError(f"{command[0]} has not ended after {seconds:g} seconds") from None
            raise
    return Done(started.returncode, output.decode(errors="replace"), complaint.decode(errors="replace"))
