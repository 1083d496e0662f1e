"""Where data lies, and whether a file is the one it should be."""

from __future__ import annotations

import hashlib
import os
import warnings
from collections.abc import Callable
from pathlib import Path

from mpnn.datasets.checksums import PUBLISHED
from mpnn.datasets.record import DataError

VARIABLE = "MPNN_DATA"


def data_folder(data: str | Path | None) -> Path | None:
    """Return the folder asked for, else the one that `MPNN_DATA` names in the environment, else None."""
    given, source = (data, "data") if data is not None else (os.environ.get(VARIABLE) or None, VARIABLE)
    if given is None:
        return None
    if not str(given) or not Path(given).is_dir():
        raise DataError(f"{source} is {str(given)!r}, but should be a folder that holds the data files")
    return Path(given)


def is_there(path: Path, kind: Callable[[Path], bool] = Path.exists) -> bool:
    """Whether a path is such a thing; False where one may not look, or if nothing can be called so."""
    try:
        return kind(path)
    except (OSError, ValueError):
        return False


def cache_folder(name: str) -> Path:
    """Return where downloads of `name` are kept: in `XDG_CACHE_HOME`, else `~/.cache`."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "mpnn" / name


def read_verified(path: Path, sha256: str) -> bytes:
    """Return a file's bytes if they are those that were published."""
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        raise DataError(f"{path} is missing, and the files beside it are useless without it") from None
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror}") from None
    if hashlib.sha256(content).hexdigest() != sha256:
        raise DataError(
            f"{path} is not the published file (its SHA-256 differs, it has {len(content)} bytes): "
            "it is damaged, truncated or changed, so it was not opened"
        )
    return content


def published(path: Path) -> Path:
    """Return the path, with a warning if the file is another one than the published one of that name."""
    try:
        digest = hashlib.sha256(path.read_bytes()).hexdigest()
    except OSError:
        return path  # whoever reads it will say why that cannot be done
    if digest != PUBLISHED.get(path.name, digest):
        warnings.warn(
            f"{path} is not the published file (its SHA-256 differs): what is learned from it does not "
            "compare with published figures",
            stacklevel=2,
        )
    return path
