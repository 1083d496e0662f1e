"""The target that looks for errors in C can fail."""

from __future__ import annotations

import subprocess
import sys


def test_what_is_wrong_on_purpose_is_found_and_fails_the_target() -> None:
    command = [sys.executable, "-m", "tests.asan", "--broken"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 1, done.stderr
    for finding in ("heap-buffer-overflow", "shift exponent 40 is too large", "nan is outside the range"):
        assert finding in done.stdout
    assert "0 cases" not in done.stdout and "; 3 findings, 0 errors on purpose" in done.stdout
