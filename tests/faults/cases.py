"""Every case: what goes wrong, and what must hold afterwards."""

from __future__ import annotations

import errno
import random
import resource
import shutil
import signal
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from tests.faults.child import Fault, Started, run
from tests.faults.kernels import kernel_checks
from tests.faults.kinds import (
    KINDS,
    Whole,
    begin,
    check_sentence,
    check_visible,
    contents,
    go_on,
    write_data,
)

ERRORS = (errno.ENOSPC, errno.EIO, errno.EDQUOT, errno.EROFS)
DRAWN = ("node", "seeds", "graph", "image", "embed")  # kinds that are killed also as they draw
SIGNALS = (signal.SIGKILL, signal.SIGTERM, signal.SIGHUP, signal.SIGINT)


@dataclass(frozen=True)
class Case:
    """A case.

    Args:
        group: what it belongs to.
        name: what goes wrong.
        check: does it in a folder, and raises unless what must hold holds.
    """

    group: str
    name: str
    check: Callable[[Path], None]


@cache
def whole(kind: str, folder: Path, *flags: str) -> Whole:
    """The run without a break, which is made once."""
    place = folder / "-".join([kind, *flags])
    place.mkdir(exist_ok=True)
    return Whole(kind, place / "run", *flags)


def killed_at(kind: str, part: float, *flags: str) -> Case:
    """Killed at a step of writing, after that part of all steps."""

    def check(folder: Path) -> None:
        one = whole(kind, folder, *flags)
        step = 1 + min(int(part * one.steps), one.steps - 1)
        ended = one.broken(Fault(step))
        assert ended.code == -signal.SIGKILL, f"step {step} of {one.steps}: exit {ended.code}, {ended.err}"
        check_visible(one.home)
        one.check_goes_on()

    return Case("kills at a step", f"{' '.join([kind, *flags])}, {100 * part:.0f} % of its steps", check)


def fails_at(kind: str, part: float, error: int, *, lasting: bool) -> Case:
    """A step of writing fails, or all from there."""

    def check(folder: Path) -> None:
        one = whole(kind, folder)
        ended = one.broken(Fault(1 + int(part * one.steps), error, lasting))
        check_sentence(ended)
        check_visible(one.home)
        one.check_goes_on() if ended.code else None

    how = f"{errno.errorcode[error]}{' from there' if lasting else ''}"
    return Case("failing writes", f"{kind}, {100 * part:.0f} % of its steps, {how}", check)


def signalled(kind: str, number: signal.Signals, seed: int) -> Case:
    """A signal at a random time."""

    def check(folder: Path) -> None:
        one = whole(kind, folder)
        shutil.rmtree(one.home, ignore_errors=True)
        started = Started(begin(kind, one.home, *one.flags), one.home)
        while not (one.home / "config.json").exists() and started.is_alive():
            time.sleep(0.002)
        time.sleep(random.Random(seed).uniform(0, 0.5))
        started.kill(number)
        ended = started.end()
        allowed = {0, -number} | (set() if number == signal.SIGKILL else {128 + number})
        assert ended.code in allowed, f"exit {ended.code}: {ended.err}"
        assert "Traceback" not in ended.err, ended.err
        check_visible(one.home)
        if ended.code == 128 + number and "go on with" in ended.err:
            kept = one.home if kind != "seeds" else one.home / "seed-0"
            learns = (
                kept / "model.json"
            ).exists()  # it lies there before the first epoch, which a signal awaits
            saved = (kept / "last.pt").exists() or not learns
            assert saved or kind in ("seeds", "folds"), "nothing was saved"
        one.check_goes_on()

    return Case("signals at a random time", f"{kind}, {number.name} ({seed})", check)


