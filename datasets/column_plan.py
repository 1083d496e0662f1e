"""What is done to one column of a table, as plain numbers and names: decided once, applied to any table."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass, replace

import numpy as np

from mpnn.datasets.cells import DATES, ISO, Cells, are_numbers, as_days, as_numbers, as_text

WORDS = (("false", "true"), ("no", "yes"), ("n", "y"), ("f", "t"), ("0", "1"))
MOST_VALUES = 50  # of a category; the others are one
RARE = 200  # rows: a value of a category that fewer than one of as many have is rare
MOSTLY = 0.9  # the share of numbers from which on a column should hold nothing else
OTHER = "other"
KINDS = ("number", "truth", "date", "category", "left out")
FORMS = tuple(map(",".join, WORDS))
NAMES_ROWS = re.compile(r"(^|[^a-z])id$", re.IGNORECASE)  # id, other_id, User ID


@dataclass(frozen=True)
class ColumnPlan:
    """What is done to one column.

    Args:
        name: of the column.
        kind: `"number"`, `"truth"`, `"date"`, `"category"`, or `"left out"`.
        why: of a column that is left out.
        form: of a date, how it is written; of a truth value, the words for 0 and 1, divided by a comma.
        fill: what stands for a missing number.
        mean, scale: a number or date has this mean subtracted, and is then divided by this scale.
        values: of a category: each has a feature of its own.
        other: whether all other values have a feature together.
        flag: whether a feature says that a cell is missing.
    """

    name: str
    kind: str
    why: str = ""
    form: str = ""
    fill: float = 0.0
    mean: float = 0.0
    scale: float = 1.0
    values: tuple[str, ...] = ()
    other: bool = False
    flag: bool = False

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise ValueError(f"kind is {self.kind!r}, but should be one of {', '.join(KINDS)}")
        for name in ("fill", "mean", "scale"):
            if not math.isfinite(getattr(self, name)):
                raise ValueError(f"{name} of {self.name} is {getattr(self, name)}, but should be finite")
        if self.scale <= 0:
            raise ValueError(f"scale of {self.name} is {self.scale}, but should be above 0")
        if (self.kind == "truth" and self.form not in FORMS) or (
            self.kind == "date" and self.form not in DATES
        ):
            raise ValueError(f"form of {self.name} is {self.form!r}, which no {self.kind} has")

    @property
    def features(self) -> tuple[str, ...]:
        """Names of the features that the column becomes."""
        if self.kind == "left out":
            return ()
        names = [self.name]
        if self.kind == "category":
            names = [f"{self.name}={value}" for value in (*self.values, *((OTHER,) if self.other else ()))]
        return (*names, *((f"{self.name} is missing",) if self.flag else ()))

    @property
    def about(self) -> str:
        """What is done, in a few words."""
        if self.kind == "left out":
            return self.why
        words = {"number": "a number", "date": f"days, from dates such as {DATES.get(self.form, '')}"}
        words |= {"truth": f"0 and 1, from {self.form.replace(',', ' and ')}"}
        words |= {"category": f"{len(self.values)} values" + (", rare ones together" if self.other else "")}
        parts = [words[self.kind]]
        if (self.mean, self.scale) != (0, 1):
            parts.append(f"less {self.mean:.4g}, by {self.scale:.4g}")
        if self.flag and self.kind != "category":
            parts.append(f"{self.fill:.4g} where it is missing")
        return "; ".join(parts) + ("; a flag where it is missing" if self.flag else "")


def planned(cells: Cells, rows: np.ndarray, standard: bool, problems: list[str]) -> ColumnPlan:
    """Decide about one column; its kind by all cells, its numbers by some rows."""
    name, text = str(cells.name), as_text(cells)
    there, some = text.dropna(), text.iloc[rows]
    if some.nunique() == 0:
        return ColumnPlan(name, "left out", why="left out: nothing is said")
    missing = bool(some.isna().any())
    if some.nunique() == 1 and not missing:
        return ColumnPlan(name, "left out", why=f"left out: always {some.iloc[0]}")
    if NAMES_ROWS.search(name) and there.is_unique and len(there) == len(text):
        return ColumnPlan(name, "left out", why="left out: it names each row")
    for words in WORDS:
        if {*there.str.lower()} <= {*words}:
            fill = float((some.dropna().str.lower() == words[1]).mean() > 0.5)
            return ColumnPlan(name, "truth", form=",".join(words), fill=fill, flag=missing)
    numbers = as_numbers(cells)
    count = int(numbers.notna().sum())
    if count == len(there):
        return _scaled(ColumnPlan(name, "number", flag=missing), numbers.iloc[rows], standard)
    if count >= MOSTLY * len(there) or int(are_numbers(cells).sum()) == len(there):
        wrong = text[text.notna() & numbers.isna()]
        problems.append(
            f"{name} is {wrong.iloc[0]!r} in line {wrong.index[0]}, but {count:,} of {len(there):,} cells "
            "are finite numbers: change it, leave it empty, or ignore the column"
        )
    forms = [form for form in DATES if as_days(text, form).notna().sum() == len(there)]
    if len(forms) > 1:
        either = " or ".join(DATES[form] for form in forms)
        problems.append(f"{name} holds dates that may be written as {either}: write them as {DATES[ISO]}")
    if forms:
        days = as_days(text, forms[0]).iloc[rows]
        return _scaled(ColumnPlan(name, "date", form=forms[0], flag=missing), days, standard)
    return _grouped(name, some, missing)


def _scaled(plan: ColumnPlan, numbers: Cells, standard: bool) -> ColumnPlan:
    """The plan with the numbers that scikit-learn finds in some rows."""
    from sklearn.impute import SimpleImputer  # slow to import: only where it is needed
    from sklearn.preprocessing import StandardScaler

    imputer = SimpleImputer(strategy="median")
    filled = imputer.fit_transform(numbers.to_numpy()[:, None])
    plan = replace(plan, fill=float(imputer.statistics_[0]))
    if not standard:
        return plan
    scaler = StandardScaler().fit(filled)
    return replace(plan, mean=float(scaler.mean_[0]), scale=float(scaler.scale_[0]))


def _grouped(name: str, some: Cells, missing: bool) -> ColumnPlan:
    """A category, or free text, which is left out: there each value comes once or twice."""
    from sklearn.preprocessing import OneHotEncoder  # slow to import: only where it is needed

    there = some.dropna()
    if 2 * there.nunique() > len(there):
        return ColumnPlan(
            name, "left out", why=f"left out: text, {there.nunique():,} values in {len(there):,} rows"
        )
    encoder = OneHotEncoder(min_frequency=max(2, len(some) // RARE), max_categories=MOST_VALUES)
    encoder.fit(there.to_numpy(dtype=object)[:, None])
    rare = encoder.infrequent_categories_[0]
    values = tuple(value for value in encoder.categories_[0] if rare is None or value not in {*rare})
    return ColumnPlan(name, "category", values=values, other=rare is not None, flag=missing)


def applied(plan: ColumnPlan, cells: Cells, problems: list[str]) -> np.ndarray:
    """The features of one column, float64 `[num_rows, num_features]`."""
    text = as_text(cells)
    if plan.kind == "category":
        known = [(text == value).fillna(False).to_numpy(dtype=np.float64) for value in plan.values]
        if plan.other:
            known.append((text.notna() & ~text.isin(plan.values)).to_numpy(dtype=np.float64))
        parts = known
    else:
        values, should = _values(plan, cells, text)
        wrong = text[text.notna() & values.isna()]
        if len(wrong):
            problems.append(
                f"{plan.name} is {wrong.iloc[0]!r} in line {wrong.index[0]}, but should be {should}, as "
                "where the model was trained: change it or leave it empty"
            )
        parts = [((values.fillna(plan.fill) - plan.mean) / plan.scale).to_numpy(dtype=np.float64)]
    if plan.flag:
        parts.append(text.isna().to_numpy(dtype=np.float64))
    return np.stack(parts, axis=1)


def _values(plan: ColumnPlan, cells: Cells, text: Cells) -> tuple[Cells, str]:
    """The numbers of a column, NaN where there is none, and what the cells should be."""
    if plan.kind == "number":
        return as_numbers(cells), "a finite number"
    if plan.kind == "date":
        return as_days(text, plan.form), f"a date such as {DATES[plan.form]}"
    words = plan.form.split(",")
    numbers = text.str.lower().map({word: float(k) for k, word in enumerate(words)})
    return numbers.astype("float64"), f"{words[0]} or {words[1]}"
