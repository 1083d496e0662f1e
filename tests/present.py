"""What may be None, in tests in which it is not."""

from __future__ import annotations

from typing import TypeVar

T = TypeVar("T")


def present(value: T | None) -> T:
    """The value; raises if there is none."""
    if value is None:
        raise AssertionError("there is no value.")
    return value
