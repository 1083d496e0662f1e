"""Activations by name."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import Tensor, nn
from torch.nn.modules import activation as torch_activations

Activation = str | Callable[[Tensor], Tensor] | None

_BY_NAME = {name.lower(): getattr(torch_activations, name) for name in torch_activations.__all__}


class _Function(nn.Module):
    """A function as a module."""

    def __init__(self, function: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.function = function

    def forward(self, x: Tensor) -> Tensor:
        return self.function(x)


def activation(act: Activation, **kwargs: Any) -> nn.Module:
    """The module for "relu", "leaky_relu", "ELU", ... (those of `torch.nn`), a function, or None.

    >>> activation("leaky_relu", negative_slope=0.2)
    LeakyReLU(negative_slope=0.2)
    """
    if act is None:
        return nn.Identity()
    if isinstance(act, nn.Module):
        return act
    if isinstance(act, str):
        if act.lower().replace("_", "") not in _BY_NAME:
            raise ValueError(f"act is {act!r}, but must be one of {', '.join(sorted(_BY_NAME))}.")
        module: nn.Module = _BY_NAME[act.lower().replace("_", "")](**kwargs)
        return module
    return _Function(act)
