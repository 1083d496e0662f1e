"""Cases of compiled kernels: many processes at once, files that are cut or altered, hostile compilers."""

from __future__ import annotations

import random
import shutil
import stat
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path

from tests.faults.child import Fault, Started, run
from tests.faults.kinds import begin, contents

OUT = 'out=$(echo "$*" | sed "s/.*-o \\([^ ]*\\).*/\\1/"); '  # the file that is to be made
# What stands for a compiler, as a shell script; `exec gcc` is the true one.
COMPILERS = {
    "fails": "exit 1",
    "says what is no text": "printf '\\377\\376\\200' >&2; exit 1",
    "makes nothing": "exit 0",
    "makes an empty file": OUT + ': > "$out"',
    "makes what is no library": OUT + 'echo nonsense > "$out"',
    "makes a folder": OUT + 'mkdir -p "$out"',
    "makes what ends at once": OUT + 'printf "#!/bin/sh\\nexit 3\\n" > "$out"; chmod +x "$out"',
    "dies": "kill -SEGV $$",
    "is slow": 'sleep 0.3; exec gcc "$@"',
    "fills its output": "head -c 3000000 /dev/zero | tr '\\0' x >&2; exit 1",
}


def twenty_at_once(folder: Path, count: int = 20) -> None:
    """Processes that compile the same kernels at once, in an empty cache, are right, and leave it whole."""
    words = ("--dropout", "0", "--no-pictures")
    cache, homes = _cache(folder), [folder / f"run-{number}" for number in range(count)]
    started = [
        Started(begin("node", home, *words), home, variables={"MPNN_CACHE": str(cache)}) for home in homes
    ]
    for ended in [one.end() for one in started]:
        assert ended.code == 0 and "mpnn: " not in ended.err, ended.err
    found = [contents(home)["metrics.csv"] for home in homes]
    assert all(one == found[0] for one in found)
    assert not list(cache.glob("build-*"))
    assert _numbers(folder, cache, True) == found[0]


def altered(folder: Path, how: str, seed: int) -> None:
    """Kernels that were cut or altered are made anew, and the numbers are the same."""
    cache, draw = _cache(folder), random.Random(seed)
    right = _numbers(folder, cache, True)
    for path in sorted(cache.iterdir()):
        if path.suffix == ".so" and draw.random() < 0.7:
            _damage(path, how, draw)
    assert _numbers(folder, cache, False) == right
    assert _numbers(folder, cache, True) == right, "the cache was not mended"


def _damage(path: Path, how: str, draw: random.Random) -> None:
    content = path.read_bytes()
    path.unlink()
    if how == "gone":
        return
    made = bytearray(content)
    if how == "cut":
        made = made[: draw.randrange(len(made))]
    elif how == "bits":
        for _ in range(3):
            made[draw.randrange(len(made))] ^= 1 << draw.randrange(8)
    elif how == "zeros":
        begin_at = draw.randrange(len(made))
        made[begin_at:] = bytes(len(made) - begin_at)
    path.write_bytes(bytes(made))


HOW = ("cut", "bits", "zeros", "gone")


def hostile(folder: Path, name: str) -> None:
    """A compiler that misbehaves costs the speed of kernels, with a word, and nothing else."""
    script = folder / "cc"
    script.write_text(f"#!/bin/sh\n{COMPILERS[name]}\n")
    script.chmod(script.stat().st_mode | stat.S_IXUSR)
    right = _numbers(folder, _cache(folder), True)
    found = _numbers(folder, _cache(folder), False, {"CC": str(script)})
    rows, wanted = (_rows(one) for one in (found, right))
    assert len(rows) == len(wanted)
    for row, other in zip(rows, wanted, strict=True):
        assert all(abs(a - b) <= 1e-4 * (1 + abs(b)) for a, b in zip(row, other, strict=True)), (row, other)


# What is waited for without an end, by the words of the compiler's call that it does not return from.
HANGS = {"asked for its version": "--version", "tested": "test.c", "at a kernel": "kernel.c"}
PATIENCE = 3.0  # seconds


def hangs(folder: Path, at: str) -> None:
    """A compiler that hangs is waited for once, and named."""
    script, log = folder / "cc", folder / "log"
    script.write_text(
        f'#!/bin/sh\ncase "$*" in *{HANGS[at]}*) echo x >> {log}; sleep 1000;; esac\nexec gcc "$@"\n'
    )
    script.chmod(script.stat().st_mode | stat.S_IXUSR)
    home, variables = folder / "run", {"MPNN_CACHE": str(_cache(folder)), "CC": str(script)}
    words = begin("node", home, "--dropout", "0", "--no-pictures")
    ended = run(words, home, Fault(patience=PATIENCE), variables=variables)
    assert ended.code == 0 and "Traceback" not in ended.err, f"exit {ended.code}: {ended.err}"
    said = f"{script} has not ended after {PATIENCE:g} seconds"
    assert ended.err.count(said) == 1, ended.err
    assert log.read_text() == "x\n", "the compiler was asked again"


def _rows(table: bytes) -> list[list[float]]:
    return [[float(cell) for cell in line.split(",")] for line in table.decode().splitlines()[1:]]


def _cache(folder: Path) -> Path:
    cache = folder / "cache"
    shutil.rmtree(cache, ignore_errors=True)
    cache.mkdir(mode=0o700)
    return cache


def _numbers(folder: Path, cache: Path, quiet: bool, more: Mapping[str, str] | None = None) -> bytes:
    """The table of a short run with that cache, which must end well, and, if quiet, without a word."""
    home = folder / "run"
    shutil.rmtree(home, ignore_errors=True)
    words = begin("node", home, "--dropout", "0", "--no-pictures")  # eager draws its masks in another order
    ended = run(words, home, variables={"MPNN_CACHE": str(cache), **(more or {})})
    assert ended.code == 0 and "Traceback" not in ended.err, f"exit {ended.code}: {ended.err}"
    assert not quiet or "mpnn: " not in ended.err, ended.err
    table: bytes = contents(home)["metrics.csv"]
    return table


def kernel_checks(per_sort: int, draw: random.Random) -> Iterator[tuple[str, str, Callable[[Path], None]]]:
    """Group, name and check of each case."""
    yield "kernels", "20 processes on an empty cache", twenty_at_once
    for number in range(per_sort):
        how, seed = HOW[number % len(HOW)], draw.randrange(10**6)
        yield "kernels", f"{how} ({seed})", partial(altered, how=how, seed=seed)
    for name in COMPILERS:
        yield "compilers", f"one that {name}", partial(hostile, name=name)
    for at in HANGS:
        yield "compilers", f"one that hangs {at}", partial(hangs, at=at)
