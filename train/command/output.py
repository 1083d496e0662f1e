"""Where a command prints: a pipe that closes or a full disk ends the printing, not the work."""

from __future__ import annotations

import io
import os
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, TextIO

BACKEND = "MPLBACKEND"


class Output(io.TextIOBase):
    """A stream that keeps its first error, in `failed`, and drops everything after it."""

    def __init__(self, stream: TextIO | None) -> None:
        self.stream, self.failed = stream, None  # Python has None for one that is closed

    failed: OSError | None

    @property
    def encoding(self) -> str:  # type: ignore[override]
        return "utf-8" if self.stream is None else self.stream.encoding

    def write(self, text: str) -> int:
        if self.stream is not None:
            self._attempt(self.stream.write, text)
        return len(text)

    def flush(self) -> None:
        if self.stream is not None:
            self._attempt(self.stream.flush)

    def fileno(self) -> int:
        if self.stream is None:
            raise io.UnsupportedOperation("a closed stream has no number")
        return self.stream.fileno()

    def isatty(self) -> bool:
        return self.stream is not None and self.stream.isatty()

    def writable(self) -> bool:
        return True

    def check(self, *, is_warning: bool) -> None:
        """Say that something was not printed; nothing is wrong where a reader had enough.

        Raises:
            OSError: that something, unless it is only a warning.
        """
        self.flush()
        if self.failed is None or isinstance(self.failed, BrokenPipeError):
            return
        if not is_warning:
            raise self.failed
        warnings.warn(f"not all was printed: {self.failed.strerror}", stacklevel=2)

    def _attempt(self, act: Any, *given: str) -> None:
        if self.failed is None:
            try:
                act(*given)
            except OSError as error:
                self.failed = error
                self._drain(self.stream)

    def _drain(self, stream: TextIO | None) -> None:
        """Let what is left in the stream's buffer go nowhere, so that the end of the process is quiet."""
        try:
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, self.fileno())
            os.close(nowhere)
            if stream is not None:
                stream.flush()
        except (OSError, ValueError):
            pass  # no file is behind it


@contextmanager
def forgiving() -> Iterator[Output]:
    """Replace both streams meanwhile, and return the one of results; what is said to a closed one is lost."""
    before = (sys.stdout, sys.stderr)
    out = Output(before[0])
    sys.stdout, sys.stderr = out, Output(before[1])
    try:
        yield out
    finally:
        out.flush()
        sys.stderr.flush()
        sys.stdout, sys.stderr = before


@contextmanager
def without_a_window() -> Iterator[None]:
    """Draw without a window whatever the variable says: a notebook sets it for its own process alone."""
    before = os.environ.get(BACKEND)
    os.environ[BACKEND] = "agg"
    try:
        yield
    finally:
        if before is None:
            del os.environ[BACKEND]
        else:
            os.environ[BACKEND] = before
