"""C source to a loaded library, through the system's compiler and a private cache on disk.

The cache key is the source, the compiler and its flags, and the processor: machines that share a home folder
never load a kernel compiled for another processor. A library is written under a temporary name and renamed,
so processes may compile the same kernel at once; a library that was cut off or changed since is compiled
again.
"""

from __future__ import annotations

import contextlib
import ctypes
import functools
import hashlib
import itertools
import warnings
from pathlib import Path

from mpnn.native import cache, whole
from mpnn.native.toolchain import CompilerError, HangsError, Toolchain, hung, make, processor, toolchain

PATIENCE = 120.0  # seconds for a kernel
TIDY_EVERY = 64  # kernels that a process has compiled
_EDITION = "2"  # of what a file holds: those of another are not found


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
    if hung:
        raise HangsError(hung[-1])
    tools = tools._replace(flags=(*tools.flags, f"-ffp-contract={'off' if exact else 'fast'}"))
    about = [_EDITION, source, tools.compiler, tools.version, *tools.flags, *tools.more, processor()]
    key = hashlib.sha256("\n".join(about).encode()).hexdigest()[:32]
    last: Exception | None = None
    for find_folder in (cache.cache_folder, cache.session_folder):
        folder = find_folder()
        if folder is None:
            continue
        path = folder / f"{key}.so"
        try:
            if _is_kept(path):
                cache.used(path)
            else:
                _compile(source, path, tools)
            return Library(str(path))
        except OSError as error:  # a full disk, or one without permission to execute: try the next folder
            last = error
    raise CompilerError(f"no folder can hold a compiled kernel: {last}")


_compiled = itertools.count()


def _is_kept(path: Path) -> bool:
    """Whether a library lies there; a warning says so where it is damaged."""
    with contextlib.suppress(FileNotFoundError):
        if whole.is_whole(path):
            return True
        warnings.warn(
            f"mpnn compiles a kernel again: {path} was cut off or changed.", RuntimeWarning, stacklevel=4
        )
    return False


def _compile(source: str, path: Path, tools: Toolchain) -> None:
    with cache.draft_folder(path.parent) as build:
        text, made, library = (build / name for name in ("kernel.c", "kernel.o", "kernel.so"))
        text.write_text(source)
        # Linked without naming an OpenMP library: its symbols are loaded already.
        make([tools.compiler, *tools.flags, *tools.more, "-c", str(text), "-o", str(made)], PATIENCE)
        make([tools.compiler, "-shared", *tools.more, str(made), "-o", str(library), "-lm"], PATIENCE)
        text.replace(path.with_suffix(".c"))  # for a person to read
        whole.put(library, path)
    if next(_compiled) % TIDY_EVERY == 0:
        cache.tidy(path.parent)


@functools.lru_cache(maxsize=1)
def has_compiler() -> bool:
    """Whether kernels can be compiled on this machine; if not, one warning gives the reason."""
    try:
        toolchain()
    except CompilerError as error:
        warnings.warn(f"mpnn runs without compiled kernels: {error}.", RuntimeWarning, stacklevel=2)
        return False
    return True
