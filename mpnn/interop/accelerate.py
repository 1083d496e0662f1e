"""Run the layers of a PyTorch Geometric model on the kernels of this package.

Each layer keeps its weights and methods; its class becomes a subclass of its class, with the same name. The
subclass replaces `propagate`, which still calls the layer's `message` and `update`, and `edge_updater`, whose
result is not computed if only `message` reads it. A call that this package cannot run goes to the layer's own
code. `mpnn/interop/accelerated.py` draws the states of a layer.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple, TypeVar

from torch import nn

from mpnn.graph.recent import Recent
from mpnn.interop.accelerated import Accelerated, subclass
from mpnn.interop.layer_state import STATE, LayerState
from mpnn.interop.pyg_aggregators import translated
from mpnn.layer.message_passing import MessagePassing
from mpnn.plan.composed import written
from mpnn.step.parameters import parameters_of

M = TypeVar("M", bound=nn.Module)


def accelerate(module: M) -> M:
    """Let every PyTorch Geometric layer in a module run on these kernels.

    The module is changed in place and returned. Its parameters, `state_dict` and results stay the same, and
    so do its gradients; dropout inside a message draws other numbers. `acceleration(module)` lists the layers
    that were taken, and why others were not. Calls with sparse matrices, `EdgeIndex` or hooks on messages, in
    an explainer, under `torch.compile` and for attention weights run PyTorch Geometric's own code.

    Args:
        module: a model, or a single layer.

    Raises:
        TypeError: it is not a module.

    >>> from torch_geometric.nn import SAGEConv
    >>> conv = accelerate(SAGEConv(2, 3))
    >>> conv(torch.ones(2, 2), torch.tensor([[0], [1]])).shape
    torch.Size([2, 3])
    >>> print(acceleration(conv))
    SAGEConv  taken
    """
    if not isinstance(module, nn.Module):
        raise TypeError(f"module must be a torch.nn.Module, got {type(module).__name__}.")
    layers = [layer for _, layer in _layers(module)]
    recent = Recent(len(layers))
    for layer in layers:
        if isinstance(layer, Accelerated) or _obstacle(layer):
            continue
        kind = subclass(type(layer), _may_wait(layer))
        vars(layer)[STATE] = LayerState(recent)
        layer.__class__ = kind
    return module


class LayerReport(NamedTuple):
    """Whether one layer was taken; if not, `reason` says why, else it is empty."""

    name: str
    layer: str
    reason: str


@dataclass(frozen=True)
class Acceleration:
    """A `LayerReport` for each PyTorch Geometric layer of a module; printed as a table."""

    layers: list[LayerReport]

    def __str__(self) -> str:
        rows = [((f"{r.name} " if r.name else "") + r.layer, r.reason or "taken") for r in self.layers]
        width = max((len(name) for name, _ in rows), default=0)
        return "\n".join(f"{name:{width}}  {what}" for name, what in rows) or "no layers"


def acceleration(module: nn.Module) -> Acceleration:
    """Which layers of a module run on these kernels, and why the others do not."""
    reports = []
    for name, layer in _layers(module):
        taken = isinstance(layer, Accelerated)
        replaced = "propagate" in vars(layer)
        reason = "" if taken and not replaced else _obstacle(layer) or "not accelerated"
        reports.append(LayerReport(name, type(layer).__name__, reason))
    return Acceleration(reports)


def _layers(module: nn.Module) -> Iterator[tuple[str, Any]]:
    from torch_geometric.nn import MessagePassing as PyGMessagePassing

    for name, layer in module.named_modules():
        if isinstance(layer, PyGMessagePassing) and not isinstance(layer, MessagePassing):
            yield name, layer


def _obstacle(layer: Any) -> str:
    """The reason why a layer cannot be taken, or ""."""
    from torch_geometric.nn import MessagePassing as PyGMessagePassing

    kind, own = type(layer), vars(layer)
    if "propagate" in own:
        return "its propagate() was replaced"
    standard = (PyGMessagePassing.propagate, vars(kind).get("_jinja_propagate"))
    if kind.propagate not in standard:
        return "it has a propagate() of its own"
    if kind.aggregate is not PyGMessagePassing.aggregate or "aggregate" in own:
        return "it has an aggregate() of its own"
    if layer.aggr_module is None:
        return "it has no aggregator"
    try:
        parameters_of(layer.message), parameters_of(layer.update, skip=1)
    except TypeError as error:
        return str(error)
    if translated(layer.aggr_module) is None:
        return f"its aggregator {layer.aggr_module} has no kernel"
    try:
        subclass(kind, _may_wait(layer))
    except Exception as error:  # the class may refuse subclasses with any error
        return f"its class allows no subclass: {error}"
    return ""


def _may_wait(layer: Any) -> bool:
    """Whether a layer has values on edges that may be computed when they are first read."""
    from torch_geometric.nn import MessagePassing as PyGMessagePassing

    kind = type(layer)
    standard = (PyGMessagePassing.edge_updater, vars(kind).get("_jinja_edge_updater"))
    own = {"forward", "edge_updater", "edge_update"} & vars(layer).keys()
    makes_edges = kind.edge_update is not PyGMessagePassing.edge_update
    makes_edges = makes_edges and not written(layer.edge_update)
    return not own and kind.edge_updater in standard and (makes_edges or bool(written(layer.message)))
