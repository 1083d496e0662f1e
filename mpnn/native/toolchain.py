"""The system's C compiler, and the flags with which its programs run on this processor.

`$CC` names the compiler, and `$MPNN_CFLAGS` adds flags to those of this file, as `make asan` does. What was
found is kept in the cache, so that the next process starts no compiler and no program to find it again.
"""

from __future__ import annotations

import contextlib
import ctypes
import functools
import hashlib
import json
import os
import platform
import shlex
import shutil
from pathlib import Path
from typing import Any, NamedTuple

from mpnn.native import cache, command

FLAGS = ("-std=gnu11", "-O3", "-fPIC", "-w", "-fno-math-errno", "-fno-trapping-math")
# For GCC only: without these flags GCC turns a choice between two numbers into a branch, and does not
# vectorise a loop with a branch: the gradient of relu(x_i - x_j) ran ten times slower.
WISHES: tuple[str, ...] = (
    "-fno-thread-jumps", "-fno-ssa-phiopt", "-fno-tree-pre", "-fno-code-hoisting", "-fno-tree-sink",
)  # fmt: skip
# From the best instructions of this processor down to those that every processor of its kind has.
TARGETS = (("-march=native",), ())
SELF_TEST = """
#include <stdint.h>
#include <stdio.h>
float a[1024], b[1024];
int main(int argc, char **argv) {
    for (int i = 0; i < 1024; i++) b[i] = argc * i;
    for (int i = 0; i < 1024; i++) a[i] = b[i] * 2.0f + a[i];
    return puts(a[3] == 6.0f * argc ? "right" : "wrong") < 0;
}
"""
SHORT_PATIENCE = 30.0  # seconds for a version or a self-test
_EDITION = "1"  # of what is kept: that of another is not read


class CompilerError(RuntimeError):
    """No kernel can be compiled; the text says why."""


class HangsError(CompilerError):
    """The compiler exceeded its time."""


hung: list[str] = []  # what did not end: the compiler is not started again in this process


class Toolchain(NamedTuple):
    """A compiler and its flags."""

    compiler: str
    version: str
    flags: tuple[str, ...]
    more: tuple[str, ...] = ()  # for the compiler and the linker
    openmp: str = ""  # a library that its kernels need, "" where PyTorch's own serves


def toolchain() -> Toolchain:
    """The compiler, with flags whose code runs on this processor.

    Raises:
        CompilerError: there is no C compiler, or its programs do not run.
    """
    found = find_toolchain()
    if isinstance(found, str):
        raise CompilerError(found)
    return found


@functools.lru_cache(maxsize=1)
def find_toolchain() -> Toolchain | str:
    """The same, or the reason why there is none; found once in a process."""
    wanted = os.environ.get("CC")
    name = next(filter(None, map(shutil.which, [wanted] if wanted else ["cc", "gcc", "clang"])), None)
    if name is None:
        return f"no C compiler was found ({wanted or 'cc, gcc, clang'})"
    try:
        more = tuple(shlex.split(os.environ.get("MPNN_CFLAGS", "")))
    except ValueError as error:
        return f"MPNN_CFLAGS is {os.environ['MPNN_CFLAGS']!r}, which is no list of flags: {error}"
    kept = _Kept(name, more)
    found = kept.read() or _search(name, more)
    if isinstance(found, str):
        return found
    share_threads()
    if found.openmp:
        ctypes.CDLL(found.openmp, mode=ctypes.RTLD_GLOBAL)
    kept.write(found)
    return found


def _search(name: str, more: tuple[str, ...]) -> Toolchain | str:
    try:
        version = command.run([name, "--version"], SHORT_PATIENCE).output.split("\n")[0]
    except OSError as error:  # it hangs, or is not a compiler
        return f"{name} --version says nothing: {error}"
    is_clang = "clang" in version
    openmp = _openmp_of(name) if is_clang else ""
    threads = ("-fopenmp",) if (openmp if is_clang else share_threads()) else ("-fopenmp-simd",)
    complaint = ""
    for target in TARGETS:
        flags = [*FLAGS, *WISHES, *target]
        for _ in range(2):
            complaint = _self_test(name, (*flags, *more))
            if not complaint:
                return Toolchain(name, version, (*flags, *threads), more, openmp)
            if hung:
                return complaint
            unknown = [flag for flag in WISHES if flag in complaint]
            if not unknown:
                break
            flags = [flag for flag in flags if flag not in unknown]
    return f"{name} makes no program that runs here: {complaint}"


