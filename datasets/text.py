"""Numbers from text files; a bad line is named by its number."""

from __future__ import annotations

import gzip
import io
from pathlib import Path
from typing import Any

import numpy as np

from mpnn.datasets.record import DataError


def read_text(path: Path) -> str:
    """Return a text file's content, unpacked if its name ends in `.gz`.

    Raises:
        DataError: it is missing, damaged or no text.
    """
    try:
        content = path.read_bytes()
        return (gzip.decompress(content) if path.suffix == ".gz" else content).decode()
    except FileNotFoundError:
        raise DataError(f"{path} does not exist") from None
    except (OSError, EOFError, UnicodeDecodeError) as error:
        raise DataError(f"{path} cannot be read as text: {error}") from error


def read_numbers(
    path: Path, number: type[int] | type[float], separator: str | None = ","
) -> np.ndarray[Any, Any]:
    """Read lines of numbers, `[num_lines, num_columns]`; blank lines and what is behind a # are left out.

    Args:
        path: the file.
        number: int or float.
        separator: between two numbers; None for blanks and tabs.

    Raises:
        DataError: a line that holds something else, or more or fewer numbers than the first.
    """
    text = read_text(path)
    if not text.strip():
        raise DataError(f"{path} is empty")
    try:
        return np.loadtxt(io.StringIO(text), dtype=number, delimiter=separator, ndmin=2, comments="#")
    except ValueError:
        raise DataError(_first_bad_line(path, text, number, separator)) from None


def _first_bad_line(path: Path, text: str, number: type[int] | type[float], separator: str | None) -> str:
    width = None
    for place, line in enumerate(text.splitlines(), 1):
        cells = line.split("#")[0].strip().split(separator)
        if cells in ([], [""]):
            continue
        for cell in cells:
            try:
                number(cell)
            except ValueError:
                kind = "an integer" if number is int else "a number"
                return f"{path} line {place}: {cell.strip()!r} should be {kind}"
        width = width or len(cells)
        if len(cells) != width:
            return f"{path} line {place}: it holds {len(cells)} numbers, but the lines before it hold {width}"
    return f"{path} holds something other than numbers"
