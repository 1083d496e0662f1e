"""Plans under `torch.autocast`: its casts are operations of the plan, so it is off where a plan runs."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch

from mpnn.borrowed import is_any_autocast
from mpnn.graph.graph import Graph

_AS_IT_IS = nullcontext()


def autocast_type(graph: Graph) -> torch.dtype | None:
    """In which type `torch.autocast` computes on the graph's device, None where it is off."""
    return torch.get_autocast_dtype(graph.device.type) if _is_on(graph) else None


def without_autocast(graph: Graph) -> AbstractContextManager[Any]:
    """A block in which it is off."""
    return torch.autocast(graph.device.type, enabled=False) if _is_on(graph) else _AS_IT_IS


def _is_on(graph: Graph) -> bool:
    if not is_any_autocast():
        return False
    device = graph.device.type
    return device != "meta" and torch.is_autocast_enabled(device)  # which knows no such device


def casting(graph: Graph, dtype: torch.dtype | None) -> AbstractContextManager[Any]:
    """A block in which it is on, in a type; as it is where there is none."""
    return _AS_IT_IS if dtype is None else torch.autocast(graph.device.type, dtype)
