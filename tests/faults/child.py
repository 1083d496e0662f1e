"""The command in a process of its own, in which something goes wrong at a chosen step of its writing.

A server imports everything once, and each process is forked from it. A step is a system call that changes a
folder: a file is opened for writing, synced, renamed or removed, a folder is made. Python's audit hooks see
them before they happen, so that the program is the one that users run.
"""

from __future__ import annotations

import contextlib
import errno
import multiprocessing
import os
import resource
import signal
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from multiprocessing.connection import wait
from pathlib import Path
from typing import Any, NamedTuple

# Imported here once, what every process would import: 8 seconds.
import matplotlib.figure  # noqa: F401
import sklearn.linear_model
import sklearn.manifold
import sklearn.metrics  # noqa: F401
import torch.fx.experimental.symbolic_shapes  # noqa: F401

import mpnn.train.runs.embed_run
import mpnn.train.runs.run  # noqa: F401
from mpnn.borrowed import symbols
from mpnn.native import compiler, toolchain
from mpnn.train.command import cli
from mpnn.train.fitting import loop

symbols()
CONTEXT = multiprocessing.get_context("forkserver")
CONTEXT.set_forkserver_preload([__name__])
LONGEST = 240.0  # seconds of any process
# How a process ended can be read once, and each start of a process reads it of all that have ended: of two
# threads that read it at once, one finds nothing, which the library calls exit 255.
ENDS = threading.Lock()


@dataclass(frozen=True)
class Fault:
    """What goes wrong.

    Args:
        step: the number of a step of writing, from 1; 0 is none.
        error: the step's error; None kills the process instead.
        lasting: every later step fails too, as on a disk that is full.
        limits: of `resource`, each with a number; of memory, what is taken beyond what the process has.
        patience: seconds that a compiler is given; 0 is the default.
    """

    step: int = 0
    error: int | None = None
    lasting: bool = False
    limits: Mapping[int, int] = field(default_factory=dict)
    patience: float = 0.0

    def __str__(self) -> str:
        if self.limits:
            names = {getattr(resource, name): name for name in dir(resource) if name.startswith("RLIMIT_")}
            return ", ".join(f"{names[number]} {most}" for number, most in self.limits.items())
        how = "killed" if self.error is None else errno.errorcode[self.error]
        return f"{how} at step {self.step}{' and on' if self.lasting else ''}"


class Ended(NamedTuple):
    """How a process ended: its exit code, negative for a signal, what it printed, its steps of writing."""

    code: int
    out: str
    err: str
    steps: int


class Started:
    """A process that runs the command.

    Args:
        words: of the command line.
        home: the folder whose steps are counted; what is printed goes beside it.
        fault: what goes wrong.
        notes: the folder of what is printed and counted, by default beside `home`.
        variables: of the environment.
    """

    def __init__(
        self,
        words: Sequence[str],
        home: Path,
        fault: Fault | None = None,
        notes: Path | None = None,
        variables: Mapping[str, str] | None = None,
    ) -> None:
        self.notes = notes or home.parent / f"{home.name}.notes"
        self.notes.mkdir(exist_ok=True)
        for name in ("steps", "out", "err"):
            (self.notes / name).write_text("")
        given = (list(words), str(home), fault or Fault(), str(self.notes), variables or {})
        self.process = CONTEXT.Process(target=_child, args=given)
        with ENDS:
            self.process.start()

    def is_alive(self) -> bool:
        """Whether the process has not ended."""
        with ENDS:
            return self.process.is_alive()

    def is_stopped(self) -> bool:
        """Whether a signal has stopped the process, which takes a moment."""
        for _ in range(100):
            try:
                state = Path(f"/proc/{self.process.pid}/stat").read_text().rpartition(") ")[2][0]
            except OSError:
                return False
            if state in "TZ":
                return state == "T"
            time.sleep(0.01)
        return False

    def kill(self, number: int) -> None:
        """Send a signal, if the process is still there."""
        if self.is_alive() and self.process.pid is not None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.process.pid, number)

    def end(self) -> Ended:
        """Wait for it."""
        is_over = bool(wait([self.process.sentinel], LONGEST))
        with ENDS:
            if not is_over:
                self.process.kill()
            self.process.join()
            code = self.process.exitcode
        assert is_over, f"the process has not ended after {LONGEST:g} seconds"
        assert code is not None
        out, err = ((self.notes / name).read_text(errors="replace") for name in ("out", "err"))
        return Ended(code, out, err, len((self.notes / "steps").read_text()))


def run(
    words: Sequence[str], home: Path, fault: Fault | None = None, variables: Mapping[str, str] | None = None
) -> Ended:
    """Run the command to its end."""
    return Started(words, home, fault, variables=variables).end()


def _child(words: list[str], home: str, fault: Fault, notes: str, variables: Mapping[str, str]) -> None:
    os.chdir(Path(home).parent)
    os.environ.update(variables)
    for number, name in ((1, "out"), (2, "err")):
        file = os.open(f"{notes}/{name}", os.O_WRONLY | os.O_APPEND)
        os.dup2(file, number)
        os.close(file)
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):  # as where a shell starts it
        signal.signal(number, signal.default_int_handler if number == signal.SIGINT else signal.SIG_DFL)
    loop.SAVE_EVERY = 0.0  # after each epoch
    _watch(home, fault, os.open(f"{notes}/steps", os.O_WRONLY | os.O_APPEND))
    if fault.patience:
        toolchain.SHORT_PATIENCE = compiler.PATIENCE = fault.patience
    for limit, most in fault.limits.items():
        there = _memory() if limit == resource.RLIMIT_AS else 0
        resource.setrlimit(limit, (there + most,) * 2)
    sys.exit(cli.main(words))


def _memory() -> int:
    """Bytes of address space that this process has."""
    return int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()


def _watch(home: str, fault: Fault, steps: int) -> None:
    """Count the steps, and let the chosen one go wrong."""
    count = 0

    def step() -> None:
        nonlocal count
        count += 1
        with contextlib.suppress(OSError):  # of a limit of file size
            os.write(steps, b".")
        if count == fault.step or (fault.lasting and count > fault.step > 0):
            if fault.error is None:
                os.kill(os.getpid(), signal.SIGKILL)
            raise OSError(fault.error, os.strerror(fault.error or 0))

    def hook(event: str, given: tuple[Any, ...]) -> None:
        if event == "open" and not (isinstance(given[2], int) and given[2] & (os.O_WRONLY | os.O_RDWR)):
            return
        if event in ("open", "os.rename", "os.remove", "os.mkdir", "os.rmdir") and (
            isinstance(given[0], str | bytes | os.PathLike)
            and os.path.abspath(os.fsdecode(given[0])).startswith(home)  # noqa: PTH100
        ):
            step()

    sync = os.fsync

    def fsync(number: Any) -> None:
        step()
        sync(number)

    setattr(os, "fsync", fsync)  # noqa: B010
    sys.addaudithook(hook)
