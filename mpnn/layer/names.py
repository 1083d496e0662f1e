"""Arguments that have two names: the one of this package, and the one of PyTorch Geometric or of before."""

from __future__ import annotations

import functools
import inspect
import warnings
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

F = TypeVar("F", bound=Callable[..., Any])


def also_named(**names: str) -> Callable[[F], F]:
    """Let a function, or the constructor of a class, take arguments by other names too; a decorator.

    Only arguments that are given by name are looked at: a call costs one more frame of Python, which is a
    tenth of a microsecond.

    Args:
        **names: for each other name, the one that the function has.

    Raises:
        TypeError: an argument is given by both names.

    >>> @also_named(edge_index="graph")
    ... def forward(x, graph):
    ...     return graph
    >>> forward(1, edge_index=2)
    2
    """
    return _decorator(names, was=False)


def formerly(**names: str) -> Callable[[F], F]:
    """Let a function, or the constructor of a class, take arguments by their names of the release before.

    Each gives a `DeprecationWarning` of one sentence at the caller's line; otherwise as `also_named`.
    """
    return _decorator(names, was=True)


def deprecated(sentence: str, stacklevel: int = 2) -> None:
    """Say that what is written goes with the next release, and what to write instead.

    Args:
        sentence: without its full stop.
        stacklevel: as that of `warnings.warn`, called where this is called.
    """
    warnings.warn(f"{sentence}.", DeprecationWarning, stacklevel=stacklevel + 1)


def takes_edge_index(cls: type[Any]) -> None:
    """Let the `forward` that a class defines take its `graph` as `edge_index` too, its name in PyG."""
    forward = vars(cls).get("forward")
    if forward is not None:
        parameters = inspect.signature(forward).parameters
        if "graph" in parameters and "edge_index" not in parameters:
            cls.forward = also_named(edge_index="graph")(forward)


def _decorator(names: Mapping[str, str], was: bool) -> Callable[[F], F]:
    def decorate(function: F) -> F:
        if isinstance(function, type):
            function.__init__ = decorate(function.__init__)  # type: ignore[misc]
            return function

        others = tuple(names)  # a loop over one or two, which is faster than what sets can do

        @functools.wraps(function)
        def named(*args: Any, **kwargs: Any) -> Any:
            for name in others if kwargs else ():
                if name in kwargs:
                    if was:
                        deprecated(f"{name} is now called {names[name]}")
                    kwargs = _renamed(function, name, names[name], kwargs)
            return function(*args, **kwargs)

        return named  # type: ignore[return-value]

    return decorate


def _renamed(function: Callable[..., Any], other: str, own: str, kwargs: Mapping[str, Any]) -> dict[str, Any]:
    if own in kwargs:
        raise TypeError(f"{function.__qualname__}() got {own} and {other}, which are one argument.")
    return {own if name == other else name: value for name, value in kwargs.items()}
