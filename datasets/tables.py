"""Tables with a header: names, answers to be learned, and columns of numbers."""

from __future__ import annotations

import csv
import io
import math
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

from mpnn.datasets.record import DataError
from mpnn.datasets.text import read_text


@dataclass(frozen=True)
class Table:
    """The cells of a file, and the line of each row."""

    path: Path
    header: list[str]
    rows: list[list[str]]
    lines: list[int]
    unit: str = "line"

    @property
    def nameless(self) -> bool:
        """Whether the first column is one without a name, as the index of a pandas table."""
        return re.fullmatch(r"(Unnamed: \d+)?", self.header[0]) is not None

    def place(self, row: int) -> str:
        """Where a row stands, for sentences."""
        return f"{self.path} {self.unit} {self.lines[row]}"

    def column(self, name: str) -> list[str]:
        """The cells of a column.

        Raises:
            DataError: there is no such column.
        """
        if name not in self.header:
            raise DataError(f"{self.path} has no column {name!r}, but {', '.join(self.header)}")
        place = self.header.index(name)
        return [row[place] for row in self.rows]


class Answers(NamedTuple):
    """What is to be learned: y and its names as in `NodeDataset`, and which rows have it, bool `[count]`."""

    y: Tensor
    names: tuple[str, ...]
    known: Tensor


def read_table(path: Path) -> Table:
    """Read `.csv` (commas) or `.tsv` (tabs), also `.gz`, with a header in the first line.

    Raises:
        DataError: it is missing or empty, or a line has more or fewer cells than the header.
    """
    tabs = ".tsv" in path.suffixes
    reader = csv.reader(io.StringIO(read_text(path)), delimiter="\t" if tabs else ",")
    header: list[str] = []
    rows: list[list[str]] = []
    lines: list[int] = []
    for cells in _lines(path, reader):
        stripped = [cell.strip() for cell in cells]
        if not any(stripped):
            continue
        if not header:
            header = stripped
        elif len(stripped) != len(header):
            raise DataError(
                f"{path} line {reader.line_num}: it holds {len(stripped)} cells, but the header holds "
                f"{len(header)}"
            )
        else:
            rows.append(stripped)
            lines.append(reader.line_num)
    if not rows:
        raise DataError(f"{path} should hold a header and a line of data at least")
    if len(set(header)) < len(header):
        raise DataError(f"{path} line 1: two columns have the same name")
    return Table(path, header, rows, lines)


def _lines(path: Path, reader: Any) -> Iterator[list[str]]:
    try:
        yield from reader
    except csv.Error as error:
        raise DataError(f"{path} line {reader.line_num}: {error}") from None


def label_columns(table: Table, asked: str) -> list[str]:
    """The columns that are asked for: one of that name, else several, divided by commas."""
    return [asked] if asked in table.header else [name.strip() for name in asked.split(",")]


def answers(table: Table, name: str) -> Answers:
    """Read a column as classes, or, if all cells are numbers and one has a decimal point, as numbers.

    Several columns, divided by commas, are labels if all of their cells are 0 or 1, else numbers.

    Raises:
        DataError: there is no such column, or it is empty, or several hold something else.
    """
    names = label_columns(table, name)
    if len(names) > 1:
        return _several(table, names)
    (name,) = names
    cells = table.column(name)
    known = torch.tensor([cell != "" for cell in cells])
    given = [cell for cell in cells if cell]
    if not given:
        raise DataError(f"{table.path}: column {name!r} is empty")
    values = [_number(cell) for cell in given]
    decimal = [value is not None and "." in cell for cell, value in zip(given, values, strict=True)]
    if all(value is not None for value in values) and any(decimal):
        y = torch.tensor([[_number(cell) or 0.0] for cell in cells])
        return Answers(y, (name,), known)
    numeric = all(cell.lstrip("-").isdecimal() for cell in given)
    names = sorted(set(given), key=int if numeric else str)
    number = {label: k for k, label in enumerate(names)}
    return Answers(torch.tensor([number.get(cell, 0) for cell in cells]), tuple(names), known)


def _several(table: Table, names: list[str]) -> Answers:
    columns = [table.column(name) for name in names]
    known = [all(cells) for cells in zip(*columns, strict=True)]
    rows = []
    for row, cells in enumerate(zip(*columns, strict=True)):
        values = [_number(cell) for cell in cells] if known[row] else [0.0] * len(names)
        bad = next((k for k, value in enumerate(values) if value is None), None)
        if bad is not None:
            raise DataError(
                f"{table.place(row)}: {names[bad]} is {cells[bad]!r}, but of several columns to learn each "
                "should hold numbers, or 0 and 1 for labels"
            )
        rows.append(values)
    if not any(known):
        raise DataError(f"{table.path}: columns {', '.join(names)} are empty")
    y = torch.tensor(rows, dtype=torch.float32)
    labels = bool(((y == 0) | (y == 1)).all())
    return Answers(y.bool() if labels else y, tuple(names), torch.tensor(known))


def numbers(table: Table, used: set[str | None]) -> Tensor | None:
    """The columns without another use as features, `[num_rows, num_columns]`; None if there are none.

    Raises:
        DataError: a cell in them is no number.
    """
    places = [place for place, name in enumerate(table.header) if name not in used]
    if not places:
        return None
    values = []
    for line, row in zip(table.lines, table.rows, strict=True):
        found = [_number(row[place]) for place in places]
        if None in found:
            place = places[found.index(None)]
            name = table.header[place]
            raise DataError(
                f"{table.path} {table.unit} {line}: {name} is {row[place]!r}, but a column without another "
                "use is a feature and should hold finite numbers: ignore it or change it"
            )
        values.append(found)
    return torch.tensor(values, dtype=torch.float32)


def _number(cell: str) -> float | None:
    try:
        value = float(cell)
    except ValueError:
        return None
    return value if math.isfinite(value) else None
