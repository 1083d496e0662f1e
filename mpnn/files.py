"""The door for files: what is read from outside passes `read`, what is written passes `write`.

A file of a stranger may be a device, a pipe that waits for ever, a kilobyte that unpacks to gigabytes, or
have a header that promises a million times its content. Here such a file ends with one sentence. What a
content means is the caller's to check.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import resource
import stat
import warnings
import zipfile
import zlib
from collections.abc import Iterator, Mapping
from math import prod
from pathlib import Path
from tokenize import TokenError
from typing import Any

import numpy as np
from numpy.typing import NDArray

LEAST = 1 << 28  # bytes that any packed file may unpack to
MOST_PACKED = 100  # times the size of the file: text packs to a tenth, long runs of zeros to a thousandth
BLOCK = 1 << 20
_DRAFT = ".draft"
_DAMAGE = (zipfile.BadZipFile, zlib.error, EOFError, ValueError, OSError)
Kind = type[Exception]  # of the error to be raised


# Reading --------------------------------------------------------------------------------------------------


def read(path: Path, error: Kind) -> bytes:
    """The bytes of a file, unpacked if its name ends in `.gz`.

    Raises:
        error: it does not exist, is no regular file, is larger than the memory that is free, or is damaged.
    """
    with opened(path, error) as file:
        size = os.fstat(file.fileno()).st_size
        free = free_memory()
        if size > free:
            raise error(f"{path} holds {size:,} bytes, but only {free:,} bytes of memory are free")
        content = file.read(free + 1)
    return _unpacked(content, path, error) if path.suffix == ".gz" else content


def read_json(path: Path, error: Kind) -> dict[str, Any]:
    """The names and values of a JSON file.

    Raises:
        error: it cannot be read, is damaged, or holds something else.
    """
    try:
        values = json.loads(read(path, error).decode())
    except (ValueError, RecursionError) as fault:
        if isinstance(fault, error):
            raise
        raise error(f"{path} is damaged: {fault}") from fault
    if not isinstance(values, dict):
        raise error(f"{path} is damaged: it should hold names and values, but holds {_json_kind(values)}")
    return values


def _json_kind(value: Any) -> str:
    return "a list" if isinstance(value, list) else f"the value {str(value)[:40]!r}"


@contextlib.contextmanager
def opened(path: Path, error: Kind) -> Iterator[io.BufferedReader]:
    """A regular file, open for reading.

    Raises:
        error: it does not exist, cannot be opened, or is a folder, a device or a pipe.
    """
    with _sentences(path, error):
        # A pipe without a writer must not wait.
        number = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    mode = os.fstat(number).st_mode
    if not stat.S_ISREG(mode):
        os.close(number)
        raise error(f"{path} is {_kind_of(mode)}{_behind(path)}, but should be a file")
    with os.fdopen(number, "rb") as file, _sentences(path, error):
        yield file


@contextlib.contextmanager
def _sentences(path: Path, error: Kind) -> Iterator[None]:
    try:
        yield
    except FileNotFoundError:
        raise error(f"{path} does not exist{_behind(path)}") from None
    except ValueError as fault:  # a zero byte in its name
        raise error(f"{str(path)!r} is no name of a file: {fault}") from None
    except OSError as fault:
        raise error(f"{path} cannot be read: {fault.strerror or fault}") from fault


def _kind_of(mode: int) -> str:
    kinds = {stat.S_IFDIR: "a folder", stat.S_IFIFO: "a pipe", stat.S_IFSOCK: "a socket"}
    return kinds.get(stat.S_IFMT(mode), "a device")


def _behind(path: Path) -> str:
    """Where a link leads, for a sentence."""
    with contextlib.suppress(OSError, ValueError, RuntimeError):
        if path.is_symlink():
            return f" (a link to {path.readlink()})"
    return ""


def _unpacked(content: bytes, path: Path, error: Kind) -> bytes:
    """What gzip packed, a block at a time."""
    most, parts, size, rest = _most(len(content)), [], 0, content
    if content[:2] not in (b"\x1f\x8b", b""):
        raise error(f"{path} cannot be read: it is not packed by gzip")
    try:
        while rest:
            member = zlib.decompressobj(wbits=zlib.MAX_WBITS | 16)
            while not member.eof:
                part = member.decompress(rest, BLOCK)
                rest = member.unconsumed_tail if not member.eof else member.unused_data
                if not part and not rest and not member.eof:
                    raise EOFError("it ends too early")
                parts.append(part)
                size += len(part)
                if size > most:
                    raise error(
                        f"{path} holds {len(content):,} bytes, and unpacks to more than {most:,}: unpack it "
                        "first"
                    )
            rest = rest.lstrip(b"\0")  # padding
    except (EOFError, zlib.error) as fault:
        raise error(f"{path} cannot be read: {fault}") from fault
    return b"".join(parts)


def _most(packed: int) -> int:
    return min(max(LEAST, MOST_PACKED * packed), free_memory())


def free_memory() -> int:
    """How many bytes a process may still take, at half of what is free."""
    free = [1 << 40]
    with contextlib.suppress(OSError, ValueError, IndexError):
        text = Path("/proc/meminfo").read_text().partition("MemAvailable:")[2]
        free.append(int(text.split()[0]) << 10)
    limit, _ = resource.getrlimit(resource.RLIMIT_AS)
    if limit != resource.RLIM_INFINITY:
        taken = 0
        with contextlib.suppress(OSError, ValueError, IndexError):
            taken = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
        free.append(max(0, limit - taken))
    return min(free) // 2


# Arrays of NumPy ------------------------------------------------------------------------------------------


class Arrays(Mapping[str, NDArray[Any]]):
    """The arrays of an `.npz`, each checked and read when it is asked for; nothing in it is run.

    Args:
        content: the file's bytes.
        path: the file, for sentences.
        error: what to raise.
    """

    def __init__(self, content: bytes, path: Path, error: Kind) -> None:
        self._path, self._error = path, error
        try:
            self._zip = zipfile.ZipFile(io.BytesIO(content))
            members = self._zip.namelist()
        except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError) as fault:
            raise error(f"{path} is damaged or of another format: {fault}") from fault
        self._members = {name.removesuffix(".npy"): name for name in members}

    def __contains__(self, name: object) -> bool:
        return name in self._members

    def __iter__(self) -> Iterator[str]:
        return iter(self._members)

    def __len__(self) -> int:
        return len(self._members)

    def __getitem__(self, name: str) -> NDArray[Any]:
        if name not in self._members:
            raise self._error(f"{self._path} has no array {name!r}, but {', '.join(self) or 'none'}")
        member = self._zip.getinfo(self._members[name])
        most = _most(member.compress_size)
        if member.file_size > most:
            raise self._error(
                f"{self._path}: {name!r} unpacks to {member.file_size:,} bytes, but at most {most:,} are read"
            )
        try:
            with self._zip.open(member) as file:
                content = file.read(member.file_size + 1)
            return array(content)
        except _DAMAGE as fault:
            raise self._error(f"{self._path}: {name!r} is damaged: {fault}") from fault
        except (RuntimeError, NotImplementedError) as fault:  # encrypted, or packed in another way
            raise self._error(f"{self._path}: {name!r} cannot be read: {fault}") from fault


def array(content: bytes) -> NDArray[Any]:
    """The array of an `.npy`; nothing in it is run.

    Raises:
        ValueError: it is damaged, holds objects, or is shorter or longer than it says.
    """
    file = io.BytesIO(content)
    version = np.lib.format.read_magic(file)
    if version not in ((1, 0), (2, 0)):
        raise ValueError(f"it is of version {version}")
    read_header = getattr(np.lib.format, f"read_array_header_{version[0]}_0")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of a header written by Python 2
        try:
            shape, turned, dtype = read_header(file)
        except (SyntaxError, TokenError, RecursionError, MemoryError, TypeError) as fault:
            raise ValueError("its header is none of an array") from fault
    if dtype.hasobject:
        raise ValueError("it holds Python objects, which could run code")
    size, there = prod(shape) * dtype.itemsize, len(content) - file.tell()
    if min(shape, default=0) < 0 or size != there:
        raise ValueError(f"it should hold {size:,} bytes, {dtype} {list(shape)}, but holds {there:,}")
    flat = np.frombuffer(content, dtype, prod(shape), file.tell())
    return flat.reshape(shape, order="F" if turned else "C").copy(order="K")


def has_right_sums(path: Path, error: Kind) -> None:
    """Check the sums of a zip file's members, as PyTorch's reader of its files does not.

    Raises:
        error: one is another.
    """
    with opened(path, error) as file:
        try:
            if not zipfile.is_zipfile(file):
                return  # of PyTorch before 1.6, without sums
            with zipfile.ZipFile(file) as archive:
                bad = archive.testzip()
        except (*_DAMAGE, RuntimeError, NotImplementedError) as fault:
            raise error(f"{path} is damaged: {fault}") from fault
    if bad is not None:
        raise error(f"{path} is damaged: the sum of {bad} in it is another")


# Writing --------------------------------------------------------------------------------------------------


def write(path: Path, content: bytes, error: Kind, *, follow: bool = False) -> None:
    """Replace a file at once: a reader, a crash or a full disk finds the old one or the new one.

    What is no regular file, such as a pipe or a device, is written into. With `follow` the file behind a link
    is replaced, else the link.

    Raises:
        error: it cannot be written; what was there before is still there.
    """
    try:
        target = path.resolve() if follow else path
        if _is_written_into(target):
            with target.open("wb") as file:
                file.write(content)
            return
        _replace(target, content)
    except (OSError, ValueError, RuntimeError) as fault:
        reason = fault.strerror if isinstance(fault, OSError) and fault.strerror else fault
        raise error(f"{path} cannot be written: {reason}") from fault


def _is_written_into(path: Path) -> bool:
    try:
        mode = path.lstat().st_mode
    except FileNotFoundError:
        return False
    return not (stat.S_ISREG(mode) or stat.S_ISLNK(mode) or stat.S_ISDIR(mode))


def _replace(path: Path, content: bytes) -> None:
    draft = path.with_name(f".{path.name}.{os.getpid()}{_DRAFT}")
    try:
        with draft.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        draft.replace(path)
    except BaseException:
        draft.unlink(missing_ok=True)
        raise
    with contextlib.suppress(OSError):  # some file systems cannot sync a folder
        number = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(number)
        finally:
            os.close(number)


def sweep(folder: Path) -> None:
    """Remove the drafts that dead processes of this machine left in a folder."""
    for one in folder.iterdir():
        if is_draft(one) and not _is_running(int(one.suffixes[-2][1:])):
            one.unlink(missing_ok=True)


def is_draft(path: Path) -> bool:
    """Whether a file is one that `write` had not finished."""
    name = path.name.removesuffix(_DRAFT)
    is_named = name != path.name and name.startswith(".") and name.rpartition(".")[2].isdecimal()
    return is_named and stat.S_ISREG(path.lstat().st_mode)


def _is_running(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except (OSError, OverflowError):
        return True
    return True
