"""Columns of a table become features by a plan that knows them by name."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from mpnn.datasets.column_plan import ColumnPlan, applied, planned
from mpnn.datasets.problems import nearest, raise_all
from mpnn.datasets.record import DataError


@dataclass(frozen=True)
class TablePlan:
    """What is done to the columns of a table, which it knows by name.

    >>> people = pd.DataFrame({"age": ["20", "40", ""], "likes": ["?", "yes", "no"]})
    >>> plan = TablePlan.fit(people[["age"]])
    >>> plan.features
    ('age', 'age is missing')
    >>> plan.apply(people)
    tensor([[20.,  0.],
            [40.,  0.],
            [30.,  1.]])
    """

    columns: tuple[ColumnPlan, ...]

    @classmethod
    def fit(cls, frame: pd.DataFrame, rows: Tensor | None = None, *, standard: bool = False) -> TablePlan:
        """Decide what is done to each column.

        Args:
            frame: the columns; text is read as numbers, dates and so on, if all cells of its column are.
            rows: positions of the rows to learn from, int64 `[count]`; None for all. The others decide what
                kind a column is, and no number.
            standard: whether numbers and dates have mean 0 and variance 1 over these rows.

        Raises:
            DataError: cells do not suit their columns; it names all of them.
        """
        problems: list[str] = []
        learned = np.arange(len(frame)) if rows is None else rows.cpu().numpy()
        plans = [planned(frame[name], learned, standard, problems) for name in frame.columns]
        raise_all(problems)
        return cls(tuple(plans))

    @property
    def features(self) -> tuple[str, ...]:
        """Names of the features, in their order."""
        return tuple(name for column in self.columns for name in column.features)

    def apply(self, frame: pd.DataFrame) -> Tensor:
        """Return the features, float32 `[num_rows, num_features]`.

        Raises:
            DataError: a column is missing, or a cell does not suit its column; it names all of them.
        """
        problems: list[str] = []
        used = [column for column in self.columns if column.kind != "left out"]
        for column in used:
            if column.name not in frame:
                has = f"the table has no column {column.name!r}, which the model was trained with"
                problems.append(has + nearest(column.name, map(str, frame.columns)))
        raise_all(problems)
        parts = [applied(column, frame[column.name], problems) for column in used]
        raise_all(problems)
        values = np.concatenate([np.zeros((len(frame), 0)), *parts], axis=1)
        return torch.from_numpy(values.astype(np.float32))

    def to_list(self) -> list[dict[str, Any]]:
        """Names and numbers for a JSON file."""
        return [asdict(column) for column in self.columns]

    @classmethod
    def from_list(cls, columns: Sequence[dict[str, Any]]) -> TablePlan:
        """Read what `to_list` returned.

        Raises:
            DataError: it is something else.
        """
        try:
            return cls(tuple(ColumnPlan(**one | {"values": tuple(one["values"])}) for one in columns))
        except (TypeError, KeyError, ValueError) as error:
            raise DataError(f"the plan of a table is damaged: {error}") from error
