"""The command shows and empties the folder of compiled kernels, and touches nothing else in it."""

from __future__ import annotations

from pathlib import Path

import pytest

from mpnn.train.command import cli


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of two kernels and a file of the user's."""
    home = tmp_path / "kernels"
    home.mkdir(mode=0o700)
    monkeypatch.setenv("MPNN_CACHE", str(home))
    monkeypatch.setenv("MPNN_CACHE_SIZE", "3M")
    for number, size in enumerate((1000, 536)):
        (home / f"{number:032x}.so").write_bytes(b"\0" * size)
    (home / "notes.txt").write_text("mine")
    return home


def _said(capsys: pytest.CaptureFixture[str], *words: str) -> dict[str, str]:
    assert cli.main([*words]) == 0
    lines = capsys.readouterr().out.replace("\n  ", "").splitlines()
    return {line.split()[0]: " ".join(line.split()[1:]) for line in lines}


def test_info_shows_the_folder_its_files_their_size_and_the_limit(
    folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "300")
    assert _said(capsys, "info", "--cache") == {
        "folder": str(folder),
        "files": "2",
        "size": "1.5K (1,536 bytes)",
        "limit": "3M (3,145,728 bytes)",
    }


def test_clear_removes_the_kernels_alone_and_says_how_many_files(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["cache", "clear"]) == 0
    assert capsys.readouterr().out == f"2 files removed from {folder}\n"
    assert [one.name for one in folder.iterdir()] == ["notes.txt"]
    assert cli.main(["cache", "clear"]) == 0
    assert capsys.readouterr().out == f"0 files removed from {folder}\n"


@pytest.mark.filterwarnings("always")
def test_a_folder_that_others_may_write_to_is_left_alone(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder.chmod(0o777)
    said = []
    for words in (["cache", "clear"], ["info", "--cache"]):
        assert cli.main(words) == 0
        out, err = capsys.readouterr()
        assert out == "No kernels are kept: each process compiles its own.\n"
        said.append(err)
    assert f"others can write to {folder}" in said[0]
    assert len([*folder.iterdir()]) == 3


def test_what_is_to_be_done_with_the_cache_must_be_said(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="2"):
        cli.main(["cache", "cleer"])
    assert "invalid choice: 'cleer' (choose from clear): did you mean 'clear'?" in capsys.readouterr().err
