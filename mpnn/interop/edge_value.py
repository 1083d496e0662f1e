"""A tensor with a row per edge that is computed when somebody looks at it, and not before."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.utils._pytree import tree_map

_NOTHING = torch.empty(0)


class EdgeValue(Tensor):
    """What a function gives for every edge; any operation of PyTorch gets the tensor that it computes."""

    _compute: Callable[[], Any] | None
    _value: Any
    origin: Any

    @staticmethod
    def of(compute: Callable[[], Any], origin: Any = None) -> EdgeValue:
        """The value of `compute()`, called at most once; `origin` is for whoever can do without."""
        value = Tensor._make_subclass(EdgeValue, _NOTHING)
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
        """Do it with the tensor instead."""
        args, kwargs = tree_map(settled, (args, kwargs or {}))
        return func(*args, **kwargs)


def settled(value: Any) -> Any:
    """What a value is when it is computed; anything else as it is."""
    return value.computed() if isinstance(value, EdgeValue) else value
