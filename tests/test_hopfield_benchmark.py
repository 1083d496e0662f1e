"""The command for the figures of Hopfield's network, run small."""

from __future__ import annotations

import sys
from pathlib import Path

import hopfield
import pytest


def test_it_prints_both_tables_and_draws_the_curves(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(hopfield, "PICTURE", tmp_path / "recall.png")
    monkeypatch.setattr(hopfield, "LOADS", (0.05, 1.0))
    monkeypatch.setattr(sys, "argv", ["hopfield.py", "--neurons", "120", "--draws", "1"])
    hopfield.main()
    bits, recall = capsys.readouterr().out.split("\n\n")
    assert len(bits.splitlines()) == 2 + len(hopfield.UNSTABLE)
    low, high = ([float(cell) for cell in line.strip("| ").split("|")] for line in recall.splitlines()[2:])
    assert min(low[1:]) > 0.95
    assert max(high[1:]) < 0.9
    assert (tmp_path / "recall.png").stat().st_size > 1000


def test_the_share_of_unstable_bits_comes_with_that_of_the_theory() -> None:
    found, wanted = hopfield.unstable(400, 0.37, 0)
    assert wanted == pytest.approx(0.0501, abs=1e-4)
    assert found == pytest.approx(wanted, rel=0.1)
