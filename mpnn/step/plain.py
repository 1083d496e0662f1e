"""Whether a module may be read instead of called: decided here, for the layers and for the plans.

A kernel that takes a module's weights never calls the module. That is right only where a call would do no
more than its class says: no hook runs, no other `forward` stands in its place, no weight is computed at each
call.

- Hooks are found in the module and among those of all modules (`torch.nn.modules.module`). `prune`, and
  the older `weight_norm` and `spectral_norm`, compute the weight in a hook.
- `torch.nn.utils.parametrize` gives the module another class; so does an adapter that takes its place.
- A `forward` may be replaced in one module or in the class.
- A weight may have no shape yet, or be a tensor whose class handles operations itself.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple, TypeVar

from torch import Tensor, nn

from mpnn.borrowed import has_hooks

K = TypeVar("K", bound=type[nn.Module])


class Weights(NamedTuple):
    """x W^T + b."""

    weight: Tensor  # [out_channels, in_channels]
    bias: Tensor | None  # [out_channels]


# The classes whose call is x W^T + b, and the `forward` for which that is known.
_linear: dict[type[nn.Module], Callable[..., Any]] = {nn.Linear: nn.Linear.forward}
_ORDINARY = (nn.Parameter, Tensor)


def linear_map(kind: K) -> K:
    """A class decorator: calling such a module is x W^T + b, with its `weight` and `bias`."""
    _linear[kind] = kind.forward
    return kind


def weights_of(module: nn.Module) -> Weights | None:
    """The weights of a linear map, or None where only a call of the module tells what it does.

    >>> weights_of(nn.Linear(2, 3)).weight.shape
    torch.Size([3, 2])
    >>> weights_of(torch.nn.utils.parametrizations.weight_norm(nn.Linear(2, 3)))
    """
    kind = type(module)
    if kind not in _linear or kind.forward is not _linear[kind] or is_watched(module):
        return None
    weight, bias = module.weight, module.bias
    if type(weight) not in _ORDINARY or not (bias is None or type(bias) in _ORDINARY):
        return None
    return Weights(weight, bias)  # type: ignore[arg-type]


def is_plain(module: nn.Module, kind: type[nn.Module]) -> bool:
    """Whether a module is of this very class, and a call of it does what the class says."""
    return type(module) is kind and not is_watched(module)


def is_watched(module: nn.Module) -> bool:
    """Whether a call of a module runs hooks or keeps its results, or its `forward` was replaced."""
    own = module.__dict__
    return bool("forward" in own or has_hooks(own))
