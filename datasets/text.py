"""Numbers from text files; a bad line is named by its number."""

from __future__ import annotations

import io
import warnings
from pathlib import Path
from typing import Any

import numpy as np

from mpnn import files
from mpnn.datasets.cells import LARGEST
from mpnn.datasets.record import DataError


def read_text(path: Path) -> str:
    """Return a text file's content, unpacked if its name ends in `.gz`; lines may end as on any system.

    Raises:
        DataError: it is missing, damaged or no text.
    """
    content = files.read(path, DataError)
    try:
        text = content.decode("utf-8-sig")  # some programs begin a text with a mark
    except UnicodeDecodeError as error:
        line = content[: error.start].count(b"\n") + 1
        raise DataError(f"{path} line {line}: it should be text in UTF-8, but is none") from None
    return text.replace("\r\n", "\n").replace("\r", "\n")


def read_numbers(
    path: Path, number: type[int] | type[float], separator: str | None = ","
) -> np.ndarray[Any, Any]:
    """Read lines of numbers, `[num_lines, num_columns]`, without blank lines and comments behind a #.

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
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of a file of comments only, which gets a sentence below
            rows = np.loadtxt(io.StringIO(text), dtype=number, delimiter=separator, ndmin=2, comments="#")
    except (ValueError, OverflowError):
        raise DataError(_first_bad_line(path, text, number, separator)) from None
    if not rows.size:
        raise DataError(f"{path} is empty")
    if number is float and not (np.abs(rows) <= LARGEST).all():
        raise DataError(_first_bad_line(path, text, number, separator))
    return rows


def _first_bad_line(path: Path, text: str, number: type[int] | type[float], separator: str | None) -> str:
    width = None
    for place, line in enumerate(text.splitlines(), 1):
        cells = line.split("#")[0].strip().split(separator)
        if cells in ([], [""]):
            continue
        for cell in cells:
            if not _fits(cell, number):
                kind = "an integer of at most 18 digits" if number is int else "a finite number"
                return f"{path} line {place}: {cell.strip()!r} should be {kind}"
        width = width or len(cells)
        if len(cells) != width:
            return f"{path} line {place}: it holds {len(cells)} numbers, but the lines before it hold {width}"
    return f"{path} holds something other than numbers"


def _fits(cell: str, number: type[int] | type[float]) -> bool:
    try:
        value = number(cell)
    except ValueError:
        return False
    return abs(value) < 10**18 if number is int else abs(value) <= LARGEST
