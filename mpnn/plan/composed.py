"""A message that gets some of its arguments from other functions of the same edge."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from torch import nn

from mpnn.plan.functions import functions_of, written_names


class Composed:
    """`message(..., name=inner(...))`: methods of one layer, traced as one function.

    It is called with the message's own arguments by their names, and with those of an inner function by
    `name.argument`. The caller handles the attributes of the layer that the methods write.
    """

    def __init__(self, message: Callable[..., Any], inner: Mapping[str, Callable[..., Any]]) -> None:
        self.message, self.inner = message, dict(inner)
        self.__self__: nn.Module = message.__self__  # type: ignore[attr-defined]
        self.__name__: str = message.__name__

    @property
    def parts(self) -> list[Callable[..., Any]]:
        """All of the functions."""
        return [*self.inner.values(), self.message]

    def rebound(self, change: Callable[[Callable[..., Any]], Callable[..., Any]]) -> Composed:
        """The same composition of other functions: `change` of each."""
        return Composed(change(self.message), {name: change(f) for name, f in self.inner.items()})

    def __call__(self, **arguments: Any) -> Any:
        """Call the inner functions, then the message with their results."""
        given: dict[str, dict[str, Any]] = {name: {} for name in self.inner}
        own: dict[str, Any] = {}
        for key, value in arguments.items():
            name, _, argument = key.rpartition(".")
            (given[name] if name else own)[argument] = value
        return self.message(**own, **{name: f(**given[name]) for name, f in self.inner.items()})


def with_attributes(module: nn.Module, attributes: Mapping[str, Any]) -> nn.Module:
    """A copy of a module with some other attributes; it shares the rest, and what it writes stays its own."""
    copy: nn.Module = object.__new__(type(module))
    copy.__dict__.update(module.__dict__)
    copy.__dict__.update(attributes)
    return copy


def written(message: Callable[..., Any]) -> list[str]:
    """The attributes that a message, or a method that it names, writes."""
    pairs = [pair for f in functions_of(message) for pair in written_names(f.__code__)]
    return list(dict.fromkeys(name for name, is_attribute in pairs if is_attribute))
