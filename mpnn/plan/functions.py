"""The names in the code of a function, and the methods of its class that it calls by them."""

from __future__ import annotations

import dis
import functools
from collections.abc import Callable, Iterator
from types import CodeType
from typing import Any

from torch import nn

_GLOBALS = ("LOAD_GLOBAL", "LOAD_NAME")

_functions: dict[tuple[CodeType, type | None], list[Any]] = {}


def functions_of(function: Callable[..., Any]) -> list[Any]:
    """A function, and every method of its class that it names, directly or by one of these."""
    owner = getattr(function, "__self__", None)
    return functions_behind(getattr(function, "__func__", function), None if owner is None else type(owner))


def functions_behind(plain: Any, owner: type | None) -> list[Any]:
    """The same for a plain function and the class that it is a method of."""
    if not hasattr(plain, "__code__"):
        return []
    key = (plain.__code__, owner)
    known = _functions.get(key)
    if known is not None and known[0] is plain:
        return known
    functions, names = [plain], dict.fromkeys(all_names(plain.__code__))
    for name in _visited(names):
        for cls in owner.__mro__ if owner is not None else ():
            method: Any = cls.__dict__.get(name)
            method = getattr(method, "fget", None) or getattr(method, "__func__", method)
            if hasattr(method, "__code__") and cls is not nn.Module and method not in functions:
                functions.append(method)
                names.update(dict.fromkeys(all_names(method.__code__)))
    if len(_functions) > 4096:
        _functions.clear()
    _functions[key] = functions
    return functions


def forget_functions(owner: type) -> None:
    """Keep nothing of a class."""
    for key in [key for key in list(_functions) if key[1] is owner]:
        _functions.pop(key, None)


def _visited(names: dict[str, None]) -> Iterator[str]:
    """The names of a dictionary that grows meanwhile."""
    seen = 0
    while seen < len(names):
        yield list(names)[seen]
        seen += 1


def all_names(code: CodeType) -> Iterator[str]:
    """Every name in a function's code that is not a local variable."""
    yield from code.co_names
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from all_names(constant)


def attribute_names(code: CodeType) -> Iterator[str]:
    """The names that a function's code looks up in objects, other than in those that its module names."""
    before = None
    for i in dis.get_instructions(code):
        of_global = before in _GLOBALS and not i.is_jump_target
        if ("ATTR" in i.opname or "METHOD" in i.opname) and not of_global:
            yield i.argval
        before = i.opname
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from attribute_names(constant)


def global_names(code: CodeType) -> Iterator[str]:
    """The names that a function's code looks up in its module."""
    yield from (i.argval for i in dis.get_instructions(code) if i.opname in _GLOBALS)
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from global_names(constant)


@functools.lru_cache(4096)
def written_names(code: CodeType) -> tuple[tuple[str, bool], ...]:
    """Names outside the function that its code assigns to, and whether that is as an attribute."""
    return tuple(
        (i.argval, i.opname == "STORE_ATTR")
        for i in dis.get_instructions(code)
        if i.opname in ("STORE_ATTR", "STORE_GLOBAL")
        or (i.opname == "STORE_DEREF" and i.argval in code.co_freevars)
    )
