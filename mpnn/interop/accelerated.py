"""The class of an accelerated PyTorch Geometric layer: a subclass of its class with three methods replaced.

`accelerate` makes the subclass, with the same name, and sets the layer's class to it. A layer's states:

     plain  -- accelerate() -->  accelerated  -- forward() -->  running
                                      ^                            |
                                      +------ forward() ends ------+

    plain         the layer has its own class
    accelerated   its class is the subclass (this file), and its attribute `_accelerated` is a `LayerState`
                  (layer_state.py), the only place where something is kept between calls
    running       its values on edges are `EdgeValue`s, waiting until something reads them (running.py,
                  edge_value.py); a layer without such values stays accelerated, and so does one whose
                  caller asks for attention weights

In each state, `propagate` becomes a `Call` (call.py) if this package runs such calls (binding.py). Else the
layer's own code runs: under `torch.compile`, in TorchScript, in an explainer, with hooks on messages.

The methods look up everything in the layer that is called, so a copy, an unpickled layer and a replica of
`DataParallel` use their own tensors. A pickle holds the name of the layer's own class and a mark that it was
accelerated; loading makes the subclass again.
"""

from __future__ import annotations

import copyreg
import inspect
from collections.abc import Callable
from functools import wraps
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from mpnn.interop.call import find_call
from mpnn.interop.edge_value import settled
from mpnn.interop.layer_state import STATE
from mpnn.interop.running import WEIGHTS, run_forward, waiting_value

if TYPE_CHECKING:
    _Base = Any
else:
    _Base = object


class Accelerated(_Base):  # type: ignore[misc]
    """The first base of an accelerated class: it replaces `propagate`."""

    _plain: type[nn.Module]  # the class of the layer

    def propagate(self, edge_index: Any, size: Any = None, **fields: Any) -> Any:
        """As PyTorch Geometric's."""
        if not torch.compiler.is_compiling():
            call = find_call(self, edge_index, size, fields)
            if call is not None:
                return call.run()
            fields = {name: settled(value) for name, value in fields.items()}
        return super().propagate(edge_index, size=size, **fields)

    @property
    def explain(self) -> Any:
        """As PyTorch Geometric's."""
        return self._explain

    @explain.setter
    def explain(self, explain: Any) -> None:
        super(Accelerated, type(self)).explain.fset(self, explain)
        # An explainer sets `propagate` on the layer, and restores that of the layer's class.
        if not explain and self.decomposed_layers == 1:
            self.__dict__.pop("propagate", None)

    # Copies -------------------------------------------------------------------------------------------

    def __reduce_ex__(self, protocol: Any) -> Any:
        found = super().__reduce_ex__(max(int(protocol), 2))
        if isinstance(found, str) or found[0] is not copyreg.__newobj__:  # type: ignore[attr-defined]
            return found
        return (empty, (self._plain, isinstance(self, AcceleratedEdges)), *found[2:])

    def __setstate__(self, state: Any) -> None:
        # PyTorch Geometric's method reads, and may change, the class of the layer.
        kind = type(self)
        self.__class__ = self._plain  # type: ignore[assignment]
        try:
            self.__setstate__(state)
        finally:
            self.__class__ = kind

    def __prepare_scriptable__(self) -> Any:
        """The layer as it was, for TorchScript."""
        plain: Any = object.__new__(self._plain)
        vars(plain).update({name: value for name, value in vars(self).items() if name != STATE})
        return plain


class AcceleratedEdges(Accelerated):
    """The same for a layer with values on the edges that can be computed when they are read."""

    def edge_updater(self, edge_index: Any, size: Any = None, **fields: Any) -> Any:
        """As PyTorch Geometric's."""
        if not torch.compiler.is_compiling():
            value = waiting_value(self, edge_index, size, fields)
            if value is not None:
                return value
        return super().edge_updater(edge_index, size=size, **fields)


def empty(plain: type[nn.Module], edges: bool) -> Any:
    """An accelerated layer of a class without attributes, from which a copy or a pickle is filled."""
    return object.__new__(subclass(plain, edges))


def subclass(plain: type[nn.Module], edges: bool) -> type[Accelerated]:
    """The accelerated subclass of a class, with or without `edge_updater`; made once for each class."""
    made: dict[bool, type[Accelerated]] | None = vars(plain).get("_accelerated_classes")
    if made is None:
        made = {}
        plain._accelerated_classes = made  # type: ignore[attr-defined]
    if edges not in made:
        own = {name: getattr(plain, name) for name in ("__module__", "__qualname__", "__doc__")}
        base: type[Accelerated] = Accelerated
        if edges:
            base, own["forward"] = AcceleratedEdges, _forward(plain)
        made[edges] = type(plain.__name__, (base, plain), own | {"_plain": plain})
    return made[edges]


def _forward(plain: type[nn.Module]) -> Callable[..., Any]:
    function = plain.forward
    names = list(inspect.signature(function).parameters)[1:]
    weights_at = names.index(WEIGHTS) if WEIGHTS in names else None

    @wraps(function)
    def forward(self: Any, *args: Any, **kwargs: Any) -> Any:
        if torch.compiler.is_compiling():
            return function(self, *args, **kwargs)
        return run_forward(self, function, weights_at, args, kwargs)

    return forward
