"""Running a command with a time limit, and with readable output."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
from typing import NamedTuple


class Done(NamedTuple):
    """How a command ended.

    In a process that ignores SIGCHLD (its parent may have set this) the exit code is lost, and `code` is 0
    even after a failure. So the caller also checks that the file is there which the command should make.
    """

    code: int
    output: str
    complaint: str


def run(command: list[str], seconds: float) -> Done:
    """Run a command in an English locale, without input.

    Raises:
        OSError: the command cannot be started.
        TimeoutError: the command exceeds its time; it and its child processes are killed.
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
