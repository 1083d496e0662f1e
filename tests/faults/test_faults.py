"""A dozen of the cases of `make faults`, and whether they can fail."""

from __future__ import annotations

import errno
import resource
import signal
import time
from concurrent.futures import ThreadPoolExecutor
from multiprocessing import forkserver
from multiprocessing.connection import wait
from pathlib import Path

import pytest

from tests.faults import kernels
from tests.faults.cases import Case, at_once, fails_at, in_own_folder, killed_at, limited, signalled
from tests.faults.child import Ended, Fault, Started
from tests.faults.kinds import Whole, check_sentence

CASES = [
    killed_at("node", 0.0),  # the folder is made
    killed_at("node", 0.08),  # the settings are being written
    killed_at("own", 0.6),
    killed_at("seeds", 0.7),
    killed_at("embed", 0.5),
    fails_at("node", 0.4, errno.ENOSPC, lasting=True),
    fails_at("embed", 0.7, errno.EIO, lasting=False),
    signalled("node", signal.SIGTERM, 5),
    signalled("embed", signal.SIGHUP, 6),
    limited("node", resource.RLIMIT_FSIZE, 3000),
    at_once("node", 3, 0),
    Case("kernels", "cut", in_own_folder("cut", lambda folder: kernels.altered(folder, "cut", 1))),
]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Shared by all, so that each run without a break is made once."""
    return tmp_path_factory.mktemp("faults")


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case.group}: {case.name}")
def test_nothing_is_lost(case: Case, folder: Path) -> None:
    case.check(folder)


def test_a_file_that_differs_is_found(folder: Path) -> None:
    one = Whole("node", folder / "differs")
    one.broken(Fault())
    (one.home / "metrics.csv").write_text("epoch\n")
    with pytest.raises(AssertionError, match=r"best\.pt|metrics\.csv"):
        one.files["metrics.csv"] = b"epoch\n1\n"
        one.check_goes_on()


def test_a_traceback_is_found() -> None:
    with pytest.raises(AssertionError, match="Traceback"):
        check_sentence(Ended(2, "", "Traceback (most recent call last):\n", 0))


def test_how_a_process_ended_is_read_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also where several threads ask at once."""
    read_signed = forkserver.read_signed

    def slow(number: int) -> int:
        time.sleep(0.1)
        code: int = read_signed(number)
        return code

    monkeypatch.setattr(forkserver, "read_signed", slow)
    started = Started(["--version"], tmp_path / "run")
    assert wait([started.process.sentinel], 60)
    with ThreadPoolExecutor(4) as pool:
        assert not any(pool.map(lambda _: started.is_alive(), range(4)))
    assert started.end().code == 0
