"""Tables with a header: names, answers to be learned, and columns of numbers."""

from __future__ import annotations

import csv
import io
import math
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple, TypeAlias

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from mpnn import files
from mpnn.datasets.cells import LARGEST, MISSING
from mpnn.datasets.problems import nearest
from mpnn.datasets.record import DataError, in_a_line
from mpnn.datasets.text import read_text

SEPARATORS = ",;\t"
PARQUET = (".parquet", ".pq")

TableOrPath: TypeAlias = "pd.DataFrame | str | Path"


@dataclass(frozen=True)
class Table:
    """The cells of a file, and the line of each row.

    Args:
        path: the file.
        frame: the columns: text without blanks around it, or what a file with types holds.
        lines: where each row stands.
        unit: what `lines` count.
    """

    path: Path
    frame: pd.DataFrame
    lines: Sequence[int]
    unit: str = "line"

    @property
    def header(self) -> list[str]:
        """The names of the columns."""
        return [str(name) for name in self.frame.columns]

    @property
    def nameless(self) -> bool:
        """Whether the first column is one without a name, as the index of a pandas table."""
        return re.fullmatch(r"(Unnamed: \d+|__index_level_0__)?", self.header[0]) is not None

    def place(self, row: int) -> str:
        """Where a row stands, for sentences."""
        return f"{self.path} {self.unit} {self.lines[row]}"

    def column(self, name: str) -> list[str]:
        """The cells of a column as text; an empty one where nothing is said.

        Raises:
            DataError: there is no such column.
        """
        if name not in self.frame:
            raise DataError(self.lack_of(name))
        cells = self.frame[name]
        if pd.api.types.is_float_dtype(cells) and bool((cells.dropna() % 1 == 0).all()):
            cells = cells.astype("Int64")  # whole numbers, some of which are missing
        found: list[str] = cells.astype("str").str.strip().fillna("").tolist()
        return found

    def lack_of(self, name: str) -> str:
        """The sentence that says that there is no such column."""
        if (near := nearest(name, self.header)) and len(self.header) > FEW:
            return f"{self.path} has no column {name!r}{near}"
        return f"{self.path} has no column {name!r}, but {', '.join(self.header)}{near}"

    def features(self, used: set[str | None]) -> pd.DataFrame | None:
        """The columns without another use, each row under its line; None if there are none."""
        names = [name for name in self.header if name not in used]
        return self.frame[names].set_axis(list(self.lines), axis=0) if names else None

    def arranged(self, order: Sequence[int]) -> Table:
        """The same rows in another order."""
        return replace(self, frame=self.frame.iloc[order], lines=[self.lines[row] for row in order])

    def without_header(self, names: Sequence[str]) -> Table:
        """The table whose first line is a row, under other names for its columns.

        Args:
            names: of the first columns; the others are called by their numbers, from 1.
        """
        called = [*names, *(f"column {k}" for k in range(len(names) + 1, len(self.header) + 1))]
        rows = [self.header, *self.frame.to_numpy().tolist()]
        return replace(self, frame=text_frame(rows, called), lines=[1, *self.lines])


FEW = 12  # names of columns that a sentence lists


class Answers(NamedTuple):
    """What is to be learned: y and its names as in `NodeDataset`, and which rows have it, bool `[count]`."""

    y: Tensor
    names: tuple[str, ...]
    known: Tensor


def read_table(path: Path) -> Table:
    """Read a table with a header: `.csv` or `.tsv`, also `.gz`, or `.parquet` where pyarrow is installed.

    Cells of a text are divided by commas, semicolons or tabs, whichever the first lines have most of; behind
    semicolons a comma may be the decimal point. The rows are read by Python's csv, which tells the line of
    each and whether it is as long as the header; pandas fills short lines up.

    Raises:
        DataError: it is missing or empty, or a line has more or fewer cells than the header.
    """
    if path.suffix in PARQUET:
        return _read_parquet(path)
    text = read_text(path)
    separator = _separator(text)
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=separator, strict=True)
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
    frame = text_frame(rows, header)
    return Table(path, frame.apply(_with_points) if separator == ";" else frame, lines)


def is_table(path: Path) -> bool:
    """Whether a file is a table, by its ending."""
    return (path.with_suffix("") if path.suffix == ".gz" else path).suffix in (".csv", ".tsv", *PARQUET)


def as_table(given: TableOrPath, name: str) -> Table:
    """A table from its file, or from pandas.

    Raises:
        DataError: it has no rows, or cannot be read.
    """
    if not isinstance(given, pd.DataFrame):
        return read_table(Path(given))
    if given.empty:
        raise DataError(f"{name} should hold a row of data at least")
    return Table(Path(name), _with_index(given), list(range(len(given))), "row")


def text_frame(rows: Sequence[Sequence[str]], header: Sequence[str]) -> pd.DataFrame:
    """Cells of text as a pandas table."""
    return pd.DataFrame(
        np.array(rows, dtype=object).reshape(len(rows), len(header)), columns=header, dtype="str"
    )


