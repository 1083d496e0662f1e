"""The settings of a run: options that its kind of task has."""

from __future__ import annotations

from dataclasses import dataclass, fields

from mpnn.train.errors import RunError
from mpnn.train.kinds.registry import KINDS, kind_called
from mpnn.train.options import Options


@dataclass(frozen=True, kw_only=True)
class Settings(Options):
    """A whole run, see `Options` for what can be set.

    Raises:
        RunError: a value out of its range, one that another one leaves without effect, an unknown task, or an
            option that tasks of this kind do not have.

    >>> Settings(dataset="karate", epochs=50).epochs
    50
    """

    def __post_init__(self) -> None:
        super().__post_init__()
        kind = kind_called(self.task)
        for field in fields(self):
            value = getattr(self, field.name)
            having = [other.name for other in KINDS.values() if field.name in other.options]
            if having and value != field.default and kind.name not in having:
                raise RunError(
                    f"{field.name} is {value!r}, but {kind.name} tasks have none: "
                    f"{', '.join(having)} tasks have"
                )
