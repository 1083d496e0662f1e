"""While `forward` of a layer runs, the layer's values on edges may wait; when it ends, they are settled.

Its `edge_updater` gives an `EdgeValue`. If only `message` reads that value, `propagate` computes it in the
kernel of the message, and no tensor with a row per edge is made.
"""

from __future__ import annotations

from collections.abc import Callable
from contextvars import ContextVar
from typing import Any

from mpnn.interop.binding import bind, runs
from mpnn.interop.edge_value import EdgeValue, Origin, settled
from mpnn.interop.layer_state import state_of

WEIGHTS = "return_attention_weights"  # with this argument, the caller gets values on the edges
# The layer whose `forward` is running; None also where the caller asks for values on the edges.
_running: ContextVar[Any] = ContextVar("mpnn_running_layer", default=None)


def is_running(layer: Any) -> bool:
    """Whether values on the edges of a layer may wait."""
    return _running.get() is layer


def run_forward(
    layer: Any, forward: Callable[..., Any], weights_at: int | None, args: Any, kwargs: dict[str, Any]
) -> Any:
    """Call the layer's own `forward`, and settle what it returns and what its messages have written.

    Args:
        layer: an accelerated layer.
        forward: the function of the layer's own class.
        weights_at: the position of `return_attention_weights` among its arguments, if it is one.
        args: the arguments of the call.
        kwargs: those by name.
    """
    given = args[weights_at] if weights_at is not None and len(args) > weights_at else kwargs.get(WEIGHTS)
    if given is not None:
        return forward(layer, *args, **kwargs)
    token = _running.set(layer)
    try:
        return _settled_inside(forward(layer, *args, **kwargs))
    finally:
        _running.reset(token)
        own = vars(layer)
        for name in state_of(layer).signature(layer).writes:
            if isinstance(own.get(name), EdgeValue):
                own[name] = settled(own[name])


def _settled_inside(out: Any) -> Any:
    if isinstance(out, tuple | list) and type(out) in (tuple, list):
        return type(out)(map(_settled_inside, out))
    if type(out) is dict:
        return {key: _settled_inside(value) for key, value in out.items()}
    return settled(out)


def waiting_value(layer: Any, edge_index: Any, size: Any, fields: dict[str, Any]) -> EdgeValue | None:
    """What `edge_updater` gives while the layer is running; None if it must compute the value at once."""
    if not is_running(layer) or not runs(layer, edge_index):
        return None
    asked = state_of(layer).signature(layer).of_edges(layer)
    bound = bind(layer, edge_index, size, fields, asked)
    if bound is None:
        return None
    arguments = bound.bind(asked.functions["edge_update"])
    return EdgeValue.of(lambda: bound.call(layer.edge_update, arguments), Origin(bound, arguments))