def _separator(text: str) -> str:
    """What divides the cells: the mark that the first lines have equally often, and most."""
    lines = [re.sub(r'"[^"]*"', "", line) for line in text.split("\n", 10)[:10] if line.strip()]
    counts = {mark: [line.count(mark) for line in lines] or [0] for mark in SEPARATORS}
    alike = [mark for mark, found in counts.items() if found[0] and len({*found}) == 1]
    return max(alike or SEPARATORS, key=lambda mark: counts[mark][0])


def _with_points(cells: pd.Series) -> pd.Series:
    """Numbers with a decimal comma, if all cells of a column are such, with a point."""
    there = cells[~cells.str.lower().isin(MISSING)]
    numbers = there.str.fullmatch(r"[+-]?\d+(,\d+)?")
    return cells.str.replace(",", ".", regex=False) if len(there) and bool(numbers.all()) else cells


def _read_parquet(path: Path) -> Table:
    try:
        frame = pd.read_parquet(io.BytesIO(files.read(path, DataError)))
    except ImportError:
        raise DataError(
            f"{path} is Parquet, which pyarrow reads: install pyarrow, or save it as CSV"
        ) from None
    except Exception as error:  # its readers raise whatever their parsers do
        raise DataError(f"{path} cannot be read: {in_a_line(error)}") from error
    if frame.empty:
        raise DataError(f"{path} should hold a row of data at least")
    return Table(path, _with_index(frame), list(range(1, len(frame) + 1)), "row")


def _with_index(frame: pd.DataFrame) -> pd.DataFrame:
    """The table with text for names of columns, the first being the index, if that is text or has a name."""
    says = [name is not None for name in frame.index.names]
    if not any(says) and not pd.api.types.is_numeric_dtype(frame.index):
        frame, says = frame.rename_axis("index"), [True]
    frame = frame.reset_index() if any(says) else frame.reset_index(drop=True)
    return frame.set_axis([str(column) for column in frame.columns], axis=1)


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

    Among numbers a cell such as `NA` says nothing. Several columns, divided by commas, are labels if all of
    their cells are 0 or 1, else numbers. Of a row whose cell says nothing y is -1, or NaN, or False.

    Raises:
        DataError: there is no such column, or it is empty, or several hold something else.
    """
    names = label_columns(table, name)
    if len(names) > 1:
        return _several(table, names)
    (name,) = names
    cells = table.column(name)
    given = [cell for cell in cells if cell]
    if not given:
        raise DataError(f"{table.path}: column {name!r} is empty")
    said = [cell for cell in given if cell.lower() not in MISSING]
    if said and all(map(_is_number, said)):  # then what is no number is not known
        _check_size(table, name, cells)
        if any("." in cell for cell in said) or _is_real(table.frame[name]):
            values = [math.nan if (value := _number(cell)) is None else value for cell in cells]
            y = torch.tensor(values)[:, None]
            return Answers(y, (name,), ~y.isnan().squeeze(1))
        given = said
    whole = all(re.fullmatch(r"-?\d+", cell) for cell in given)
    names = sorted(set(given), key=int if whole else str)
    number = {label: k for k, label in enumerate(names)}
    y = torch.tensor([number.get(cell, -1) for cell in cells])
    return Answers(y, tuple(names), y >= 0)


def _is_real(cells: Any) -> bool:
    """Whether a column holds real numbers; pandas keeps whole ones with gaps as such too."""
    if not pd.api.types.is_float_dtype(cells):
        return False
    there = cells.dropna()
    return len(there) == len(cells) or bool((there % 1 != 0).any())


def _several(table: Table, names: list[str]) -> Answers:
    columns = [["" if cell.lower() in MISSING else cell for cell in table.column(name)] for name in names]
    known = [all(cells) for cells in zip(*columns, strict=True)]
    for name in names:
        _check_size(table, name, table.column(name))
    rows = []
    for row, cells in enumerate(zip(*columns, strict=True)):
        values = [_number(cell) for cell in cells] if known[row] else [math.nan] * len(names)
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
    given = y[torch.tensor(known)]
    labels = bool(((given == 0) | (given == 1)).all())
    return Answers(y == 1 if labels else y, tuple(names), torch.tensor(known))


def _check_size(table: Table, name: str, cells: Sequence[str]) -> None:
    """Refuse a number that is infinite in float32: as a class too, since it is a slip and no name."""
    for row, cell in enumerate(cells):
        if _is_number(cell) and _number(cell) is None and cell.lower() not in MISSING:
            raise DataError(f"{table.place(row)}: {name} is {cell[:40]!r}, but should be finite in float32")


def _number(cell: str) -> float | None:
    """The number that a cell is; None if it is none, or none that is finite in float32."""
    value = float(cell) if _is_number(cell) else math.nan
    return value if abs(value) <= LARGEST else None


def _is_number(cell: str) -> bool:
    """Whether a cell is a number, if only one that is infinite."""
    try:
        float(cell)
    except ValueError:
        return False
    return True
