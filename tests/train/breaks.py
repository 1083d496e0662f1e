"""Runs that are interrupted, and whether they go on as if they had not been."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from mpnn.train import Listener, Settings, train


def assert_goes_on(settings: Settings, home: Path, epoch: int = 3) -> None:
    """Raise unless a run that Ctrl-C broke in an epoch comes to the numbers of one without a break."""
    train(settings, home / "whole", draw=False)
    with pytest.raises(KeyboardInterrupt):
        train(settings, home / "broken", draw=False, listener=PressesCtrlC(epoch))
    assert len(torch.load(home / "broken" / "last.pt", weights_only=True)["history"]) == epoch
    torch.manual_seed(99)  # nothing that was drawn in between may matter
    train(resume=home / "broken", draw=False)
    assert_same_run(home / "broken", home / "whole")


def assert_same_content(ours: Any, theirs: Any, where: str) -> None:
    """Raise unless two checkpoints hold the same numbers, bit by bit."""
    if isinstance(theirs, dict):
        assert ours.keys() == theirs.keys(), where
        for key in theirs:
            assert_same_content(ours[key], theirs[key], f"{where}/{key}")
    elif isinstance(theirs, list):
        assert len(ours) == len(theirs), where
        for number, value in enumerate(theirs):
            assert_same_content(ours[number], value, f"{where}/{number}")
    elif isinstance(theirs, Tensor):
        assert torch.equal(ours, theirs), where
    else:
        assert ours == theirs, where


def assert_same_run(ours: Path, theirs: Path) -> None:
    """Raise unless two run folders hold the same numbers."""
    for name in ("config.json", "results.json", "metrics.csv"):
        assert (ours / name).read_bytes() == (theirs / name).read_bytes(), name
    for name in ("best.pt", "last.pt"):
        ours_holds, theirs_holds = (torch.load(home / name, weights_only=True) for home in (ours, theirs))
        assert_same_content(ours_holds, theirs_holds, name)


class PressesCtrlC(Listener):
    """Interrupts in a given epoch of a given run."""

    def __init__(self, epoch: int, number: int = 1, times: int = 1) -> None:
        self.at, self.number, self.times, self.count = epoch, number, times, 0

    def started(self, *_: Any) -> None:
        self.count += 1

    def epoch(self, row: dict[str, float]) -> None:
        if (row["epoch"], self.count) == (self.at, self.number):
            for _ in range(self.times):
                os.kill(os.getpid(), signal.SIGINT)
