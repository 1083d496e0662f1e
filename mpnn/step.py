"""One step of message passing, as a backend gets it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn

from mpnn.fields import Argument, Fields


@dataclass(frozen=True, slots=True)
class Step:
    """`aggregate(message(**arguments), index)`: what `propagate` computes between its fields and `update`.

    Node fields in `arguments` still have one row per node; lifting them to the edges is the backend's matter.
    """

    fields: Fields
    message: Callable[..., Any]
    arguments: dict[str, Argument]
    aggregate: Callable[[Any], Tensor]
    aggregator: nn.Module | None  # what `aggregate` calls; None when the layer has an `aggregate` of its own
