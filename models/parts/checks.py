"""What a layer's options may be: one sentence for what they may not."""

from __future__ import annotations

from numbers import Integral, Real
from typing import Any


def check_count(name: str, value: Any, least: int, *, may_be_open: bool = False) -> None:
    """A whole number from `least` on; -1 too where it may be left to the first input.

    Raises:
        TypeError: it is no whole number.
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
    """A number from 0 to 1.

    Raises:
        TypeError: it is no number.
        ValueError: it is beyond these, or NaN.

    >>> check_probability("dropout", 2)
    Traceback (most recent call last):
    ValueError: dropout must be a probability, from 0 to 1, got 2.
    """
    if isinstance(value, bool) or not isinstance(value, Real):
        raise TypeError(f"{name} must be a probability, from 0 to 1, got {value!r}.")
    if not 0 <= float(value) <= 1:
        raise ValueError(f"{name} must be a probability, from 0 to 1, got {value}.")
