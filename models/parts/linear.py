"""The linear map of the layers: `torch.nn.Linear` with the initial weights of each layer's paper."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal, cast

import torch
from torch import Tensor, nn
from torch.nn.parameter import UninitializedParameter, is_lazy

from mpnn.borrowed import parameters_in
from mpnn.functional import linear
from mpnn.models.parts.checks import check_count
from mpnn.step.plain import is_plain, linear_map, weights_of

Init = Literal["torch", "glorot"]


@linear_map
class Projection(nn.Module):
    """x W^T + b, with PyG's names; `in_channels=-1` takes the width from the first input.

    Args:
        in_channels: width of the input, or -1.
        out_channels: width of the output.
        bias: whether to add b.
        init: "torch" as `torch.nn.Linear` (uniform in ±1/√in), or "glorot" (Glorot and Bengio, 2010).

    Shapes: x `[*, in_channels]` -> `[*, out_channels]`; weight `[out_channels, in_channels]`.

    >>> lazy = Projection(-1, 4)
    >>> lazy(torch.ones(2, 3)).shape, lazy.weight.shape
    (torch.Size([2, 4]), torch.Size([4, 3]))
    """

    def __init__(self, in_channels: int, out_channels: int, bias: bool = True, init: Init = "torch") -> None:
        super().__init__()
        check_count("in_channels", in_channels, 1, may_be_open=True)
        check_count("out_channels", out_channels, 0)
        self.in_channels, self.out_channels, self.init = in_channels, out_channels, init
        self.weight: nn.Parameter | UninitializedParameter
        if in_channels == -1:
            self.weight = UninitializedParameter()
        else:
            self.weight = nn.Parameter(torch.empty(out_channels, in_channels))
        self.bias = nn.Parameter(torch.empty(out_channels)) if bias else None
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw new weights; a lazy layer has none before its first input."""
        if is_lazy(self.weight):
            return
        if self.init == "glorot":
            glorot_(self.weight)
        else:
            uniform_(self.in_channels, self.weight)
        uniform_(self.in_channels, self.bias)

    def forward(self, x: Tensor) -> Tensor:
        self.see(x)
        return linear(x, self.weight, self.bias)

    def see(self, x: Tensor) -> None:
        """Take a width that is still open from an input, before the map itself is part of a message."""
        # A weight that is computed when it is asked for is not asked for here.
        if self.in_channels == -1 and isinstance(parameters_in(self).get("weight"), UninitializedParameter):
            self._materialize(x.size(-1))
            self.reset_parameters()

    def _materialize(self, in_channels: int) -> None:
        assert isinstance(self.weight, UninitializedParameter)
        self.in_channels = in_channels
        self.weight.materialize((self.out_channels, in_channels))

    # A weight without a shape can be neither detached nor compared, as nn.Module does to save and load it.

    def _save_to_state_dict(self, destination: dict[str, Any], prefix: str, keep_vars: bool) -> None:
        lazy = parameters_in(self).pop("weight") if is_lazy(self.weight) else None
        super()._save_to_state_dict(destination, prefix, keep_vars)
        if lazy is not None:
            parameters_in(self)["weight"] = destination[prefix + "weight"] = lazy

    def _load_from_state_dict(self, state_dict: Mapping[str, Any], prefix: str, *args: Any) -> None:
        given = state_dict.get(prefix + "weight")
        if given is not None and is_lazy(given) and not is_lazy(self.weight):
            self.in_channels, self.weight = -1, UninitializedParameter()
        elif given is not None and is_lazy(self.weight):
            self._materialize(given.size(1))
        super()._load_from_state_dict(state_dict, prefix, *args)

    def extra_repr(self) -> str:
        return f"{self.in_channels}, {self.out_channels}, bias={self.bias is not None}"


def through(network: nn.Module, x: Tensor) -> Tensor:
    """`network(x)`, computing torch.nn's linear maps in it by `mpnn.functional.linear`."""
    if is_plain(network, nn.Sequential):
        for module in cast(nn.Sequential, network):
            x = through(module, x)
        return x
    known = weights_of(network)
    return cast(Tensor, network(x)) if known is None else linear(x, *known)


def see(module: nn.Module, x: Tensor) -> None:
    """Let a lazy `Linear` take its width from x, before it is part of a message."""
    if isinstance(module, Projection):
        module.see(x)


def uniform_(fan: int, tensor: Tensor | None) -> None:
    """Uniform in ±1/√fan, in place."""
    if tensor is not None:
        nn.init.uniform_(tensor, -(fan**-0.5), fan**-0.5)


def glorot_(tensor: Tensor | None) -> None:
    """Uniform in ±√(6 / (rows + columns)) of the last two axes, in place (Glorot and Bengio, 2010)."""
    if tensor is not None:
        bound = (6.0 / (tensor.size(-2) + tensor.size(-1))) ** 0.5
        nn.init.uniform_(tensor, -bound, bound)


def zeros_(tensor: Tensor | None) -> None:
    """All zero, in place; nothing to do without a tensor."""
    if tensor is not None:
        nn.init.zeros_(tensor)


def reset(module: nn.Module) -> None:
    """Draw new weights in a user's network, by the `reset_parameters` of its modules."""
    if callable(draw := getattr(module, "reset_parameters", None)):
        draw()
    else:
        for child in module.children():
            reset(child)
