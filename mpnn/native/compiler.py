"""C source to a loaded library, through the system's compiler and a private cache on disk.

The cache key is the source, the compiler and its flags, and the processor: machines that share a home folder
never load a kernel compiled for another processor. A library is written under a temporary name and renamed,
so processes may compile the same kernel at once; a library that was cut off or changed since is compiled
again.

`$CC` names the compiler, and `$MPNN_CFLAGS` adds flags to those of this file, as `make asan` does.
"""

from __future__ import annotations

import contextlib
import ctypes
import functools
import hashlib
import os
import platform
import shlex
import shutil
import stat
import tempfile
import warnings
from pathlib import Path
from typing import NamedTuple

from mpnn.native import command, whole

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
PATIENCE = 120.0  # seconds for a kernel
SHORT_PATIENCE = 30.0  # seconds for a version or a self-test


class CompilerError(RuntimeError):
    """No kernel can be compiled; the text says why."""


class HangsError(CompilerError):
    """The compiler exceeded its time."""


_hung: list[str] = []  # one entry for each time; after the second the compiler is not started again


class Library(ctypes.CDLL):
    """The functions of a compiled source."""

    @property
    def path(self) -> Path:
        """The file; facts about it may be stored beside it under another suffix."""
        return Path(self._name)


def load(source: str, *, exact: bool = False) -> Library:
    """The library of a source, compiled unless it is in the cache.

    With `exact` the compiler does not fuse a multiplication and an addition, so the same formula gives the
    same bits in every kernel. The backward pass of a maximum finds the largest message by comparing such
    bits.

    Raises:
        CompilerError: there is no compiler, the compiler fails, or no folder can be written to.
    """
    tools = toolchain()
    if len(_hung) > 1:
        raise HangsError(_hung[-1])
    tools = tools._replace(flags=(*tools.flags, f"-ffp-contract={'off' if exact else 'fast'}"))
    identity = "\n".join([source, tools.compiler, tools.version, *tools.flags, *tools.more, processor()])
    key = hashlib.sha256(identity.encode()).hexdigest()[:32]
    last: Exception | None = None
    for find_folder in (cache_folder, session_folder):
        folder = find_folder()
        if folder is None:
            continue
        path = folder / f"{key}.so"
        try:
            if not whole.is_whole(path):
                _compile(source, path, tools)
            return Library(str(path))
        except OSError as error:  # a full disk, or one without permission to execute: try the next folder
            last = error
    raise CompilerError(f"no folder can hold a compiled kernel: {last}")


def _compile(source: str, path: Path, tools: Toolchain) -> None:
    with tempfile.TemporaryDirectory(dir=path.parent, prefix="build-") as build:
        text, made, library = (Path(build) / name for name in ("kernel.c", "kernel.o", "kernel.so"))
        text.write_text(source)
        # Linked without naming an OpenMP library: the symbols are those of PyTorch's own, already loaded.
        _run([tools.compiler, *tools.flags, *tools.more, "-c", str(text), "-o", str(made)])
        _run([tools.compiler, "-shared", *tools.more, str(made), "-o", str(library), "-lm"])
        text.replace(path.with_suffix(".c"))  # for a person to read
        whole.put(library, path)


def _run(words: list[str], seconds: float | None = None) -> None:
    """Run the compiler, and raise CompilerError unless it made its file."""
    try:
        done = command.run(words, PATIENCE if seconds is None else seconds)
    except TimeoutError as error:
        _hung.append(str(error))
        raise HangsError(str(error)) from error
    except OSError as error:
        raise CompilerError(f"{words[0]} cannot be run: {error}") from error
    made = Path(words[words.index("-o") + 1])
    if done.code or not made.exists():
        if "No space left" in done.complaint:
            raise OSError(done.complaint)
        raise CompilerError(f"{words[0]} failed: {done.complaint.strip()[-2000:] or 'it made nothing'}")


