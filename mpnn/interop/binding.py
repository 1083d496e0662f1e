"""Which calls of a PyTorch Geometric layer this package runs, and the fields of such a call."""

from __future__ import annotations

from collections.abc import Sequence
from operator import itemgetter
from typing import Any

import torch
from torch import Tensor

from mpnn.borrowed import tracing_state
from mpnn.interop.layer_state import state_of
from mpnn.step.fields import PAIR, Fields
from mpnn.step.parameters import Asked, Parameter

_hooks_of = itemgetter(
    "_propagate_forward_pre_hooks", "_propagate_forward_hooks", "_message_forward_pre_hooks",
    "_message_forward_hooks", "_aggregate_forward_pre_hooks", "_aggregate_forward_hooks",
    "_edge_update_forward_pre_hooks", "_edge_update_forward_hooks",
)  # fmt: skip


def runs(layer: Any, edge_index: Any) -> bool:
    """Whether this package runs calls of a layer, as it is now, on such edges."""
    own = layer.__dict__
    return (
        type(edge_index) is Tensor  # and no `EdgeIndex`
        and edge_index.layout == torch.strided
        and not own["_explain"]
        and own["_decomposed_layers"] == 1
        and "aggregate" not in own
        and not any(_hooks_of(own))
        and tracing_state() is None
    )


def bind(layer: Any, edge_index: Tensor, size: Any, fields: dict[str, Any], asked: Asked) -> Fields | None:
    """The fields of a call, or None where only the layer's own code can tell what they mean."""
    # PyTorch Geometric ignores a field that no function asks for.
    fields = {name: value for name, value in fields.items() if name in asked.fields}
    if not _has_nodes_first(layer.node_dim, asked.lifted, fields) or (size is not None and None in size):
        return None
    size = None if size is None else (int(size[0]), int(size[1]))
    try:
        return Fields(edge_index, size, fields, asked, 0, layer.flow, state_of(layer).recent.graph)
    except (TypeError, ValueError, IndexError):
        return None  # the layer's own code takes this input, or raises its own error


def _has_nodes_first(node_dim: int, lifted: Sequence[Parameter], fields: dict[str, Any]) -> bool:
    """Whether the layer's `node_dim` means dimension 0 in each field that has a row per node."""
    if node_dim == 0:
        return True
    for parameter in lifted:
        value = fields.get(parameter.field)
        for one in value if isinstance(value, PAIR) else (value,):
            if isinstance(one, Tensor) and one.dim() + node_dim != 0:
                return False
    return True