def _openmp_of(clang: str) -> str:
    """The OpenMP library of a clang, which calls other functions than GCC does; "" if it is not there."""
    for name in ("libomp.so", "libomp.so.5"):  # the first comes with a package for developers
        with contextlib.suppress(OSError):
            found = command.run([clang, f"-print-file-name={name}"], SHORT_PATIENCE).output.strip()
            if Path(found).is_absolute():
                ctypes.CDLL(found)
                return found
    return ""


def make(words: list[str], seconds: float) -> None:
    """Run the compiler, which makes the file after `-o`.

    Raises:
        CompilerError: it makes none.
        HangsError: it does not end.
        OSError: there is no room for its file.
    """
    try:
        done = command.run(words, seconds)
    except TimeoutError as error:
        hung.append(str(error))
        raise HangsError(str(error)) from error
    except OSError as error:
        raise CompilerError(f"{words[0]} cannot be run: {error}") from error
    made = Path(words[words.index("-o") + 1])
    if done.code or not made.exists():
        if "No space left" in done.complaint:
            raise OSError(done.complaint)
        raise CompilerError(f"{words[0]} failed: {done.complaint.strip()[-2000:] or 'it made nothing'}")


def _self_test(compiler: str, flags: tuple[str, ...]) -> str:
    """Why a program compiled with these flags fails, or "".

    It runs in another process, since it may crash.
    """
    complaint = ""
    for folder in (cache.cache_folder(), None):  # one may be full, or not allow programs to run
        try:
            with cache.draft_folder(folder) as build:
                source, program = build / "test.c", build / "test"
                source.write_text(SELF_TEST)
                make([compiler, *flags, str(source), "-o", str(program)], SHORT_PATIENCE)
                done = command.run([str(program)], SHORT_PATIENCE)
        except CompilerError as error:
            return str(error)
        except OSError as error:
            complaint = complaint or str(error)
            continue
        if done.output == "right\n":
            return ""
        said = (done.output + done.complaint).strip()[-500:]
        return f"a program ended with {done.code}" + (f" and said {said!r}" if said else "")
    return complaint


class _Kept:
    """What was found of a compiler, in the cache, as long as the compiler's file and the flags are the same.

    A script that stands for a compiler may start another one tomorrow: of that nothing is kept.
    """

    def __init__(self, name: str, more: tuple[str, ...]) -> None:
        self._path: Path | None = None
        try:
            found = Path(name).stat()
            with Path(name).open("rb") as file:
                is_script = file.read(2) == b"#!"
        except OSError:
            return
        folder = cache.cache_folder()
        if folder is None or is_script:
            return
        file_now = (name, found.st_size, found.st_mtime_ns)
        parts = [_EDITION, file_now, more, FLAGS, WISHES, TARGETS, SELF_TEST, share_threads(), processor()]
        identity = "\n".join(map(repr, parts))
        self._path = folder / f"{hashlib.sha256(identity.encode()).hexdigest()[:32]}.tools"

    def read(self) -> Toolchain | None:
        """What was kept, if anything was."""
        try:
            content: Any = json.loads(self._path.read_text()) if self._path is not None else None
            compiler, version, flags, more, openmp = content
            return Toolchain(str(compiler), str(version), tuple(flags), tuple(more), str(openmp))
        except (OSError, ValueError, TypeError):
            return None

    def write(self, found: Toolchain) -> None:
        """Keep what was found, where that can be done."""
        if self._path is None or self._path.exists():
            return
        with contextlib.suppress(OSError), cache.draft_folder(self._path.parent) as build:
            draft = build / "tools"
            draft.write_text(json.dumps(found))
            draft.replace(self._path)


@functools.lru_cache(maxsize=1)
def processor() -> str:
    """A text that identifies this kind of processor among machines that share the cache."""
    with contextlib.suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith(("flags", "Features")):
                return platform.machine() + line
    return platform.machine() + platform.processor()


@functools.lru_cache(maxsize=1)
def share_threads() -> bool:
    """Make PyTorch's OpenMP library visible to the kernels; return whether there is one."""
    try:
        maps = Path("/proc/self/maps").read_text()
    except OSError:
        return False
    libraries = {line.split()[-1] for line in maps.splitlines() if "libgomp" in line or "libiomp5" in line}
    for library in sorted(libraries, key=lambda path: "torch" not in path):
        ctypes.CDLL(library, mode=ctypes.RTLD_GLOBAL)
        return True
    return False