class Toolchain(NamedTuple):
    """A compiler and its flags."""

    compiler: str
    version: str
    flags: tuple[str, ...]
    more: tuple[str, ...] = ()  # for the compiler and the linker


def toolchain() -> Toolchain:
    """The compiler, with flags whose code runs on this processor.

    Raises:
        CompilerError: there is no C compiler, or its programs do not run.
    """
    found = _find_toolchain()
    if isinstance(found, str):
        raise CompilerError(found)
    return found


@functools.lru_cache(maxsize=1)
def _find_toolchain() -> Toolchain | str:
    """The same, or the reason why there is none; found once in a process."""
    wanted = os.environ.get("CC")
    name = next(filter(None, map(shutil.which, [wanted] if wanted else ["cc", "gcc", "clang"])), None)
    if name is None:
        return f"no C compiler was found ({wanted or 'cc, gcc, clang'})"
    try:
        version = command.run([name, "--version"], SHORT_PATIENCE).output.split("\n")[0]
        more = tuple(shlex.split(os.environ.get("MPNN_CFLAGS", "")))
    except OSError as error:  # it hangs, or is not a compiler
        return f"{name} --version says nothing: {error}"
    except ValueError as error:
        return f"MPNN_CFLAGS is {os.environ['MPNN_CFLAGS']!r}, which is no list of flags: {error}"
    threads = ("-fopenmp",) if share_threads() and "clang" not in version else ("-fopenmp-simd",)
    complaint = ""
    for target in TARGETS:
        wishes: tuple[str, ...] = WISHES
        for _ in range(2):
            flags = (*FLAGS, *wishes, *target)
            complaint = _self_test(name, (*flags, *more))
            if not complaint:
                return Toolchain(name, version, (*flags, *threads), more)
            if _hung:
                return complaint
            wishes = tuple([flag for flag in wishes if flag not in complaint])  # the flags that it accepts
            if wishes == WISHES:
                break
    return f"{name} makes no program that runs here: {complaint}"


def _self_test(compiler: str, flags: tuple[str, ...]) -> str:
    """Why a program compiled with these flags fails, or "".

    It runs in another process, since it may crash.
    """
    complaint = ""
    for folder in (cache_folder(), None):  # one may be full, or not allow programs to run
        try:
            with tempfile.TemporaryDirectory(dir=folder, prefix="build-") as build:
                source, program = Path(build) / "test.c", Path(build) / "test"
                source.write_text(SELF_TEST)
                _run([compiler, *flags, str(source), "-o", str(program)], SHORT_PATIENCE)
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


def cache_folder() -> Path | None:
    """The user's private cache folder, or None when there cannot be one.

    `$MPNN_CACHE`, else `mpnn` in `$XDG_CACHE_HOME`, else `~/.cache/mpnn`. A folder of another user, or one
    that other users can write to, is not used, since kernels are code.
    """
    named = os.environ.get("MPNN_CACHE")
    try:
        base = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
        folder = (Path(named) if named else base / "mpnn").absolute()
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        found = folder.stat()
        if found.st_uid != os.getuid() or stat.S_IMODE(found.st_mode) & 0o022:
            return None
        return folder if os.access(folder, os.W_OK) else None
    except (OSError, RuntimeError):
        return None


@functools.lru_cache(maxsize=1)
def _temporary() -> tempfile.TemporaryDirectory[str]:
    return tempfile.TemporaryDirectory(prefix="mpnn-")


def session_folder() -> Path | None:
    """A private folder for this process, where the cache cannot be written."""
    try:
        return Path(_temporary().name)
    except OSError:
        return None


@functools.lru_cache(maxsize=1)
def has_compiler() -> bool:
    """Whether kernels can be compiled on this machine; if not, one warning gives the reason."""
    try:
        toolchain()
    except CompilerError as error:
        warnings.warn(f"mpnn runs without compiled kernels: {error}.", RuntimeWarning, stacklevel=2)
        return False
    return True
