"""The folder of compiled kernels: private, of bounded size, and without what dead processes left.

`$MPNN_CACHE` names it, `$MPNN_CACHE_SIZE` its size, say 500M: beyond it the least recently used kernels go.
Only files and folders that have the names of this module's are ever removed.
"""

from __future__ import annotations

import atexit
import contextlib
import functools
import os
import re
import shutil
import stat
import tempfile
import time
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

SIZE = 1 << 30  # bytes
_UNITS = {"": 1, "K": 1 << 10, "M": 1 << 20, "G": 1 << 30, "T": 1 << 40}
_FILE = re.compile(r"[0-9a-f]{32}\.\w+")
_DRAFT = re.compile(r"build-(\d+)-\w+")
_ABANDONED = 3600.0  # seconds after which a draft of another machine's process is one of a dead process


# The folders ----------------------------------------------------------------------------------------------


def cache_folder() -> Path | None:
    """The user's cache folder, or None, after a warning, when there cannot be one.

    `$MPNN_CACHE`, else `mpnn` in `$XDG_CACHE_HOME`, else `~/.cache/mpnn`. A folder of another user, or one
    that other users can write to, is not used, since kernels are code.
    """
    try:
        folder = _named()
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        fault = _fault(folder)
    except (OSError, RuntimeError) as error:
        folder, fault = None, f"{error}: name a folder by MPNN_CACHE"
    if fault:
        _say(f"mpnn compiles its kernels anew in each process: {fault}.")
        return None
    return folder


def _named() -> Path:
    named = os.environ.get("MPNN_CACHE")
    base = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return (Path(named) if named else base / "mpnn").absolute()


def _fault(folder: Path) -> str:
    """Why kernels cannot be kept in a folder, with the cure, or ""."""
    found = folder.stat()
    if found.st_uid != os.getuid():
        return f"{folder} belongs to another user, and kernels are code: name a folder by MPNN_CACHE"
    if stat.S_IMODE(found.st_mode) & 0o022:
        return f"others can write to {folder}, and kernels are code: chmod go-w {folder}"
    if not os.access(folder, os.W_OK):
        return f"{folder} cannot be written to: name another folder by MPNN_CACHE"
    return ""


_said: set[str] = set()


def _say(words: str) -> None:
    if words not in _said:
        _said.add(words)
        warnings.warn(words, RuntimeWarning, stacklevel=3)


def session_folder() -> Path | None:
    """A private folder for this process, where the cache cannot be written."""
    try:
        return _session(os.getpid())
    except OSError:
        return None


@functools.lru_cache(maxsize=1)
def _session(pid: int) -> Path:
    parent = Path(tempfile.gettempdir())
    for left in _drafts(parent, re.compile(r"mpnn-(\d+)-\w+")):
        if left.owner_pid != pid and not _is_running(left.owner_pid):
            shutil.rmtree(left.path, ignore_errors=True)
    folder = Path(tempfile.mkdtemp(prefix=f"mpnn-{pid}-"))
    atexit.register(_remove_session, folder, pid)
    return folder


def _remove_session(folder: Path, pid: int) -> None:
    if os.getpid() == pid:  # not at the end of a child that was forked
        shutil.rmtree(folder, ignore_errors=True)


@contextlib.contextmanager
def draft_folder(folder: Path | None) -> Iterator[Path]:
    """A folder in another, or in the system's for temporary files, in which something is made."""
    with tempfile.TemporaryDirectory(dir=folder, prefix=f"build-{os.getpid()}-") as made:
        yield Path(made)


# Its size -------------------------------------------------------------------------------------------------


class Contents(NamedTuple):
    """What a cache holds."""

    folder: Path
    num_files: int
    num_bytes: int
    limit: int


def contents() -> Contents | None:
    """What the cache holds; None without one."""
    folder = cache_folder()
    if folder is None:
        return None
    files = list(_files(folder))
    return Contents(folder, len(files), sum(one.size for one in files), limit())


def limit() -> int:
    """Beyond how many bytes kernels are removed."""
    given = os.environ.get("MPNN_CACHE_SIZE", "")
    found = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([KMGT]?)i?B?\s*", given, re.IGNORECASE)
    if given and not found:
        _say(f"MPNN_CACHE_SIZE is {given!r}, but must be a number of bytes, say 500M: it counts as 1G.")
    return int(float(found[1]) * _UNITS[found[2].upper()]) if found else SIZE


def used(path: Path) -> None:
    """Note that a file was used now: those that were not for the longest time go first."""
    with contextlib.suppress(OSError):
        os.utime(path)


def tidy(folder: Path) -> None:
    """Remove what dead processes left, and the kernels that were not used for the longest time."""
    now = time.time()
    for left in _drafts(folder, _DRAFT):
        if now - left.changed > _ABANDONED:  # its process may be of another machine
            shutil.rmtree(left.path, ignore_errors=True)
    together: dict[str, list[_File]] = {}
    for one in _files(folder):
        together.setdefault(one.path.stem, []).append(one)
    kernels = sorted(together.values(), key=lambda files: max(one.changed for one in files))
    total, most = sum(one.size for files in kernels for one in files), limit()
    for files in kernels[:-1]:  # the last was made just now
        if total <= most:
            return
        total -= sum(one.size for one in files)
        _remove(files)


def clear() -> int:
    """Empty the cache; the number of files that were in it."""
    folder = cache_folder()
    files = [] if folder is None else list(_files(folder))
    _remove(files)
    if folder is not None:
        for left in _drafts(folder, _DRAFT):
            shutil.rmtree(left.path, ignore_errors=True)
    return len(files)


class _File(NamedTuple):
    path: Path
    size: int
    changed: float


def _files(folder: Path) -> Iterator[_File]:
    for entry in os.scandir(folder):
        if _FILE.fullmatch(entry.name):
            with contextlib.suppress(FileNotFoundError):  # another process was faster
                found = entry.stat(follow_symlinks=False)
                yield _File(Path(entry.path), found.st_size, found.st_mtime)


def _remove(files: list[_File]) -> None:
    for one in files:
        with contextlib.suppress(OSError):
            one.path.unlink()


class _Draft(NamedTuple):
    path: Path
    owner_pid: int
    changed: float


def _drafts(folder: Path, names: re.Pattern[str]) -> Iterator[_Draft]:
    for entry in os.scandir(folder):
        found = names.fullmatch(entry.name)
        if found and entry.is_dir(follow_symlinks=False):
            with contextlib.suppress(FileNotFoundError):
                about = entry.stat(follow_symlinks=False)
                if about.st_uid == os.getuid():
                    yield _Draft(Path(entry.path), int(found[1]), about.st_mtime)


def _is_running(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except OSError:
        return True
    return True
