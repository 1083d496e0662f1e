"""A pipe that closes, a log's disk that is full, and signals: what they end, and what they do not."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

import mpnn_command
from mpnn.train.errors import Stopped
from mpnn.train.fitting.interrupt import Interrupt

SCRIPT = "import sys; from mpnn.train.command.cli import main; sys.exit(main())"
KARATE = ["train", "node", "--dataset", "karate", "--epochs", "3", "--no-pictures", "--out"]
EMBED = ["train", "embed", "--dataset", "karate", "--walks", "3", "--no-pictures", "--out"]


def shell(words: list[str], redirected: str) -> tuple[int, str]:
    """Run a command in a shell, which redirects its output; its exit code, and what it says on stderr."""
    done = subprocess.run(
        [
            "bash",
            "-o",
            "pipefail",
            "-c",
            f'"$0" -c "$1" "${{@:2}}" {redirected}',
            sys.executable,
            SCRIPT,
            *words,
        ],
        stderr=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        text=True,
        check=False,
    )
    return done.returncode, "".join(without_progress(done.stderr))


def without_progress(said: str) -> list[str]:
    """The lines that say more than how far a slow run is."""
    return [
        line for line in said.splitlines(keepends=True) if not re.match(r"(training|walks): \d+/\d+ ", line)
    ]


@pytest.mark.parametrize("redirected", ["| true", ">&-", "> /dev/full", "2>&-"])
@pytest.mark.parametrize("words", [KARATE, EMBED], ids=["node", "embed"])
def test_a_training_goes_on_where_nothing_can_be_printed(
    tmp_path: Path, words: list[str], redirected: str
) -> None:
    code, said = shell([*words, str(tmp_path / "run")], redirected)
    full = "mpnn: warning: not all was printed: No space left on device\n"
    assert (code, said) == (0, full if "full" in redirected else "")
    assert (tmp_path / "run" / "results.json").exists()


def test_a_list_that_cannot_be_printed_is_an_error_and_one_that_is_cut_is_none() -> None:
    assert shell(["datasets"], "| true") == (0, "")
    code, said = shell(["datasets"], "> /dev/full")
    assert (code, said) == (2, "mpnn: the output cannot be written: No space left on device\n")


def takes_signals() -> None:
    """Take signals as programs do, also where the tests run under `nohup` or behind a script."""
    for number in (signal.SIGINT, signal.SIGHUP, signal.SIGTERM):
        signal.signal(number, signal.SIG_DFL)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP, signal.SIGINT])
@pytest.mark.parametrize("words", [KARATE, EMBED], ids=["node", "embed"])
def test_a_signal_ends_a_training_after_its_state_is_written(
    tmp_path: Path, words: list[str], number: signal.Signals
) -> None:
    """Of a million epochs or rounds, so that the end is far."""
    home, most = tmp_path / "run", "1000000"
    started = subprocess.Popen(
        [sys.executable, "-c", SCRIPT, *words, str(home), "--walks" if words is EMBED else "--epochs", most],
        stderr=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        text=True,
        preexec_fn=takes_signals,
    )
    with started:
        until = time.monotonic() + 120
        while not (home / "config.json").exists() and time.monotonic() < until:
            time.sleep(0.01)
        time.sleep(4.0)  # the first kernels are compiled
        os.kill(started.pid, number)
        try:
            _, said = started.communicate(timeout=120)
        except subprocess.TimeoutExpired:
            started.kill()
            raise
    ending = "interrupted" if number == signal.SIGINT else f"ended by {number.name}"
    again = f"mpnn: go on with: mpnn train {words[1]} --resume {home}"
    assert (started.returncode, without_progress(said)) == (128 + number, [f"{again}\n", f"mpnn: {ending}\n"])
    assert (home / "last.pt").exists()


def test_a_signal_that_is_ignored_stays_ignored() -> None:
    """As under `nohup`."""
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with Interrupt() as interrupt:
            os.kill(os.getpid(), signal.SIGHUP)
        assert not interrupt.requested
    finally:
        signal.signal(signal.SIGHUP, before)


def test_a_signal_that_comes_too_late_for_the_loop_is_raised_at_its_end() -> None:

    with pytest.raises(Stopped) as stop, Interrupt():
        os.kill(os.getpid(), signal.SIGTERM)
    assert stop.value.number == signal.SIGTERM
    assert signal.getsignal(signal.SIGTERM) == signal.SIG_DFL


def test_ctrl_c_while_something_is_imported_gives_no_traceback(monkeypatch: pytest.MonkeyPatch) -> None:
    class Finder:
        @staticmethod
        def find_spec(name: str, *_: object) -> None:
            if name == "mpnn.train.command.cli":
                raise KeyboardInterrupt

    monkeypatch.setenv("OMP_WAIT_POLICY", "PASSIVE")
    monkeypatch.delitem(sys.modules, "mpnn.train.command.cli", raising=False)
    monkeypatch.setattr(sys, "meta_path", [Finder, *sys.meta_path])
    assert mpnn_command.main() == 130
