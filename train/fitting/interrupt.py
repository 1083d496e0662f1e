"""Ctrl-C, and the signals by which a system ends a process, at a moment when the state of a run is whole."""

from __future__ import annotations

import signal
import threading
from types import FrameType, TracebackType
from typing import Any

from mpnn.train.errors import Stopped

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)  # the last two are what schedulers and logouts send


class Interrupt:
    """While this is entered, the first signal only sets `requested`; a second one interrupts at once.

    A run that is stopped between two statements of an epoch could not be resumed to the same numbers. A
    signal that came too late for the caller is raised at the exit. One that the process ignores, as SIGHUP
    under `nohup`, stays ignored. Outside the main thread, where Python delivers no signals, nothing changes.
    """

    def __init__(self) -> None:
        self.number = 0
        self._previous: dict[signal.Signals, Any] = {}

    @property
    def requested(self) -> bool:
        """Whether a signal came."""
        return self.number != 0

    def error(self) -> KeyboardInterrupt:
        """What is raised for the signal that came."""
        return KeyboardInterrupt() if self.number == signal.SIGINT else Stopped(self.number)

    def __enter__(self) -> Interrupt:
        if threading.current_thread() is threading.main_thread():
            for number in SIGNALS:
                if signal.getsignal(number) not in (signal.SIG_IGN, None):
                    self._previous[number] = signal.signal(number, self._note)
        return self

    def _note(self, number: int, frame: FrameType | None) -> None:
        again, self.number = self.requested, number
        if again:
            raise self.error()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for number, previous in self._previous.items():
            signal.signal(number, previous)
        if self.requested and kind is None:
            raise self.error()
