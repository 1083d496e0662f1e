"""The command that recognises speakers, on a few utterances of two."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
import torch
import vowels


def write(path: Path, number: int) -> None:
    """Utterances of speakers 1 and 2, whose frames lie apart."""
    generator = torch.Generator().manual_seed(number)
    lines = ["# made up", "@data"]
    for k in range(number):
        speaker = 1 + k % 2
        frames = 3 * (speaker - 1.5) + torch.randn(12, 7 + k % 4, generator=generator)
        channels = [",".join(f"{x:.4f}" for x in row) for row in frames.tolist()]
        lines.append(":".join([*channels, str(speaker)]))
    path.write_text("\n".join(lines) + "\n")


def test_it_learns_from_one_file_and_tells_the_speakers_of_another(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    write(tmp_path / "JapaneseVowels_TRAIN.ts", 20)
    write(tmp_path / "JapaneseVowels_TEST.ts", 10)
    monkeypatch.setattr(sys, "argv", ["vowels.py", str(tmp_path), "--runs", "2", "--epochs", "5"])
    vowels.main()
    assert capsys.readouterr().out == "accuracy 100.0 % (100.0, 100.0)\n"


def test_what_stands_behind_an_utterance_does_not_change_its_answer() -> None:
    torch.manual_seed(0)
    network, x = vowels.TimeDelay().double(), torch.randn(2, 12, 8, dtype=torch.float64)
    longer = torch.cat([x, torch.zeros(2, 12, 5).double()], 2)
    lengths = torch.tensor([8, 8])
    torch.testing.assert_close(network(longer, lengths), network(x, lengths), rtol=0, atol=1e-12)


def test_a_line_that_is_no_utterance_is_named(tmp_path: Path) -> None:
    path = tmp_path / "broken.ts"
    path.write_text("@data\n1.0,2.0:x,3.0:1\n")
    with pytest.raises(ValueError, match=r"broken.ts, line 2: could not convert string to float: 'x'"):
        vowels.read(path)