def stopped(kind: str, seed: int) -> Case:
    """Stopped at a random time: a resume meanwhile is refused, and the run ends as if nothing had been."""

    def check(folder: Path) -> None:
        one, draw = whole(kind, folder), random.Random(seed)
        shutil.rmtree(one.home, ignore_errors=True)
        started = Started(begin(kind, one.home, *one.flags), one.home)
        while not (one.home / "config.json").exists() and started.is_alive():
            time.sleep(0.002)
        time.sleep(draw.uniform(0, 0.3))
        started.kill(signal.SIGSTOP)
        try:
            if started.is_stopped():
                other = Started(go_on(kind, one.home, *one.flags), one.home, notes=one.home.parent / "other")
                refused = other.end()
                assert refused.code == 2 and "another run is writing" in refused.err, refused
        finally:
            started.kill(signal.SIGCONT)
        ended = started.end()
        assert ended.code == 0, f"exit {ended.code}: {ended.err}"
        one.check_same()

    return Case("stopped for a while", f"{kind} ({seed})", check)


def limited(kind: str, limit: int, most: int) -> Case:
    """A limit of the system."""
    fault = Fault(limits={limit: most})

    def check(folder: Path) -> None:
        one = whole(kind, folder)
        ended = one.broken(fault)
        check_sentence(ended)
        check_visible(one.home)
        one.check_goes_on() if ended.code else None

    return Case("limits", f"{kind}, {fault}", check)


def at_once(kind: str, count: int, seed: int) -> Case:
    """Several starts with different settings in one new folder: one runs, and leaves no trace of others."""

    def check(folder: Path) -> None:
        place = folder / f"at-once-{kind}-{seed}"
        place.mkdir(exist_ok=True)
        write_data(place)
        home = place / "run"
        shutil.rmtree(home, ignore_errors=True)
        flag = "--seed"
        started = []
        for number in range(count):
            words = [*begin(kind, home), flag, str(number)]
            started.append(Started(words, home, notes=place / f"notes-{number}"))
        ended = [one.end() for one in started]
        codes = [one.code for one in ended]
        assert codes.count(0) == 1 and codes.count(2) == count - 1, [one.err for one in ended]
        found = contents(home)
        winner = codes.index(0)
        assert found["config.json"]["seed"] == winner
        shutil.rmtree(home)
        assert run([*begin(kind, home), flag, str(winner)], home).code == 0
        again = contents(home)
        assert again.keys() == found.keys() and again["metrics.csv"] == found["metrics.csv"]

    return Case("starts at once", f"{kind}, {count} starts ({seed})", check)


def in_own_folder(name: str, check: Callable[[Path], None]) -> Callable[[Path], None]:
    """The check, in a new folder inside of the given one."""

    def checked(folder: Path) -> None:
        place = folder / name.replace(" ", "-")
        place.mkdir()
        check(place)

    return checked


def all_cases(per_kind: int, seed: int = 0) -> Iterator[Case]:
    """All cases, `per_kind` of most sorts for each kind of run, in an order that mixes them."""
    draw = random.Random(seed)
    made: list[Case] = []
    for kind in KINDS:
        made += [killed_at(kind, (k + draw.random()) / (2 * per_kind)) for k in range(2 * per_kind)]
        made += [
            fails_at(kind, (k + draw.random()) / per_kind, draw.choice(ERRORS), lasting=k % 2 == 0)
            for k in range(per_kind)
        ]
        made += [signalled(kind, SIGNALS[k % 4], draw.randrange(10**6)) for k in range(per_kind)]
        if kind not in ("seeds", "folds"):
            made.append(at_once(kind, 6, draw.randrange(10**6)))
        made += [limited(kind, resource.RLIMIT_FSIZE, most) for most in (500, 1000, 3000, 20_000)]
        made += [limited(kind, resource.RLIMIT_NOFILE, most) for most in (6, 9, 12, 20)]
        made += [limited(kind, resource.RLIMIT_AS, round(most * 2**20)) for most in (0.3, 2, 10, 40)]
        made += [stopped(kind, draw.randrange(10**6)) for _ in range(2)]
        if kind in DRAWN:
            late = [0.5 + (k + draw.random()) / 8 for k in range(4)]  # pictures come last
            made += [killed_at(kind, part, "--pictures", "png") for part in late]
    checks = kernel_checks(per_kind, draw)
    made += [Case(group, name, in_own_folder(name, check)) for group, name, check in checks]
    draw.shuffle(made)
    yield from made
