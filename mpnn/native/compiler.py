"""C source to a loaded library, through the system's compiler and a private cache on disk.

The cache is keyed by content: the source, the compiler and its flags, and the processor, so that a home
folder shared between machines never serves a kernel to a processor that it was not made for. A library is
written
under a temporary name and renamed, so processes that compile the same kernel at once do not meet.
"""

from __future__ import annotations

import contextlib
import ctypes
import functools
import hashlib
import os
import platform
import shutil
import stat
import subprocess
import tempfile
import warnings
from pathlib import Path
from typing import NamedTuple

FLAGS = (
    "-std=gnu11", "-O3", "-fPIC", "-w",
    "-fno-math-errno", "-fno-trapping-math",
    # These turn a choice between two numbers into a branch, and a loop with a branch is not vectorised:
    # the gradient of relu(x_i - x_j) ran ten times slower with them.
    "-fno-thread-jumps", "-fno-ssa-phiopt", "-fno-tree-pre", "-fno-code-hoisting", "-fno-tree-sink",
)  # fmt: skip
# From the best that the processor offers down to what every processor of its kind has.
TARGETS = (("-march=native",), ())
SELF_TEST = """
#include <stdint.h>
float a[1024], b[1024];
int main(int argc, char **argv) {
    for (int i = 0; i < 1024; i++) b[i] = argc * i;
    for (int i = 0; i < 1024; i++) a[i] = b[i] * 2.0f + a[i];
    return a[3] == 6.0f * argc ? 0 : 1;
}
"""


class CompilerError(RuntimeError):
    """No kernel can be made here; the text says why."""


def load(source: str, *, exact: bool = False) -> ctypes.CDLL:
    """The library of a source, compiled unless it is in the cache.

    `exact` keeps a multiplication and an addition two operations, each rounded: the same formula then gives
    the same bits in every kernel. A maximum is found again in the backward pass by comparing such bits.

    Raises:
        CompilerError: there is no compiler, or it fails, or nothing can be written anywhere.
    """
    tools = toolchain()
    tools = tools._replace(flags=(*tools.flags, f"-ffp-contract={'off' if exact else 'fast'}"))
    identity = "\n".join([source, tools.compiler, tools.version, *tools.flags, processor()])
    key = hashlib.sha256(identity.encode()).hexdigest()[:32]
    last: Exception | None = None
    for find_folder in (cache_folder, session_folder):
        folder = find_folder()
        if folder is None:
            continue
        path = folder / f"{key}.so"
        try:
            if not path.exists():
                _compile(source, path, tools)
            return ctypes.CDLL(str(path))
        except OSError as error:  # a full or read-only disk, or a damaged file: try the next place
            last = error
            with contextlib.suppress(OSError):
                path.unlink()
    raise CompilerError(f"no folder can hold a compiled kernel: {last}")


def _compile(source: str, path: Path, tools: Toolchain) -> None:
    with tempfile.TemporaryDirectory(dir=path.parent, prefix="build-") as build:
        text, made, library = (Path(build) / name for name in ("kernel.c", "kernel.o", "kernel.so"))
        text.write_text(source)
        # Linked without naming an OpenMP library: the symbols are those of PyTorch's own, already loaded.
        _run([tools.compiler, *tools.flags, "-c", str(text), "-o", str(made)])
        _run([tools.compiler, "-shared", str(made), "-o", str(library), "-lm"])
        text.replace(path.with_suffix(".c"))  # for a reader; never read again
        library.replace(path)


def _run(command: list[str]) -> None:
    try:
        english = {**os.environ, "LC_ALL": "C"}
        done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False, env=english)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise CompilerError(f"{command[0]} cannot be run: {error}") from error
    if done.returncode:
        if "No space left" in done.stderr:
            raise OSError(done.stderr)
        raise CompilerError(f"{command[0]} failed: {done.stderr.strip()[-2000:]}")


class Toolchain(NamedTuple):
    """What compiles, and how."""

    compiler: str
    version: str
    flags: tuple[str, ...]


@functools.lru_cache(maxsize=1)
def toolchain() -> Toolchain:
    """The compiler, and the flags whose code runs on this processor.

    Raises:
        CompilerError: there is no C compiler, or none of its programs runs.
    """
    wanted = os.environ.get("CC")
    name = next(filter(None, map(shutil.which, [wanted] if wanted else ["cc", "gcc", "clang"])), None)
    if name is None:
        raise CompilerError(f"no C compiler was found ({wanted or 'cc, gcc, clang'})")
    version = _first_line([name, "--version"])
    threads = ("-fopenmp",) if share_threads() and "clang" not in version else ("-fopenmp-simd",)
    for target in TARGETS:
        if _self_test(name, (*FLAGS, *target)):
            return Toolchain(name, version, (*FLAGS, *target, *threads))
    raise CompilerError(f"{name} makes no program that runs here")


def _self_test(compiler: str, flags: tuple[str, ...]) -> bool:
    """Whether a vectorised program made with these flags runs; in a process of its own, for it may crash."""
    with tempfile.TemporaryDirectory() as folder:
        source, program = Path(folder) / "test.c", Path(folder) / "test"
        source.write_text(SELF_TEST)
        try:
            _run([compiler, *flags, str(source), "-o", str(program)])
            return subprocess.run([str(program)], timeout=30, check=False).returncode == 0
        except (CompilerError, OSError, subprocess.TimeoutExpired):
            return False


def _first_line(command: list[str]) -> str:
    try:
        return subprocess.run(command, capture_output=True, text=True, check=False).stdout.split("\n")[0]
    except OSError:
        return ""


@functools.lru_cache(maxsize=1)
def processor() -> str:
    """What distinguishes this processor from others that the cache may be shared with."""
    with contextlib.suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith(("flags", "Features")):
                return platform.machine() + line
    return platform.machine() + platform.processor()


@functools.lru_cache(maxsize=1)
def share_threads() -> bool:
    """Make PyTorch's OpenMP library visible to the kernels; whether there is one."""
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

    `$MPNN_CACHE`, else `mpnn` in `$XDG_CACHE_HOME`, else `~/.cache/mpnn`. A folder of somebody else, or one
    that others can write to, is not used: a kernel is code.
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
    """Whether kernels can be compiled here; says once why not."""
    try:
        toolchain()
    except CompilerError as error:
        warnings.warn(f"mpnn runs without compiled kernels: {error}.", RuntimeWarning, stacklevel=2)
        return False
    return True
