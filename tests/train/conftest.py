"""What tests of the command share."""

from __future__ import annotations

from typing import Protocol

import pytest

from mpnn.train.command import cli, progress


class Complaint(Protocol):
    """Run a command that must fail with one sentence, before it has printed anything else, and return it."""

    def __call__(self, *flags: str, silent: bool = True) -> str: ...


@pytest.fixture(autouse=True)
def no_lines_of_progress(monkeypatch: pytest.MonkeyPatch) -> None:
    """On a machine that is busy, a run of these tests takes the time after which a line is printed."""
    monkeypatch.setattr(progress, "EVERY", float("inf"))


@pytest.fixture
def complaint(capsys: pytest.CaptureFixture[str]) -> Complaint:
    """Runs a command that must fail; with `silent=False` it may fail in the middle of its work."""

    def run(*flags: str, silent: bool = True) -> str:
        capsys.readouterr()
        try:
            code: object = cli.main(list(flags))
        except SystemExit as exit_:  # as argparse ends
            code = exit_.code
        out, err = capsys.readouterr()
        assert (code, err.count("\n")) == (2, 1) and err.startswith("mpnn: "), err
        assert out == "" or not silent, out
        return err

    return run
