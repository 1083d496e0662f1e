"""What the command prints, on terminals of any width, without colours, and into files."""

from __future__ import annotations

import fcntl
import io
import os
import pty
import re
import struct
import subprocess
import sys
import termios
from pathlib import Path

import pytest
from rich.console import Console

from mpnn.train.command import cli, say

COMMAND = [
    sys.executable,
    "-c",
    "import sys; from mpnn.train.command.cli import main; sys.exit(main(sys.argv[1:]))",
]
SHORT = ["train", "node", "--epochs", "10", "--no-pictures"]
COLOUR = re.compile(r"\x1b\[(?:[0-9;]*;)?(?:3[0-8]|4[0-8]|9[0-7]|10[0-7])(?:;[0-9;]*)?m")


def on_a_terminal(columns: int, home: Path, *flags: str, **environment: str) -> str:
    """What a terminal of this many columns gets, errors too."""
    controller, terminal = pty.openpty()
    fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", 40, columns, 0, 0))
    kept = {name: value for name, value in os.environ.items() if name not in ("COLUMNS", "NO_COLOR")}
    process = subprocess.Popen(
        [*COMMAND, *flags],
        cwd=home,
        stdin=terminal,
        stdout=terminal,
        stderr=terminal,
        env=kept | {"TERM": "xterm-256color"} | environment,
    )
    os.close(terminal)
    output = b""
    while True:
        try:
            part = os.read(controller, 1 << 16)
        except OSError:  # the other end is closed
            break
        output += part
    os.close(controller)
    assert process.wait() == 0, output.decode()
    return output.decode()


def printed(width: int, made: object) -> list[str]:
    console = Console(file=io.StringIO(), width=width)
    console.print(made)
    file = console.file
    assert isinstance(file, io.StringIO)
    return [line.rstrip() for line in file.getvalue().splitlines()]


@pytest.mark.parametrize("columns", [40, 80])
def test_on_any_terminal_lines_end_between_words_and_the_bar_has_a_line_of_its_own(
    tmp_path: Path, columns: int
) -> None:
    output = on_a_terminal(columns, tmp_path, *SHORT)
    plain = re.sub(r"\x1b\[[?0-9;]*[A-Za-z]", "", output).replace("\r\n", "\n")
    lines = [line for part in plain.split("\n") for line in part.split("\r")]
    assert max(map(len, lines)) <= columns and "…" not in output
    words = {word for line in lines for word in line.split()}
    assert {
        "features,",
        "train/validate/test",
        "validation",
        "parameters,",
        "accuracy",
        "config.json",
    } <= words
    bars = [line.strip() for line in lines if "10/10" in line]
    assert bars and all(re.search(r"loss \d+\.\d+  val accuracy +\d+\.\d %", bar) for bar in bars)
    assert all("nodes" not in line for line in lines if "/10" in line or "-:--" in line)
    assert any("━" in bar for bar in bars) == (columns >= 80)
    assert COLOUR.search(output)


def test_without_colours_there_are_none(tmp_path: Path) -> None:
    assert not COLOUR.search(on_a_terminal(80, tmp_path, *SHORT, NO_COLOR="1"))


def test_a_file_gets_whole_lines_and_no_bar(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert cli.main(SHORT) == 0
    out, err = capsys.readouterr()
    assert err == "" and "\x1b" not in out and "10/10" not in out
    assert "karate: 34 nodes, 156 edges, 34 features, 2 classes, 2/8/24 nodes to train/" in out


def test_a_table_breaks_between_words_and_then_becomes_lists() -> None:
    table = say.table("name", "about", "value")
    table.add_row("first-one", "a rather long description of it", "98.5 ± 0.5 %")
    table.add_row("second", "[short]", "1 %")
    assert printed(80, table) == [
        "name       about                            value",
        "first-one  a rather long description of it  98.5 ± 0.5 %",
        "second     [short]                          1 %",
    ]
    assert printed(45, table) == [
        "name       about                 value",
        "first-one  a rather long         98.5 ± 0.5 %",
        "           description of it",
        "second     [short]               1 %",
    ]
    assert printed(30, table) == [
        "first-one",
        "  about  a rather long",
        "         description of it",
        "  value  98.5 ± 0.5 %",
        "second",
        "  about  [short]",
        "  value  1 %",
    ]


@pytest.mark.parametrize("flags", [["models"], ["train", "node", "--help"]])
def test_letters_that_the_output_has_not_are_question_marks(flags: list[str]) -> None:
    environment = os.environ | {"PYTHONIOENCODING": "ascii"}
    done = subprocess.run([*COMMAND, *flags], capture_output=True, text=True, env=environment, check=True)
    assert "Veli?kovi? et al., 2018" in done.stdout


def test_an_output_that_cannot_be_written_gets_one_sentence(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    class Full(io.StringIO):
        def write(self, text: str) -> int:
            raise OSError(28, "No space left on device")

    monkeypatch.setattr(sys, "stdout", Full())
    assert cli.main(["datasets"]) == 2
    assert capsys.readouterr().err == "mpnn: the output cannot be written: No space left on device\n"


def test_a_file_that_fails_is_not_taken_for_the_output(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail(arguments: object) -> int:
        raise PermissionError(13, "Permission denied", "data/edges.csv")

    monkeypatch.setattr("mpnn.train.command.commands.list_datasets", fail)
    assert cli.main(["datasets"]) == 2
    assert capsys.readouterr().err == "mpnn: data/edges.csv cannot be used: Permission denied\n"
