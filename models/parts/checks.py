"""Checks of a layer's options."""

from __future__ import annotations

from numbers import Integral, Real
from typing import Any


def check_count(name: str, value: Any, least: int, *, may_be_open: bool = False) -> None:
    """Require an integer of at least `least`, or -1 where the first input may set it.

    Raises:
        TypeError: it is not an integer.
        ValueError: it is too small.

    >>> check_count("heads", 0, 1)
    Traceback (most recent call last):
    ValueError: heads must be at least 1, got 0.
    """
    if isinstance(value, bool) or not isinstance(value, Integral):
        raise TypeError(f"{name} must be a whole number, got {value!r}.")
    if int(value) < least and not (may_be_open and value == -1):
        or_open = ", or -1 for the first input's" if may_be_open else ""
        raise ValueError(f"{name} must be at least {least}{or_open}, got {value}.")


def check_probability(name: str, value: Any) -> None:
    """Require a number from 0 to 1.

    Raises:
        TypeError: it is not a number.
        ValueError: it is below 0, above 1, or NaN.

    >>> check_probability("dropout", 2)
    Traceback (most recent call last):
    ValueError: dropout must be a probability, from 0 to 1, got 2.
    """
    if isinstance(value, bool) or not isinstance(value, Real):
        raise TypeError(f"{name} must be a probability, from 0 to 1, got {value!r}.")
    if not 0 <= float(value) <= 1:
        raise ValueError(f"{name} must be a probability, from 0 to 1, got {value}.")
