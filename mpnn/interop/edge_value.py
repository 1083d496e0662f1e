"""A tensor with a row per edge that is computed when it is first read.

    waiting  -- an operation of PyTorch reads it, or `settled` is called -->  settled

A settled value holds its tensor. A reader may also take the `origin` of a waiting value, compute the same in
another way, and leave it waiting.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import torch
from torch import Tensor

from mpnn.borrowed import make_subclass, tree_map
from mpnn.step.fields import Argument, Fields

_NOTHING = torch.empty(0)


class Origin(NamedTuple):
    """What `edge_update` is called with to give the value."""

    fields: Fields
    arguments: Mapping[str, Argument]


class EdgeValue(Tensor):
    """The result of a function on every edge, computed as soon as an operation of PyTorch reads it."""

    origin: Origin | None
    _compute: Callable[[], Any] | None  # None when it is settled
    _value: Any

    @staticmethod
    def of(compute: Callable[[], Any], origin: Origin | None = None) -> EdgeValue:
        """The value of `compute()`, called at most once; `origin` serves readers that need not compute it."""
        value: EdgeValue = make_subclass(EdgeValue, _NOTHING)
        value._compute, value._value, value.origin = compute, None, origin
        return value

    def computed(self) -> Any:
        """The tensor."""
        if self._compute is not None:
            self._value, self._compute = self._compute(), None
        return self._value

    @classmethod
    def __torch_function__(
        cls, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        """Compute the tensor, and call the operation on it."""
        args, kwargs = tree_map(settled, (args, kwargs or {}))
        return func(*args, **kwargs)


def settled(value: Any) -> Any:
    """The computed tensor of an `EdgeValue`; any other value unchanged."""
    return value.computed() if isinstance(value, EdgeValue) else value
