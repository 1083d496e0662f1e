"""Cells of a table as text, as numbers and as dates."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

MISSING = frozenset({"", "na", "n/a", "nan", "null", "none", "?", "-", "<na>", "#n/a"})
ISO = "ISO8601"
DATES = {
    ISO: "2024-01-31",
    "%d.%m.%Y": "31.01.2024",
    "%d/%m/%Y": "31/01/2024",
    "%m/%d/%Y": "01/31/2024",
}

MICROSECONDS_OF_A_DAY = 86_400_000_000
LARGEST = float(np.finfo(np.float32).max)

Cells = Any  # a pandas Series: one column


def as_text(cells: Cells) -> Cells:
    """The cells as text without blanks around it; None where nothing is said."""
    text = cells.astype("str").str.strip()
    return text.mask(text.isna() | text.str.lower().isin(MISSING))


def as_numbers(cells: Cells) -> Cells:
    """The cells as float64; NaN where they are no numbers, or none that are finite in float32."""
    numbers = cells if pd.api.types.is_numeric_dtype(cells) else as_text(cells)
    found = pd.to_numeric(numbers, errors="coerce").astype("float64")
    return found.where(found.abs() <= LARGEST)


def are_numbers(cells: Cells) -> Cells:
    """Whether each cell is a number, if only one that is infinite or NaN in float32."""
    numbers = cells if pd.api.types.is_numeric_dtype(cells) else as_text(cells)
    return pd.to_numeric(numbers, errors="coerce").notna()


def as_days(text: Cells, form: str) -> Cells:
    """Days since 1970, float64; NaN where the text is no date of that form."""
    dates = pd.to_datetime(text, format=form, errors="coerce", utc=True)
    known = dates.dt.as_unit("us")  # nanoseconds, the finest that pandas has, end in the year 2262
    return (known.astype("int64") / MICROSECONDS_OF_A_DAY).where(dates.notna())
