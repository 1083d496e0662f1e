"""Checks of a layer's options."""

from __future__ import annotations

import functools
import inspect
import math
from collections.abc import Callable, Sequence
from numbers import Integral, Real
from typing import Any, TypeVar

MOST = 100_000_000  # channels, heads, layers, tokens, relations: beyond, a layer fits into no machine
LARGEST = 1e30  # of a number: float32 ends at 3e38
Check = Callable[[str, Any], None]
C = TypeVar("C", bound=type[Any])


def ranges(order: Sequence[str] = (), /, **checks: Check) -> Callable[[C], C]:
    """A decorator of a class: what each of these arguments may be, checked before the class is built.

    An argument whose default is None may be None.

    Args:
        order: names of the arguments by position, where the class takes them as `*args`.
        **checks: a check for each argument.

    >>> @ranges(heads=at_least(1))
    ... class Attention:
    ...     def __init__(self, heads: int = 1) -> None: ...
    >>> Attention(heads=0)
    Traceback (most recent call last):
    ValueError: heads must be at least 1, got 0.
    """

    def decorate(cls: C) -> C:
        build = cls.__init__
        signature = inspect.signature(build)
        optional = {name for name, one in signature.parameters.items() if one.default is None}

        @functools.wraps(build)
        def checked(self: Any, *args: Any, **kwargs: Any) -> None:
            given = signature.bind(self, *args, **kwargs).arguments
            given |= given.pop("kwargs", {}) | dict(zip(order, args, strict=False))
            for name, check in checks.items():
                if name in given and not (given[name] is None and name in optional):
                    check(name, given[name])
            build(self, *args, **kwargs)

        cls.__init__ = checked
        return cls

    return decorate


def at_least(least: int, *, may_be_open: bool = False) -> Check:
    """A check of a whole number; see `check_count`."""
    return functools.partial(check_count, least=least, may_be_open=may_be_open)


def each_at_least(least: int, *words: str | None) -> Check:
    """A check of a whole number, or one for each dimension, any of which may be one of these words."""

    def check(name: str, value: Any) -> None:
        for one in value if isinstance(value, tuple | list) and value else [value]:
            if not (isinstance(one, str | None) and one in words):
                check_count(name, one, least)

    return check


def check_number(name: str, value: Any, least: float = -math.inf) -> None:
    """Require a finite number of float32, of at least `least`.

    Raises:
        TypeError: it is not a number.
        ValueError: it is too small, infinite or NaN.

    >>> check_number("eps", float("nan"))
    Traceback (most recent call last):
    ValueError: eps must be a finite number, got nan.
    """
    more = "" if least == -math.inf else f" of at least {least:g}"
    if isinstance(value, bool) or not isinstance(value, Real):
        raise TypeError(f"{name} must be a finite number{more}, got {value!r}.")
    if not max(least, -LARGEST) <= float(value) <= LARGEST:
        raise ValueError(f"{name} must be a finite number{more}, got {value}.")


def check_count(name: str, value: Any, least: int, *, may_be_open: bool = False) -> None:
    """Require an integer of at least `least`, or -1 where the first input may set it.

    Raises:
        TypeError: it is not an integer.
        ValueError: it is too small, or beyond what fits into any machine.

    >>> check_count("heads", 0, 1)
    Traceback (most recent call last):
    ValueError: heads must be at least 1, got 0.
    """
    if isinstance(value, bool) or not isinstance(value, Integral):
        raise TypeError(f"{name} must be a whole number, got {value!r}.")
    if int(value) < least and not (may_be_open and value == -1):
        or_open = ", or -1 for the first input's" if may_be_open else ""
        raise ValueError(f"{name} must be at least {least}{or_open}, got {value}.")
    if int(value) > MOST:
        raise ValueError(f"{name} must be at most {MOST:,}, got {value}.")


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


def positive(name: str, value: Any) -> None:
    """Require a finite number of at least 0; see `check_number`."""
    check_number(name, value, 0.0)


def check_multiple(name: str, value: int, of: str, count: int) -> None:
    """Require a number that another one divides.

    >>> check_multiple("channels", 6, "heads", 4)
    Traceback (most recent call last):
    ValueError: channels is 6, but should be a multiple of heads, 4
    """
    if value % count:
        raise ValueError(f"{name} is {value}, but should be a multiple of {of}, {count}")
