"""One call of `propagate`, run by this package."""

from __future__ import annotations

from functools import partial
from types import MethodType
from typing import Any, NamedTuple

from torch import Tensor

from mpnn import backends
from mpnn.aggregate.aggregators import Aggregator
from mpnn.interop.binding import bind, runs
from mpnn.interop.edge_value import EdgeValue, Origin, settled
from mpnn.interop.layer_state import Signature, state_of
from mpnn.interop.running import is_running
from mpnn.plan.composed import Composed, with_attributes
from mpnn.step.fields import Argument, Fields
from mpnn.step.parameters import Asked
from mpnn.step.step import Step


class Call(NamedTuple):
    """A call of `propagate` whose fields are bound to a graph; `waiting` are those that edges still lack."""

    layer: Any
    signature: Signature
    aggregator: Aggregator
    fields: Fields
    asked: Asked
    waiting: dict[str, Origin]

    def run(self) -> Any:
        """What `propagate` returns."""
        layer, fields = self.layer, self.fields
        own, writes = vars(layer), self._written_attributes()
        for name in writes:
            own[name] = settled(own[name])
        before = {name: own[name] for name in writes}
        message, arguments = layer.message, fields.bind(self.asked.functions["message"])
        if self.waiting or writes:
            message = Composed(layer.message, dict.fromkeys(self.waiting, layer.edge_update))
            for name, origin in self.waiting.items():
                arguments |= {f"{name}.{key}": argument for key, argument in origin.arguments.items()}
        out = backends.current()(
            Step(
                fields,
                message,
                arguments,
                aggregate=lambda m: layer.aggregate(m, fields.graph.dst, None, fields.graph.num_dst),
                aggregator=self.aggregator,
            )
        )
        for name, value in before.items():
            if own[name] is value:  # a kernel ran instead of the message, which would have written another
                own[name] = EdgeValue.of(partial(_written_by, message, name, before, fields, arguments))
        return layer.update(out, **fields.lifted(self.asked.functions["update"]))

    def _written_attributes(self) -> list[str]:
        """The attributes that the message writes, if all of them are tensors and may wait to be computed."""
        names = self.signature.writes
        if not names or not is_running(self.layer):
            return []
        own = vars(self.layer)
        return names if all(name in own and isinstance(own[name], Tensor | None) for name in names) else []


def find_call(layer: Any, edge_index: Any, size: Any, fields: dict[str, Any]) -> Call | None:
    """The call that gives what `propagate` is to return; None if the layer's own code must run."""
    state = state_of(layer)
    aggregator = state.aggregator(layer)
    if aggregator is None or not runs(layer, edge_index):
        return None
    signature = state.signature(layer)
    waiting = {
        name: value.origin
        for name, value in fields.items()
        if isinstance(value, EdgeValue) and value.origin is not None and name in signature.as_they_are
    }
    given = {name: settled(value) for name, value in fields.items() if name not in waiting}
    asked = signature.asked_without(frozenset(waiting))
    bound = bind(layer, edge_index, size, given, asked)
    if bound is not None and all(origin.fields.original is bound.original for origin in waiting.values()):
        return Call(layer, signature, aggregator, bound, asked, waiting)
    if not waiting:
        return None
    # Some values are of another graph's edges, or say how many nodes there are: compute them first.
    return find_call(layer, edge_index, size, {name: settled(value) for name, value in fields.items()})


def _written_by(
    message: Composed, name: str, before: dict[str, Any], fields: Fields, arguments: dict[str, Argument]
) -> Any:
    """The value of a layer's attribute after a message, called on all edges at once."""
    copy = with_attributes(message.__self__, before)
    fields.call(message.rebound(lambda f: MethodType(f.__func__, copy)), arguments)  # type: ignore[attr-defined]
    return vars(copy)[name]
