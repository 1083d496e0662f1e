"""Some damaged files of every format; `make fuzz-files` reads thousands."""

from __future__ import annotations

import subprocess
import sys


def test_a_dozen_damaged_files_are_read_or_refused_in_a_sentence() -> None:
    # In another process, since this one has threads, and is not copied whole.
    command = [sys.executable, "-m", "tests.fuzz_files", "--dozen"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "12 files" in done.stdout


def test_what_crashes_hangs_or_raises_is_a_finding() -> None:
    command = [sys.executable, "-m", "tests.fuzz_files", "--broken"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=300)
    assert done.returncode == 1, done.stdout + done.stderr
    for words in ("crash: SIGSEGV", "hang: ", "RuntimeError: broken", "changed: "):
        assert words in done.stdout
