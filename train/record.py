"""Settings as a file holds them: names, types, and what the columns of a table of your own are."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, replace
from typing import Any, Self

from mpnn.datasets.own.columns import Columns
from mpnn.train.errors import RunError

HIGHEST = 2**31 - 1
NO_COLUMNS = Columns()
OF_COLUMNS = {field.name: str(field.type) for field in fields(Columns)}


@dataclass(frozen=True, kw_only=True)
class Record:
    """Settings as `config.json` holds them.

    A record may have a field `columns`. Flags and TOML files have no nesting: they give the columns one by
    one, by their own names, which is understood wherever settings are read or changed.

    Raises:
        RunError: a whole number is so high that PyTorch and scikit-learn could not take it.
    """

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            if isinstance(value, int) and value > HIGHEST:
                raise RunError(f"{field.name} is {value}, but should be at most {HIGHEST}")

    def to_json(self) -> str:
        """Text of `config.json`."""
        return json.dumps(asdict(self), indent=2) + "\n"

    @classmethod
    def from_dict(cls, values: Any) -> Self:
        """Read what `to_json` or a checkpoint holds, after checking every name and type in it."""
        return cls(**checked_values(values, cls))

    def changed(self, values: Mapping[str, Any]) -> Self:
        """A copy with other values; those of `columns` may be given one by one."""
        return replace(self, **gathered(values, getattr(self, "columns", NO_COLUMNS)))

    def flat(self) -> dict[str, Any]:
        """Every value by its name, those of `columns` one by one."""
        return _flat(asdict(self))


def gathered(values: Mapping[str, Any], columns: Columns = NO_COLUMNS) -> dict[str, Any]:
    """Put the values that are of columns, given one by one, into one `Columns`.

    Args:
        values: settings by name.
        columns: what the columns are where `values` do not say it.

    >>> gathered({"epochs": 3, "label": "team"})["columns"].label
    'team'
    """
    rest = {name: value for name, value in values.items() if name not in OF_COLUMNS}
    named = {name: value for name, value in values.items() if name in OF_COLUMNS}
    if named:
        rest["columns"] = replace(rest.get("columns", columns), **named)
    return rest


def checked_values(values: Any, kind: type[Record]) -> dict[str, Any]:
    """Return a dictionary of settings read from a file if every name and type in it is right.

    Raises:
        RunError: one is not.
    """
    if not isinstance(values, dict):
        raise RunError(f"settings are of type {type(values).__name__}, but should be a dictionary")
    if not isinstance(values.get("columns", {}), dict):
        raise RunError(f"setting columns is {values['columns']!r}, but should be a dictionary")
    twice = sorted(values.keys() & values.get("columns", {}).keys())
    if twice:
        raise RunError(f"settings hold {twice[0]!r} twice, but should hold it in columns or beside them")
    known = {field.name: str(field.type) for field in fields(kind)}
    known |= OF_COLUMNS if known.pop("columns", None) else {}
    flat = _flat(values)
    for name in flat.keys() - known:
        raise RunError(f"settings hold {name!r}, which is none of {', '.join(known)}")
    for name, value in flat.items():
        if type(value).__name__ not in _json_types(known[name]):
            raise RunError(f"setting {name} is {value!r}, but should be of type {known[name]}")
    return gathered(flat)


def _flat(values: Mapping[str, Any]) -> dict[str, Any]:
    columns: dict[str, Any] = values.get("columns", {})
    return {name: value for name, value in values.items() if name != "columns"} | columns


def _json_types(annotation: str) -> set[str]:
    names = set(annotation.replace("None", "NoneType").split(" | "))
    return names | {"int"} if "float" in names else names
