"""Where data lies, and whether a file is the one it should be."""

from __future__ import annotations

import hashlib
import os
import warnings
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from scipy.sparse import csr_matrix

from mpnn.datasets.checksums import CONTENT, PUBLISHED
from mpnn.datasets.places import is_there as is_there
from mpnn.datasets.record import DataError
from mpnn.files import opened, read

VARIABLE = "MPNN_DATA"


def data_folder(data: str | Path | None) -> Path | None:
    """Return the folder asked for, else the one that `MPNN_DATA` names in the environment, else None."""
    given, source = (data, "data") if data is not None else (os.environ.get(VARIABLE) or None, VARIABLE)
    if given is None:
        return None
    if not str(given) or not Path(given).is_dir():
        raise DataError(f"{source} is {str(given)!r}, but should be a folder that holds the data files")
    return Path(given)


def find_file(
    name: str,
    data: str | Path | None,
    file: str,
    places: Sequence[str] = (".",),
    endings: Sequence[str] = ("",),
) -> Path:
    """Return the file that a data set is read from.

    Args:
        name: of the data set, for sentences.
        data: the folder asked for, see `data_folder`.
        file: what the file is called.
        places: the folders below it that may hold the file, the likeliest first; `"."` is the folder itself.
        endings: what may follow the name, such as `".gz"`.

    Raises:
        DataError: no folder is named, or it holds no such file.
    """
    folder = data_folder(data)
    if folder is None:
        raise DataError(f"{name} is read from {file}: give its folder by --data, data=... or {VARIABLE}")
    files = [file + ending for ending in endings]
    home = first_place(folder, places, files)
    if home is None:
        below = ", ".join(place for place in places if place != ".")
        raise DataError(
            f"{folder} holds no {' or '.join(files)}" + (f": it may lie there or in {below}" if below else "")
        )
    return next(home / one for one in files if (home / one).is_file())


def first_place(folder: Path, places: Iterable[str], files: Iterable[str]) -> Path | None:
    """Return the first of some places below a folder that holds one of these files; None if none does."""
    files = list(files)
    homes = (folder / place for place in places)
    return next((home for home in homes if any((home / file).is_file() for file in files)), None)


def cache_folder(name: str) -> Path:
    """Return where downloads of `name` are kept: in `XDG_CACHE_HOME`, else `~/.cache`."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "mpnn" / name


def read_verified(path: Path, sha256: str) -> bytes:
    """Return a file's bytes if they are those that were published."""
    if not path.exists():
        raise DataError(f"{path} is missing, and the files beside it are useless without it")
    content = read(path, DataError)
    if hashlib.sha256(content).hexdigest() != sha256:
        raise DataError(
            f"{path} is not the published file (its SHA-256 differs, it has {len(content)} bytes): "
            "it is damaged, truncated or changed, so it was not opened"
        )
    return content


def is_verified(path: Path, sha256: str) -> bool:
    """Whether a file is there and is the one that was published."""
    try:
        read_verified(path, sha256)
    except DataError:
        return False
    return True


def make_folder(path: Path) -> None:
    """Make a folder and those above it.

    Raises:
        DataError: that cannot be done.
    """
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise DataError(f"{path} cannot be made: {error.strerror}") from error


def published(path: Path) -> Path:
    """Return the path; warn if a file of that name is published and this is another one."""
    try:
        with opened(path, DataError) as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
    except DataError:
        return path  # its reader will say why it cannot be read
    if digest != PUBLISHED.get(path.name, digest):
        _warn(path, "its SHA-256 differs")
    return path


def compare_content(path: Path, *content: np.ndarray[Any, Any] | csr_matrix) -> None:
    """Warn if a file of that name is published and holds other numbers than these.

    Unlike `published`, it compares the numbers and not the bytes: a file may be packed, hold 32 or 64 bits a
    number, and end its lines as on any system.
    """
    if path.name not in CONTENT:
        return
    digest = hashlib.sha256()
    for array in (part for item in content for part in _arrays(item)):
        digest.update(str(array.shape).encode())
        digest.update(np.ascontiguousarray(array, dtype="<f8").tobytes())
    if digest.hexdigest() != CONTENT[path.name]:
        _warn(path, "what it holds differs")


def _arrays(item: np.ndarray[Any, Any] | csr_matrix) -> Iterator[np.ndarray[Any, Any]]:
    """An array as it is; a matrix as its shape and its CSR arrays, with sorted columns and no entry twice."""
    if isinstance(item, np.ndarray):
        yield item
        return
    matrix = item.copy()
    matrix.sum_duplicates()  # sorts too
    yield from (np.array(matrix.shape), matrix.indptr, matrix.indices, matrix.data)


def _warn(path: Path, why: str) -> None:
    warnings.warn(
        f"{path} is not the published file ({why}): what is learned from it does not compare with published "
        "figures",
        stacklevel=3,
    )
