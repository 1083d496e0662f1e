"""Damaged files are read in processes of their own, with bounds of memory and time; what came of it."""

from __future__ import annotations

import contextlib
import importlib
import json
import multiprocessing
import os
import random
import resource
import select
import shutil
import signal
import tempfile
import time
import traceback
import warnings
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from pathlib import Path
from typing import NamedTuple

from mpnn.datasets import DataError
from mpnn.datasets.problems import ProblemsError
from mpnn.models.language.pretrained import WeightsError
from mpnn.train import RunError
from tests.fuzz_files.digest import digest
from tests.fuzz_files.format import Format
from tests.fuzz_files.mutate import damaged

MEMORY = 2 << 30  # bytes beside those that the libraries have mapped
SECONDS = 20.0
FINDINGS = ("crash", "traceback", "hang", "changed")
KINDS = ("same", "other", "refused", *FINDINGS)
# What is imported where it is needed, imported once, before processes are copied.
LATE = (
    "sklearn.impute",
    "sklearn.preprocessing",
    "PIL.Image",
    "pyarrow.parquet",
    "torch_geometric.data",
    "mpnn.train",
)


class Case(NamedTuple):
    """A damaged file: the name of its format, and how it is damaged."""

    format: str
    seed: int

    def __str__(self) -> str:
        return f"{self.format}:{self.seed}"


class Verdict(NamedTuple):
    """What came of reading it: `same`, `other` or `refused`, or one of `FINDINGS`; and the words."""

    case: Case
    kind: str
    words: str

    @property
    def is_finding(self) -> bool:
        """Whether that should not be."""
        return self.kind in FINDINGS


def import_all() -> None:
    """Import what reading needs."""
    for name in LATE:
        importlib.import_module(name)


class Samples:
    """A folder of sound files for each format, and what each is read as."""

    def __init__(self, home: Path, formats: Iterable[Format], seconds: float = SECONDS) -> None:
        self._home, self._seconds, self._digests = home, seconds, dict[str, str]()
        self._formats = {one.name: one for one in formats}
        os.environ["MPNN_CACHE"] = str(home / "cache")
        for one in self._formats.values():
            place = home / one.name
            place.mkdir()
            said = _in_child(partial(self._make, one, place), 300.0)
            if said[:1] != ["sound"]:
                raise AssertionError(f"the sound file of {one.name} is not read: {said}")
            self._digests[one.name] = said[1]

    def _make(self, one: Format, place: Path) -> list[str]:
        one.make(place)
        with _copied(place) as folder:
            os.chdir(folder)
            _bound()
            return ["sound", digest(one.read(folder))]

    def read(self, case: Case) -> Verdict:
        """Damage a copy and read it."""
        said = _in_child(lambda: self._read(case), self._seconds)
        return Verdict(case, said[0], said[1])

    def _read(self, case: Case) -> list[str]:
        one, draw = self._formats[case.format], random.Random(str(case))
        with _copied(self._home / one.name) as folder:
            path = draw.choice(sorted(folder.glob(one.file)))
            made = damaged(path.read_bytes(), draw)
            path.unlink()
            path.write_bytes(made.content)
            os.chdir(folder)
            _bound()
            try:
                found = digest(one.read(folder))
            except (DataError, RunError, WeightsError) as error:
                if one.heals or ("\n" in str(error) and not isinstance(error, ProblemsError)):
                    return ["traceback", f"{made.how}: {error}"]
                return ["refused", f"{made.how}: {error}"]
            except BaseException:
                return ["traceback", f"{made.how}: {traceback.format_exc()}"]
            if found == self._digests[one.name]:
                return ["same", made.how]
            return ["changed" if one.sums and not made.summed else "other", made.how]


@contextlib.contextmanager
def _copied(place: Path) -> Iterator[Path]:
    folder = Path(tempfile.mkdtemp(dir=place.parent, prefix="copy-"))
    try:
        yield shutil.copytree(place, folder, dirs_exist_ok=True)
    finally:
        shutil.rmtree(folder)


def _bound() -> None:
    mapped = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (mapped + MEMORY, resource.RLIM_INFINITY))


def read_all(samples: Samples, cases: Iterable[Case], jobs: int) -> Iterator[Verdict]:
    """Read cases in some processes at once."""
    with multiprocessing.get_context("fork").Pool(jobs, _samples.append, (samples,)) as pool:
        yield from pool.imap(_read_one, cases)


_samples: list[Samples] = []  # of a process of the pool


def _read_one(case: Case) -> Verdict:
    return _samples[-1].read(case)


def _in_child(act: Callable[[], list[str]], seconds: float) -> list[str]:
    """What a function returns in a process of its own, which may crash or wait for ever."""
    arrives, leaves = os.pipe()
    pid = os.fork()
    if not pid:
        _be_child(act, leaves)
    os.close(leaves)
    content, ends = b"", time.monotonic() + seconds
    try:
        while select.select([arrives], [], [], max(0.0, ends - time.monotonic()))[0]:
            part = os.read(arrives, 1 << 16)
            if not part:
                break
            content += part
        else:
            os.killpg(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
            return ["hang", f"after {seconds:g} seconds it had not ended"]
    finally:
        os.close(arrives)
    _, status = os.waitpid(pid, 0)
    if os.WIFSIGNALED(status):
        return ["crash", signal.Signals(os.WTERMSIG(status)).name]
    if not content:
        return ["crash", f"it ended with {os.waitstatus_to_exitcode(status)} and said nothing"]
    said: list[str] = json.loads(content)
    return said


def _be_child(act: Callable[[], list[str]], leaves: int) -> None:
    os.setpgid(0, 0)
    silent = os.open(os.devnull, os.O_WRONLY)
    os.dup2(silent, 1)
    os.dup2(silent, 2)
    warnings.simplefilter("ignore")
    try:
        said = act()
    except BaseException:
        said = ["traceback", traceback.format_exc()]
    with contextlib.suppress(BaseException):
        left = memoryview(json.dumps(said).encode())
        while left:
            left = left[os.write(leaves, left) :]
    os._exit(0)
